"""The pipeline file: its schema, and a loader whose every complaint names file, line and what would be right.

Relative paths in the file are relative to the current directory, as they are on the command line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from engines.backends import BACKENDS
from engines.errors import InputError, nearest
from engines.options import LARGEST_BATCH, Precision
from engines.survivors import Suppression
from streamer.analytics.anchors import ANCHORS
from streamer.analytics.plan import LinePlan, Plan, SpeedPlan, ZonePlan
from streamer.document import Document, Loc
from streamer.keys import key_policy
from streamer.privacy import How
from streamer.trackers import open_tracker
from streamer.urls import redact

__all__ = ["ModelConfig", "PipelineConfig", "SinkConfig", "SourceConfig", "load", "read_analytics"]

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Ratio = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
BatchSize = Annotated[int, Field(ge=0, le=LARGEST_BATCH)]
FAR = 1e6  # pixels: no picture is so large


def _word(value: object) -> object:
    """Take a whole number for its digits: a class number, a webcam."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Word = Annotated[str, Field(min_length=1), BeforeValidator(_word)]


def _known_backend(name: str) -> str:
    known = ("auto", *BACKENDS)
    if name not in known:
        raise ValueError(f"{name!r}{nearest(name, known) or ', would be one of ' + ', '.join(known)}")
    return name


def _short_form(key: str) -> BeforeValidator:
    """Let a lone word stand for the mapping whose only entry it is."""

    def expand(value: object) -> object:
        word = _word(value)
        return {key: word} if isinstance(word, str) else value

    return BeforeValidator(expand)


def _tracker(value: object) -> object:
    """Take a mapping for the text that it stands for, and refuse what no tracker is."""
    if isinstance(value, dict):
        pairs = [f"{key}={setting}" for key, setting in value.items() if key != "name"]
        value = ",".join([str(value.get("name", "")), *pairs])
    if isinstance(value, str) and value:
        try:
            open_tracker(value)
        except InputError as error:
            raise ValueError(str(error).removeprefix("track: ")) from None
    return value


def _key_interval(told: str) -> str:
    try:
        key_policy(told)
    except InputError as error:
        raise ValueError(str(error).removeprefix("key-interval: ")) from None
    return told


def _outline(value: object) -> object:
    """Take a list of points for the mapping that holds it."""
    return {"points": value} if isinstance(value, list) else value


def _points(value: object) -> object:
    """Take [[x, y], ...] of numbers for points."""
    if not isinstance(value, list) or not all(_is_point(point) for point in value):
        raise ValueError(f"{_shown(value)}, would be points, like [[0.5, 0.0], [0.5, 1.0]]")
    return tuple((float(x), float(y)) for x, y in value)


def _is_point(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 2:
        return False
    return all(type(number) in (int, float) and abs(number) < FAR for number in value)


def _known_anchor(name: str) -> str:
    if name not in ANCHORS:
        raise ValueError(f"{name!r}{nearest(name, ANCHORS) or ', would be one of ' + ', '.join(ANCHORS)}")
    return name


def _listed(value: object) -> object:
    """Take one thing for the list that holds it."""
    return value if isinstance(value, list) else [value]


def _numbered(value: object) -> object:
    """Name the sinks of a list by their positions."""
    return {str(at): item for at, item in enumerate(value)} if isinstance(value, list) else value


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


def _named(name: str) -> str:
    """Refuse a URL with a login where a name belongs: names are shown."""
    if redact(name) != name:
        raise ValueError(f"{_shown(name)}, would be a name of your own, like 'front: rtsp://...'")
    return name


class SourceConfig(_Strict):
    """One source; what is None is as the pipeline says."""

    url: Word
    every: Count | None = None
    realtime: bool | None = None
    loop: bool | None = None


class ModelConfig(_Strict):
    """The model and how to run it; the fields and their defaults are those of `engines.Options`."""

    path: Word = ""  # or a shipped model's name; "" = not given
    conf: Ratio = -1.0  # -1 = the model's own
    iou: Ratio = -1.0  # -1 = the model's own
    classes: tuple[Word, ...] = Field(default=(), strict=False)  # names or numbers to keep, () = all
    max_det: Count = 300
    nms: Suppression = "greedy"
    class_agnostic: bool = False  # suppression across classes
    backend: Annotated[Word, AfterValidator(_known_backend)] = "auto"
    device: Word = "auto"
    precision: Precision = "auto"
    batch: BatchSize = 0  # 0 = chosen by the model's size and by who waits for its results
    requests: Annotated[int, Field(ge=0)] = 0  # batches in flight together, 0 = chosen for throughput


class ThenConfig(_Strict):
    """A model on what those before it have found; the fields are those of `streamer.then.Then`."""

    model: Word
    classes: tuple[Word, ...] = Field(default=(), strict=False)
    conf: Ratio = -1.0  # -1 = the model's own
    batch: Annotated[BatchSize, Field(ge=1)] = 1
    margin: Annotated[float, Field(ge=0.5, le=10, allow_inf_nan=False)] = 0.0


class HideConfig(_Strict):
    """What nobody is to see; the fields are those of `streamer.privacy.Privacy`."""

    how: How = "blur"
    classes: tuple[Word, ...] = Field(default=(), strict=False)
    heads: bool = False
    margin: Ratio = 0.1
    hold: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.5


class SinkConfig(_Strict):
    """One sink."""

    url: Word
    streams: tuple[Word, ...] = Field(default=(), strict=False)  # the sources it takes, () = all


Anchors = Annotated[str, AfterValidator(_known_anchor)]
Points = Annotated[tuple[tuple[float, float], ...], BeforeValidator(_points)]


class LineConfig(_Strict):
    """A line to count crossings of; the fields are those of `streamer.analytics.plan.LinePlan`."""

    points: Points
    anchor: Anchors = "feet"
    margin: Ratio = 0.1
    classes: tuple[Word, ...] = Field(default=(), strict=False)
    streams: tuple[Word, ...] = Field(default=(), strict=False)


class ZoneConfig(_Strict):
    """A zone to watch; the fields are those of `streamer.analytics.plan.ZonePlan`."""

    points: Points
    anchor: Anchors = "feet"
    margin: Ratio = 0.1
    gone: Seconds = 2.0
    dwell: Seconds = 0.0
    crowd: Count = 0
    crowd_seconds: Seconds = 0.0
    classes: tuple[Word, ...] = Field(default=(), strict=False)
    streams: tuple[Word, ...] = Field(default=(), strict=False)


class SpeedConfig(_Strict):
    """A ground to measure speeds on; the fields are those of `streamer.analytics.plan.SpeedPlan`."""

    points: Points
    metres: Points
    limit: Seconds = 0.0
    seconds: Seconds = 1.0
    over: Seconds = 1.0
    anchor: Anchors = "feet"
    classes: tuple[Word, ...] = Field(default=(), strict=False)
    streams: tuple[Word, ...] = Field(default=(), strict=False)


class AnalyticsConfig(_Strict):
    """Lines, zones and grounds by name; a lone list of points stands for the mapping that holds it."""

    lines: dict[str, Annotated[LineConfig, BeforeValidator(_outline)]] = {}
    zones: dict[str, Annotated[ZoneConfig, BeforeValidator(_outline)]] = {}
    speeds: dict[str, SpeedConfig] = {}

    def plan(self) -> Plan:
        """Return what `Settings` takes."""
        return Plan(
            tuple(LinePlan(name, **line.model_dump()) for name, line in self.lines.items()),
            tuple(ZonePlan(name, **zone.model_dump()) for name, zone in self.zones.items()),
            tuple(SpeedPlan(name, **speed.model_dump()) for name, speed in self.speeds.items()),
        )


class PipelineConfig(_Strict):
    """A pipeline; what `model_fields_set` lacks was not in the file: flags and defaults fill it."""

    sources: dict[Annotated[Word, AfterValidator(_named)], Annotated[SourceConfig, _short_form("url")]] = (
        Field(default={}, min_length=1)
    )
    model: Annotated[ModelConfig, _short_form("path")] = ModelConfig()
    then: Annotated[tuple[Annotated[ThenConfig, _short_form("model")], ...], BeforeValidator(_listed)] = (
        Field(default=(), strict=False)
    )
    sinks: Annotated[
        dict[str, Annotated[SinkConfig, _short_form("url")]], BeforeValidator(_numbered)
    ] = {}  # a list in the file has "0", "1", ... as names
    hide: Annotated[HideConfig, _short_form("how")] | None = None  # what nobody is to see
    overlay: bool = True
    track: Annotated[str, BeforeValidator(_tracker)] = ""  # NAME[,key=value...], or a mapping with name
    trails: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 2.0  # seconds of a way that are drawn
    show_lost: bool = False  # draw tracks that are not seen now
    heatmap: Seconds = 0.0  # after so many seconds half of a heat map is forgotten, 0 = none is drawn
    analytics: AnalyticsConfig = AnalyticsConfig()  # lines and zones to watch
    frames: Count = 0  # of each source, 0 = all
    seconds: Seconds = 0.0  # of each source's own time, 0 = until the end
    every: Count = 1  # infer on every n-th frame
    key_interval: Annotated[Word, AfterValidator(_key_interval)] = (
        "5"  # of models for video; auto[,key=value...]
    )
    realtime: bool = False  # pace files by their pts
    loop: bool = False  # begin a file again at its end
    wait: bool = False  # start although no source answers, and try on
    quarantine: tuple[Word, ...] = Field(default=("corrupt", "black", "frozen"), strict=False)  # [] = none
    latency: Word = ""  # target for the age of live results, as 150ms
    ledger: Word = ""  # file that tells what became of each frame
    traces: Ratio = 0.0  # share of the frames whose way is told to OpenTelemetry


def load(path: str | Path) -> PipelineConfig:
    """Read a pipeline file.

    Raises InputError with one line per mistake, each ``file:line: key: what is wrong, what would be right``.
    """
    document = Document(path)
    try:
        plan = PipelineConfig.model_validate(document.value())
    except ValidationError as error:
        complaints = [
            document.complaint(
                issue["loc"], _sentence(issue["loc"], issue), about_key=issue["type"] == "extra_forbidden"
            )
            for issue in error.errors()
        ]
        raise InputError("\n".join(text for _, text in sorted(complaints))) from None
    strangers = [document.complaint(loc, sentence, about_key=False) for loc, sentence in _strangers(plan)]
    if strangers:
        raise InputError("\n".join(text for _, text in sorted(strangers)))
    return plan


def _strangers(plan: PipelineConfig) -> Iterator[tuple[Loc, str]]:
    """Find streams that a sink is to take and no source of the file gives; where, and a sentence."""
    for name, sink in plan.sinks.items():
        for stream in sink.streams:
            if plan.sources and stream not in plan.sources:
                hint = nearest(stream, plan.sources) or f", would be of {', '.join(plan.sources)}"
                yield ("sinks", name, "streams"), f"no source {stream!r}{hint}"


def read_analytics(told: object) -> Plan:
    """Return the plan that a value stands for which is told as in the file, under `analytics`.

    Raises InputError with one line per mistake, each ``key: what is wrong, what would be right``.
    """
    try:
        return AnalyticsConfig.model_validate(told).plan()
    except ValidationError as error:
        lines = []
        for issue in error.errors():
            place = issue["loc"][:-1] if issue["type"] == "extra_forbidden" else issue["loc"]
            where = ".".join(str(step) for step in place)
            lines.append(redact(f"{where}: {_sentence(('analytics', *issue['loc']), issue)}"))
        raise InputError("\n".join(lines)) from None


# What each kind of value is called to a person, by the start of pydantic's error type.
_WOULD_BE = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "finite": "a number",
    "bool": "true or false",
    "tuple": "a list",
    "list": "a list",
}


def _sentence(loc: Loc, issue: Any) -> str:
    kind, value, limits = issue["type"], issue["input"], issue.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(loc)
    if kind == "value_error":
        return str(limits["error"])
    if kind == "missing":
        return f"no {loc[-1]!r}, would have '{loc[-1]}: ...'"
    if kind == "literal_error":
        known = re.findall(r"'([^']+)'", limits["expected"])
        return f"{_shown(value)}{nearest(str(value), known) or ', would be one of ' + ', '.join(known)}"
    if kind == "too_short" or kind == "string_too_short":
        return f"empty, would be {_mapping(loc) if kind == 'too_short' else 'text'}"
    if kind in ("dict_type", "model_type"):
        return f"{_shown(value)}, would be {_mapping(loc)}"
    for limit, words in (("ge", "at least"), ("gt", "more than"), ("le", "at most"), ("lt", "less than")):
        if limit in limits:
            return f"{_shown(value)}, would be {words} {limits[limit]:g}"
    return f"{_shown(value)}, would be {_WOULD_BE.get(kind.split('_')[0], issue['msg'])}"


def _unknown_key(loc: Loc) -> str:
    """Name the key that is too many, and the nearest one that its place knows."""
    models: dict[str, type[BaseModel]] = {
        "sources": SourceConfig,
        "sinks": SinkConfig,
        "model": ModelConfig,
        "then": ThenConfig,
        "hide": HideConfig,
        "analytics": AnalyticsConfig,
    }
    parts: dict[str, type[BaseModel]] = {"lines": LineConfig, "zones": ZoneConfig, "speeds": SpeedConfig}
    kind = models[str(loc[0])] if len(loc) > 1 else PipelineConfig
    known = list((parts[str(loc[1])] if kind is AnalyticsConfig and len(loc) > 2 else kind).model_fields)
    return f"unknown key {loc[-1]!r}{nearest(str(loc[-1]), known) or ', would be one of ' + ', '.join(known)}"


def _mapping(loc: Loc) -> str:
    if loc == ("sources",):
        return "a mapping of names to URLs, like 'front: rtsp://...'"
    if loc[0] == "analytics":
        return "a mapping of lines and zones to their points" if len(loc) < 3 else "a list of points"
    if loc[0] == "then":
        return "a model, or a mapping that begins with 'model:'"
    if loc == ("sinks",):
        return "a list of URLs, or a mapping of names to URLs"
    return (
        "a path, or a mapping that begins with 'path:'"
        if loc == ("model",)
        else "a URL, or a mapping with 'url:'"
    )


def _shown(value: object) -> str:
    """Return a value as it may be printed: shortened, and without the secrets of a URL."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    text = redact(repr(value))
    return text if len(text) <= 60 else text[:57] + "..."

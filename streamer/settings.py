"""Settings: all that a run is told, from keyword arguments, the command line and the pipeline's YAML."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.errors import InputError, nearest
from engines.files import keep_inputs
from streamer.analytics.plan import Plan
from streamer.durations import seconds_of
from streamer.feed import Limits
from streamer.keys import key_policy
from streamer.privacy import Privacy, read_privacy
from streamer.sinks import Taken, check_sink, sink_kind, target
from streamer.sources import is_video, local_files
from streamer.sources.quarantine import KINDS
from streamer.then import Then, read_then
from streamer.trackers import open_tracker
from streamer.urls import redact, scheme

if TYPE_CHECKING:
    from engines.options import Options
    from streamer.config import PipelineConfig, SourceConfig

__all__ = ["Place", "Settings", "SinkSettings", "SourceSettings", "gather", "merge", "place_of"]

Place = str | Path  # a URL or a path
KEY_INTERVAL = "5"  # unless another is asked for


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """One source and how it is read. Raises InputError for an `every` below 1."""

    url: str
    name: str = ""  # of its stream; "" = taken from the URL
    every: int = 1  # infer each so-manieth frame
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        _check_ranges({"every": self.every})

    def __repr__(self) -> str:
        return f"SourceSettings({redact(self.url)!r}, {self.name!r}, every={self.every}, {self.limits})"


@dataclass(frozen=True, slots=True)
class SinkSettings:
    """One sink and the streams it takes, () = all."""

    url: str
    streams: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"SinkSettings({redact(self.url)!r}, {self.streams})"


@dataclass(frozen=True, slots=True)
class Settings:
    """A whole run.

    Raises:
        InputError: no source, an unknown sink, two writers on one path, an unknown quarantine.
    """

    sources: tuple[SourceSettings, ...]
    model: str  # path, card or shipped name
    options: Options
    sinks: tuple[SinkSettings, ...] = ()
    then: tuple[Then, ...] = ()  # further models, each on what those before it have found
    hide: Privacy | None = None  # what of the picture nobody is to see
    overlay: bool = True
    track: str = ""  # NAME[,key=value...] of a tracker, "" = none
    trails: float = 2.0  # seconds of a track's way that are drawn
    show_lost: bool = False  # draw tracks that are not seen now
    heatmap: float = 0.0  # draw where things stand for long, half forgotten after so many seconds, 0 = not
    analytics: Plan = field(default_factory=Plan)  # lines and zones to watch; they need a tracker
    wait: bool = False  # start although no source can be opened, and try on
    quarantine: tuple[str, ...] = KINDS  # pictures of live sources that are withheld
    key_interval: str = KEY_INTERVAL  # of models for video: N frames from key to key, or auto[,key=value...]
    latency: float = 0.0  # seconds, target for 95 of 100 live results, 0 = none
    ledger: str = ""  # path of the file that tells what became of each frame, "" = none
    traces: float = 0.0  # share of the frames whose way is told to OpenTelemetry
    file: str = ""  # the pipeline file that all this was read from, "" = none

    def __post_init__(self) -> None:
        if not self.sources:
            raise InputError("sources: none given, name at least one file, camera or URL")
        for kind in self.quarantine:
            if kind not in KINDS:
                raise InputError(f"quarantine: {kind!r}, would be none or some of {', '.join(KINDS)}")
        key_policy(self.key_interval)
        if not 0 <= self.traces <= 1:
            raise InputError(f"traces: {self.traces}, a share from 0 to 1 would be right")
        if self.track:
            open_tracker(self.track)
        for sink in self.sinks:
            self._check_streams(sink)
        for path, count in Counter(target(sink.url) for sink in self.sinks).items():
            if count > 1:
                raise InputError(f"sink {path}: {count} sinks write to it, give each its own path")

    @property
    def for_engine(self) -> Options:
        """The options, with a batch of one where none was asked for and a frame is not to wait for others."""
        if self.options.batch or self._may_wait:
            return self.options
        return replace(self.options, batch=1)

    @property
    def _may_wait(self) -> bool:
        """Whether all is read from files, as fast as it goes, with nobody who looks on."""
        kinds = [sink_kind(sink.url) for sink in self.sinks]
        seen = any(kind.main_thread or kind.attends or kind.draws for kind in kinds)
        slow = any(told.limits.realtime or told.every > 1 for told in self.sources)
        return not (seen or slow or self.latency) and all(is_video(told.url) for told in self.sources)

    def files(self) -> list[Path]:
        """Return the files that a run reads: of its sources and its model, and the one it is told by."""
        from engines.locate import locate

        own = [Path(self.file)] if self.file else []
        try:
            model = locate(self.model).sources
        except InputError:  # whoever loads it says so
            model = []
        return [*own, *model, *(file for told in self.sources for file in local_files(told.url))]

    def check_sinks(self, running: Sequence[SinkSettings] = ()) -> None:
        """Raise InputError for a sink that cannot be opened; the places of those that run are their own."""
        held = {target(sink.url) for sink in running}
        for sink in self.sinks:
            if target(sink.url) not in held:
                check_sink(sink.url)

    def check_ledger(self) -> None:
        """Raise InputError where the ledger would be written over what the run reads, or into a sink."""
        if not self.ledger:
            return
        keep_inputs(Path(self.ledger), "--ledger", self.files())
        if os.path.realpath(self.ledger) in {target(sink.url) for sink in self.sinks}:
            raise InputError(f"--ledger: {self.ledger}: is a sink's file, another place would be right")

    def taken(self) -> list[str]:
        """Check the sinks as `check_sinks` does, and return what others hold of their places for now."""
        sentences = []
        for sink in self.sinks:
            try:
                check_sink(sink.url)
            except Taken as error:
                sentences.append(str(error))
        return sentences

    def _check_streams(self, sink: SinkSettings) -> None:
        count = len(sink.streams or self.sources)
        if count == 1 or sink_kind(sink.url).shared or "{stream}" in sink.url:
            return
        url = redact(sink.url)
        place = url.partition("?")[0]
        path = Path(place)
        better = (
            f"{place}-{{stream}}" if scheme(place) else path.with_name(f"{path.stem}-{{stream}}{path.suffix}")
        )
        raise InputError(
            f"sink {url}: {count} sources would write to one place, put {{stream}} into its name: {better}"
        )


def gather(
    sources: Place | Sequence[Place], model: Place, sinks: Place | Sequence[Place] = (), **how: Any
) -> Settings:
    """Sort keyword arguments into Settings: those of Limits, `every`, `overlay`, and of the engine's Options.

    None means: the default; a batch that is left alone is chosen, see `Settings.for_engine`. An unknown name
    is a TypeError, a value out of range an InputError.
    """
    from engines.options import Options

    how = {name: value for name, value in how.items() if value is not None}
    _check_names(how, [option.name for option in fields(Options)])
    _check_kinds(how)
    _check_ranges(how)
    if "classes" in how:
        told = how["classes"].split(",") if isinstance(how["classes"], str) else _listed(how["classes"])
        words = tuple(word for one in told if (word := str(one).strip()))
        if told and not words:
            raise InputError(
                f"classes: {how['classes']!r}, names or ids of classes are right, without it all"
            )
        how["classes"] = words
    limits = Limits(**{name: how.pop(name) for name in _LIMITS if name in how})
    every = how.pop("every", 1)
    if isinstance(how.get("quarantine"), str):
        how["quarantine"] = tuple(word for word in how["quarantine"].split(",") if word not in ("", "none"))
    how["latency"] = _latency(how.pop("latency", 0.0))
    if "then" in how:
        how["then"] = tuple(read_then(one) if isinstance(one, str) else one for one in _listed(how["then"]))
        for one in how["then"]:
            if not isinstance(one, Then):
                raise InputError(f"then: {one!r}, text such as 'reid.onnx,classes=person' is right")
    if isinstance(how.get("hide"), str):
        how["hide"] = read_privacy(how["hide"])
    if not isinstance(how.get("hide"), Privacy | None):
        raise InputError(f"hide: {how['hide']!r}, text such as 'blur,classes=face' would be right")
    if "analytics" in how and not isinstance(how["analytics"], Plan):
        how["analytics"] = _analytics(how["analytics"])
    if how.get("analytics"):
        how.setdefault("track", "bytetrack")
    if "key_interval" in how:
        how["key_interval"] = str(how["key_interval"])
        how["video"] = key_policy(how["key_interval"]).interval != 1
    whole = {name: how.pop(name) for name in _WHOLE if name in how}
    return Settings(
        tuple(
            SourceSettings(place_of(url, "source"), every=every, limits=limits) for url in _listed(sources)
        ),
        place_of(model, "model"),
        Options(**{"batch": 0, **how}),
        tuple(SinkSettings(place_of(url, "sink")) for url in _listed(sinks)),
        **whole,
    )


def place_of(told: object, what: str) -> str:
    """Return a path, a URL or a camera's number as text. InputError for anything else."""
    if not isinstance(told, str | Path | int) or isinstance(told, bool):
        raise InputError(f"{what}: {type(told).__name__}, a path or URL as text is right")
    return str(told)


def _listed(told: Any) -> list[Any]:
    """Return several as they are, and one as the only one."""
    return list(told) if isinstance(told, Iterable) and not isinstance(told, str) else [told]


def merge(
    sources: Sequence[str], model: str, sinks: Sequence[str], config: Path | None, given: dict[str, Any]
) -> Settings:
    """Combine a command line with a pipeline file; what the command line gives (not None) wins.

    Raises:
        InputError: something is missing, unknown or out of range.
    """
    given = {name: value for name, value in given.items() if value is not None}
    here = frozenset(given)
    plan = _read_plan(config) if config is not None else None
    if plan is not None:
        model = model or plan.model.path
        given = {**_said(plan), **_said(plan.model), **given}
        if "analytics" in given:
            given["analytics"] = plan.analytics.plan()
        if given.get("hide") is plan.hide and plan.hide is not None:
            given["hide"] = Privacy(**plan.hide.model_dump())
        if given.get("then") is plan.then:
            given["then"] = tuple(Then(**told.model_dump()) for told in plan.then)
    if not sources and plan is None:
        raise InputError("sources: none given, name at least one file, camera or URL")
    if not model:
        raise InputError(
            "--model: none given, name a file (.onnx, .xml), a card (.yaml) or one of `streamer models`"
        )
    if plan is None or sources:
        made = gather(sources, model, sinks, **given)
    else:
        made = gather([source.url for source in plan.sources.values()], model, sinks, **given)
        own = [
            _own(base, name, source, here)
            for base, (name, source) in zip(made.sources, plan.sources.items(), strict=True)
        ]
        made = replace(made, sources=tuple(own))
    if plan is not None and not sinks:
        wanted = tuple(SinkSettings(sink.url, sink.streams) for sink in plan.sinks.values())
        made = replace(made, sinks=wanted)
    return replace(made, file=str(config)) if config is not None else made


_LIMITS = ("frames", "seconds", "loop", "realtime")
_TRACKING = ("track", "trails", "show_lost", "heatmap", "analytics")
_RUNNING = ("wait", "quarantine", "latency", "ledger", "traces", "key_interval")
_WHOLE = ("then", "hide", "overlay", *_RUNNING, *_TRACKING)  # of the run


def _check_names(how: Iterable[str], options: Sequence[str]) -> None:
    known = {*_LIMITS, *_WHOLE, "every", *options}
    for name in how:
        if name not in known:
            raise TypeError(f"unknown keyword {name!r}{nearest(name, known)}")


_KINDS: dict[str, tuple[Any, str]] = {  # keyword -> what is taken, and what it says in words
    **dict.fromkeys(("loop", "realtime", "overlay", "show_lost", "wait"), (bool, "True or False")),
    "track": (str, "text such as 'bytetrack'"),
    "latency": (str | Real, "seconds or text such as '150ms'"),
    "quarantine": (str | Sequence, "text such as 'corrupt,black'"),
    "traces": (Real, "a share from 0 to 1"),
}


def _check_kinds(how: dict[str, Any]) -> None:
    for name, (kind, right) in _KINDS.items():
        if name in how and not isinstance(how[name], kind):
            raise InputError(f"{name}: {how[name]!r}, {right} is right")


def _check_ranges(how: dict[str, Any]) -> None:
    for name, least in (("every", 1), ("frames", 0), ("seconds", 0), ("trails", 0), ("heatmap", 0)):
        value = how.get(name, least)
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        if not is_number:
            raise InputError(f"{name}: {value!r}, a number would be right")
        if not least <= value < math.inf:
            raise InputError(f"{name}: {value}, {least} or more would be right")
        if name in ("every", "frames") and value != int(value):
            raise InputError(f"{name}: {value}, a whole number would be right")
    for name in ("conf", "iou"):
        if how.get(name) == -1:  # what `Options` takes for the model's own
            raise InputError(f"{name}: -1, a number from 0 to 1 is right")


def _analytics(told: object) -> Plan:
    """Read lines and zones that are told as in the pipeline file."""
    from streamer.config import read_analytics

    try:
        return read_analytics(told)
    except InputError as error:
        lines = (line if line.startswith(":") else f".{line}" for line in str(error).split("\n"))
        raise InputError("\n".join(f"analytics{line}" for line in lines)) from None


def _latency(told: str | float) -> float:
    try:
        seconds = seconds_of(told) if isinstance(told, str) else told
    except ValueError as error:
        raise InputError(f"latency: {error}") from error
    if not (seconds == 0 or 0.005 <= seconds < math.inf):
        raise InputError(f"latency: {told}, 5ms or more would be right")
    return seconds


def _read_plan(config: Path) -> PipelineConfig:
    from streamer.config import load

    return load(config)


def _said(config: Any) -> dict[str, Any]:
    """Return what the file gives at this level, leaving out what names sources, sinks and the model."""
    structure = {"sources", "sinks", "model", "path"}
    return {name: getattr(config, name) for name in config.model_fields_set - structure}


def _own(base: SourceSettings, name: str, source: SourceConfig, given: frozenset[str]) -> SourceSettings:
    """Apply what the file says of one source alone, but for what the command line has given."""
    own = {key: value for key, value in source if value is not None and key not in given}
    limits = replace(base.limits, **{key: own[key] for key in ("loop", "realtime") if key in own})
    return replace(base, name=name, every=own.get("every", base.every), limits=limits)

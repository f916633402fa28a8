"""Options: how a model is to run, as the user asked; everything left alone is chosen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any, Literal, get_args

from engines.errors import InputError, nearest
from engines.spec import ModelSpec
from engines.survivors import Suppression

__all__ = ["LARGEST_BATCH", "Labels", "Options", "Precision", "chosen_classes"]

Precision = Literal["auto", "fp32", "bf16", "fp16", "int8"]
Labels = Literal["best", "all"]

_CANDIDATES = 300
_MOST_REQUESTS = 256
LARGEST_BATCH = 1024  # pictures: what more would need no machine has

_KINDS: dict[str, tuple[Any, str]] = {  # annotation -> what is taken, and what it says in words
    "str": (str, "a text"),
    "int": (Integral, "a whole number"),
    "float": (Real, "a number"),
    "bool": (bool, "True or False"),
    "Precision": (str, "a text"),
    "Labels": (str, "a text"),
    "Suppression": (str, "a text"),
}


@dataclass(frozen=True, slots=True)
class Options:
    """How to run a model. Raises InputError for a value of another kind or out of range.

    ``classes`` may be one name, and ids may be whole numbers; they are kept as a tuple of text.
    """

    backend: str = "auto"  # a key of engines.backends.BACKENDS
    device: str = "auto"  # "cpu", "gpu", ... as the backend knows them
    precision: Precision = (
        "auto"  # auto: bf16 where the CPU has it and the model keeps its figures, else fp32
    )
    batch: int = 1  # pictures per request; 0 = chosen for throughput
    requests: int = 0  # in flight together; 0 = chosen for throughput, 1 = least latency
    conf: float = -1.0  # score threshold 0..1; -1 = the model's own
    iou: float = -1.0  # NMS threshold 0..1; -1 = the model's own
    classes: tuple[str, ...] = ()  # names or ids to keep; () = all
    max_det: int = 300  # detections per picture after suppression
    candidates: int = 0  # per picture that leave the engine, some six an object; 0 = max_det, 300 at least
    labels: Labels = "best"  # "all": one place may give several classes, as COCO's evaluation counts them
    nms: Suppression = "greedy"  # how of boxes that overlap the weaker go; "mask": by their masks' overlap
    class_agnostic: bool = False  # suppression across classes
    video: bool = True  # of a model for video run both graphs; False: every picture is a key frame

    def __post_init__(self) -> None:
        _check_kinds(self)
        object.__setattr__(self, "classes", _words(self.classes))
        for name in ("conf", "iou"):
            value = getattr(self, name)
            if value != -1 and not 0 <= value <= 1:
                raise InputError(f"{name}: {value:g}, a number from 0 to 1 is right")
        for name, least in (("batch", 0), ("requests", 0), ("max_det", 1), ("candidates", 0)):
            value = getattr(self, name)
            if value < least:
                raise InputError(f"{name}: {value}, {least} or more is right")
        if not self.candidates:
            object.__setattr__(self, "candidates", max(_CANDIDATES, self.max_det))
        for name, most in (("batch", LARGEST_BATCH), ("requests", _MOST_REQUESTS)):
            if getattr(self, name) > most:
                raise InputError(f"{name}: {getattr(self, name)}, at most {most} is right")
        for name, choices in (("precision", Precision), ("labels", Labels), ("nms", Suppression)):
            value, known = getattr(self, name), get_args(choices)
            if value not in known:
                raise InputError(
                    f"{name}: {value!r}, one of {', '.join(known)} is right{nearest(value, known)}"
                )


def _check_kinds(options: Options) -> None:
    for field in fields(options):
        kind, right = _KINDS.get(str(field.type), (object, ""))
        value = getattr(options, field.name)
        if right and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
            raise InputError(f"{field.name}: {value!r}, {right} is right")


def _words(classes: object) -> tuple[str, ...]:
    """Names and ids as texts; one alone is no row of letters."""
    told = (classes,) if isinstance(classes, str | Integral) else classes
    words = tuple(told) if isinstance(told, Iterable) else (told,)
    for word in words:
        if isinstance(word, bool) or not isinstance(word, str | Integral):
            raise InputError(f"classes: {word!r}, names or ids of classes are right")
    return tuple(map(str, words))


def chosen_classes(wanted: tuple[str, ...], spec: ModelSpec) -> frozenset[int]:
    """Return the ids that ``wanted`` (names or ids) means; all of the model's for (). Raises InputError."""
    if not wanted:
        return frozenset(range(len(spec.classes)))
    ids = {name: number for number, name in enumerate(spec.classes)}
    ids |= {str(number): number for number in range(len(spec.classes)) if str(number) not in ids}
    for name in wanted:
        if name not in ids:
            few = ", ".join(spec.classes[:8]) + (", ..." if len(spec.classes) > 8 else "")
            raise InputError(
                f"classes: {name!r} is not in {spec.name}, which knows {few}{nearest(name, spec.classes)}"
            )
    return frozenset(ids[name] for name in wanted)

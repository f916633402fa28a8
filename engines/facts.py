"""Facts: parts of a ModelSpec as one source tells them, before they are put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, get_type_hints

from engines.classes import COCO, COCO_KEYPOINTS, COCO_SKELETON, COCO_WITH_GAPS
from engines.errors import InputError, nearest
from engines.spec import ModelSpec

__all__ = ["FIELDS", "Facts", "checked", "keypoints_for", "names_for"]

FIELDS = tuple(entry.name for entry in fields(ModelSpec) if entry.name not in ("notes", "reasons"))

_LARGEST = 3e38  # that float32 holds
_RANGES: dict[
    str, tuple[Callable[[Any], bool], str]
] = {  # of each number of a field, and what it says in words
    "size": (lambda side: side > 0, "1 or more"),
    "pad": (lambda level: 0 <= level <= 255, "0 to 255"),
    "scale": (lambda value: _finite(value) and value != 0, "a finite number other than 0"),
    "mean": (lambda value: _finite(value), "a finite number"),
    "std": (lambda value: _finite(value) and value != 0, "a finite number other than 0"),
    "conf": (lambda share: 0 <= share <= 1, "0 to 1"),
    "iou": (lambda share: 0 <= share <= 1, "0 to 1"),
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What one source says, by the names of ModelSpec's fields."""

    source: str  # for people: "card street.yaml"
    values: Mapping[str, Any] = field(default_factory=dict)


def checked(key: str, value: object, where: str) -> Any:
    """Return a value in the type and range of its ModelSpec field. Raises InputError, ``where`` in front."""
    from pydantic import ValidationError

    if key not in FIELDS:
        raise InputError(f"{where}: unknown key {key!r}{nearest(key, FIELDS)}; known: {', '.join(FIELDS)}")
    try:
        fact = _adapter(key).validate_python(value)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        place = ".".join([key, *(str(part) for part in wrong["loc"])])
        raise InputError(f"{where}: {place}: {wrong['input']!r}, {wrong['msg']}") from error
    fits, right = _RANGES.get(key, (lambda _: True, ""))
    for number in fact if isinstance(fact, tuple) else (fact,):
        if not fits(number):
            raise InputError(f"{where}: {key}: {number!r}, {right} is right")
    return fact


def _finite(value: float) -> bool:
    return abs(value) <= _LARGEST  # which no infinity is, and no NaN


def names_for(count: int) -> tuple[str, ...]:
    """Class names where a file has none: COCO's for 80 classes, or 90 with its gaps, else numbers."""
    known = {len(names): names for names in (COCO, COCO_WITH_GAPS)}
    return known.get(count) or tuple(f"class_{number}" for number in range(count))


def keypoints_for(count: int) -> dict[str, Any]:
    """Keypoints and skeleton where a file has none: COCO's for 17, else numbers without limbs."""
    if count == len(COCO_KEYPOINTS):
        return {"keypoints": COCO_KEYPOINTS, "skeleton": COCO_SKELETON}
    return {"keypoints": tuple(f"keypoint_{number}" for number in range(count)), "skeleton": ()}


@cache
def _adapter(key: str) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(get_type_hints(ModelSpec)[key])

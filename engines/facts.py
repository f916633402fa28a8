"""Facts: parts of a ModelSpec as one source tells them, before they are put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, get_type_hints

from engines.classes import COCO, COCO_KEYPOINTS, COCO_SKELETON, COCO_WITH_GAPS
from engines.errors import InputError, nearest
from engines.spec import ModelSpec

__all__ = ["FIELDS", "Facts", "checked", "keypoints_for", "names_for"]

FIELDS = tuple(entry.name for entry in fields(ModelSpec) if entry.name not in ("notes", "reasons"))


@dataclass(frozen=True, slots=True)
class Facts:
    """What one source says, by the names of ModelSpec's fields."""

    source: str  # for people: "card street.yaml"
    values: Mapping[str, Any] = field(default_factory=dict)


def checked(key: str, value: object, where: str) -> Any:
    """Return a value in the type of its ModelSpec field. Raises InputError with ``where`` in front."""
    from pydantic import ValidationError

    if key not in FIELDS:
        raise InputError(f"{where}: unknown key {key!r}{nearest(key, FIELDS)}; known: {', '.join(FIELDS)}")
    try:
        return _adapter(key).validate_python(value)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        place = ".".join([key, *(str(part) for part in wrong["loc"])])
        raise InputError(f"{where}: {place}: {wrong['input']!r}, {wrong['msg']}") from error


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

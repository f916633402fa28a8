"""Rows of a label file in COCO's manner: each an object with the keys that readers may then trust."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from engines.errors import InputError

__all__ = ["CATEGORY", "IMAGE", "OBJECT", "VIDEO", "Rule", "are_numbers", "check_rows", "once", "short"]

_MOST = 1e9  # no pixel and no area is beyond
_SIDE = 65535  # pixels


class Rule(NamedTuple):
    """What the value of a key must be."""

    right: Callable[[Any], bool]
    what: str  # is right, as a sentence says it
    needed: bool = True


def are_numbers(values: Any) -> bool:
    """Tell whether a value is a list of finite numbers."""
    return isinstance(values, list) and all(map(_number, values))


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -_MOST < value < _MOST


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _words(value: Any) -> bool:
    return isinstance(value, str) and value != "" and "\0" not in value


_ID = Rule(lambda value: _whole(value) or _words(value), "a whole number or a word")
_PIXELS = Rule(lambda value: _number(value) and 1 <= value <= _SIDE, f"a number of pixels, 1..{_SIDE},")
_NAMES = Rule(lambda value: isinstance(value, list) and all(map(_words, value)), "a list of files' names")

IMAGE = {"id": _ID, "file_name": Rule(_words, "the name of a file"), "width": _PIXELS, "height": _PIXELS}
VIDEO = {"id": _ID, "file_names": _NAMES, "width": _PIXELS, "height": _PIXELS}
CATEGORY = {"id": Rule(_whole, "a whole number"), "name": Rule(_words, "a word")}
OBJECT = {  # of an image or a video, whose id it has, too
    "id": _ID,
    "category_id": CATEGORY["id"],
    "area": Rule(lambda value: _number(value) and value >= 0, "a number of pixels", needed=False),
    "iscrowd": Rule(lambda value: value in (0, 1), "0 or 1", needed=False),
}


def check_rows(labels: Path, what: str, rows: Sequence[Any], rules: Mapping[str, Rule]) -> None:
    """Raise InputError for the first row that is no object, or has not the keys and values of the rules."""
    for place, row in enumerate(rows):
        if not isinstance(row, dict):
            keys = ", ".join(key for key, rule in rules.items() if rule.needed)
            raise InputError(
                f"{labels}: {what} number {place + 1}: {short(row)}, an object with {keys} is right"
            )
        for key, rule in rules.items():
            value = row.get(key)
            if (rule.needed or value is not None) and not rule.right(value):
                which = row["id"] if _ID.right(row.get("id")) else f"number {place + 1}"
                raise InputError(f"{labels}: {what} {which}: {key}: {short(value)}, {rule.what} is right")


def once(labels: Path, what: str, rows: Sequence[Mapping[str, Any]], key: str = "id") -> None:
    """Raise InputError where two rows have the same value of a key."""
    seen = set()
    for row in rows:
        if row[key] in seen:
            raise InputError(
                f"{labels}: {what} {row['id']}: {key}: {row[key]!r} is there twice, once is right"
            )
        seen.add(row[key])


def short(value: Any) -> str:
    """Write a value of JSON in a few words."""
    return "none" if value is None else reprlib.repr(value)

"""Pairs: ``key=value,...`` on a command line, read by the fields of a dataclass and their defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import Any

from engines.errors import InputError, nearest

__all__ = ["read_pairs"]


def read_pairs(where: str, pairs: Sequence[str], kind: Any) -> dict[str, Any]:
    """Return values for fields of ``kind`` that have a default, each in the type of that.

    Numbers are 0 or more; a tuple is ``one+other``.

    Raises:
        InputError: ``where: ...`` for an unknown key or a value of another type.
    """
    known = {field.name: field.default for field in fields(kind) if field.default is not MISSING}
    given: dict[str, Any] = {}
    for pair in pairs:
        key, _, value = (part.strip() for part in pair.partition("="))
        if key not in known:
            guess = nearest(key, known) or ", would be one of " + ", ".join(known)
            raise InputError(f"{where}: unknown key {key!r}{guess}")
        given[key] = _read(f"{where}: {key}", value, known[key])
    return given


def _read(where: str, text: str, default: Any) -> Any:
    if isinstance(default, tuple):
        return tuple(word for word in text.split("+") if word)
    if isinstance(default, str):
        return text
    kind, word = (int, "a whole number") if isinstance(default, int) else (float, "a number")
    try:
        value = kind(text)
    except ValueError:
        raise InputError(f"{where}: {text!r}, would be {word}, like {default}") from None
    if not 0 <= value < float("inf"):
        raise InputError(f"{where}: {text}, would be {word} of 0 or more")
    return value

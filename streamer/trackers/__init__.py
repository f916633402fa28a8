"""Trackers: which detection of this frame is which of those before; one tracker for each stream.

One table from name to module; `open_tracker("bytetrack,lost=2")` makes one, `update` is all there is to it.
"""

from __future__ import annotations

import importlib
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from engines.errors import InputError, nearest

if TYPE_CHECKING:
    from streamer.trackers.tracker import Tracker

__all__ = ["TRACKERS", "open_tracker"]

TRACKERS = {
    "sort": "streamer.trackers.sort",
    "bytetrack": "streamer.trackers.bytetrack",
    "ocsort": "streamer.trackers.ocsort",
    "botsort": "streamer.trackers.botsort",
}


def open_tracker(text: str) -> Tracker:
    """Make a tracker from ``NAME[,key=value...]``: ``"bytetrack,lost=2"``.

    Raises:
        InputError: an unknown name or key, or a value out of place.
    """
    name, *pairs = (word.strip() for word in text.split(","))
    if name not in TRACKERS:
        guess = nearest(name, TRACKERS) or ", would be one of " + ", ".join(TRACKERS)
        raise InputError(f"track: {name!r}: unknown{guess}")
    module = importlib.import_module(TRACKERS[name])
    made: Tracker = module.tracker(module.Settings(**_settings(name, module.Settings, pairs)))
    return made


def _settings(name: str, kind: Any, pairs: list[str]) -> dict[str, Any]:
    known: dict[str, Any] = {field.name: field.default for field in fields(kind)}
    given: dict[str, Any] = {}
    for pair in pairs:
        key, _, value = (part.strip() for part in pair.partition("="))
        if key not in known:
            guess = nearest(key, known) or ", would be one of " + ", ".join(known)
            raise InputError(f"track: {name}: unknown key {key!r}{guess}")
        given[key] = _number(f"track: {name}: {key}", value, known[key])
    return given


def _number(where: str, text: str, default: float) -> float:
    kind, word = (int, "a whole number") if isinstance(default, int) else (float, "a number")
    try:
        value = kind(text)
    except ValueError:
        raise InputError(f"{where}: {text!r}, would be {word}, like {default}") from None
    if not 0 <= value < float("inf"):
        raise InputError(f"{where}: {text}, would be {word} of 0 or more")
    return value

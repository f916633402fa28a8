"""Trackers: which detection of this frame is which of those before; one tracker for each stream.

One table from name to module; `open_tracker("bytetrack,lost=2")` makes one, `update` is all there is to it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from engines.errors import InputError, nearest
from streamer.pairs import read_pairs

if TYPE_CHECKING:
    from streamer.trackers.tracker import Tracker

__all__ = ["TRACKERS", "open_tracker"]

TRACKERS = {
    "sort": "streamer.trackers.sort",
    "bytetrack": "streamer.trackers.bytetrack",
    "ocsort": "streamer.trackers.ocsort",
    "botsort": "streamer.trackers.botsort",
}
SHARES = ("iou", "shape")  # keys whose value is at most 1; other overlaps may be above it: never


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
    told = read_pairs(f"track: {name}", pairs, module.Settings)
    for key in SHARES:
        if told.get(key, 0) > 1:
            raise InputError(f"track: {name}: {key}: {told[key]:g}, would be from 0 to 1")
    made: Tracker = module.tracker(module.Settings(**told))
    return made

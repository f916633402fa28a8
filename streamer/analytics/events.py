"""Events: what happened to whom, where and when, each of them one line of JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Event", "described"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in one stream."""

    kind: str  # "line", "zone", "dwell", "alert", "speed"
    name: str  # of the line, zone or alert
    pts: float  # seconds in the source's own time
    what: str  # "in", "out", "begin", "end"
    track: int = -1  # -1: not about one of them
    label: int = -1  # class of the track
    value: float = float("nan")  # seconds of dwelling, metres per second; NaN = none
    count: int = -1  # so far in this direction, or inside now; -1 = none
    of_class: int = -1  # of them those of this class; -1 = not told


def described(event: Event, stream: str, names: Sequence[str]) -> dict[str, Any]:
    """Return the event as it is written; what does not apply is left out."""
    told: dict[str, Any] = {
        "event": event.kind,
        "name": event.name,
        "stream": stream,
        "pts": round(event.pts, 6),
        "what": event.what,
    }
    if event.track >= 0:
        known = 0 <= event.label < len(names)
        told |= {"id": event.track, "class": names[event.label] if known else str(event.label)}
    if not math.isnan(event.value):
        told["value"] = round(event.value, 3)
    if event.count >= 0:
        told["count"] = event.count
    if event.of_class >= 0:
        told["class_count"] = event.of_class
    return told

"""Lines: who has crossed them, which way, counted once however long they stand on it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from engines.detections import Detections
from streamer.analytics.anchors import Anchor, anchors, confirmed
from streamer.analytics.events import Event
from streamer.analytics.roster import Roster

__all__ = ["Line", "LineCounter"]

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """A line from start to end; who looks along it and sees someone pass from left to right sees an "in"."""

    name: str
    start: Point  # pixels
    end: Point
    anchor: Anchor = "feet"
    margin: float = 0.1  # of a box's longer side: nearer than this, nobody has changed sides
    classes: tuple[int, ...] = ()  # () = all


class LineCounter:
    """Counts the crossings of one line in one stream."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.counts: Counter[str] = Counter()  # "in" and "out"
        self.by_class: Counter[tuple[str, int]] = Counter()
        self._roster = Roster(3)  # distance from the line, x, y; where the track last was clear of it

    def move(self, line: Line) -> None:
        """Go on counting at another place, as in pictures of another size."""
        self.line, self._roster = line, Roster(3)

    def update(self, detections: Detections, pts: float) -> list[Event]:
        """Return the crossings since the last frame. Detections without a track count for nothing.

        A track changes sides once its anchor is beyond the margin. It has crossed the line if the way from
        where it was last clear of the margin leads over the line, and not around its ends.
        """
        line = self.line
        found = confirmed(detections, line.classes)
        if not len(found):
            return []
        start, way = np.array(line.start), np.subtract(line.end, line.start)
        here = anchors(found.boxes, line.anchor)
        away = (way[0] * (here[:, 1] - start[1]) - way[1] * (here[:, 0] - start[0])) / np.hypot(*way)
        side = (found.boxes[:, 2:] - found.boxes[:, :2]).max(axis=1)
        clear = np.abs(away) > line.margin * side
        rows = self._roster.rows(found.ids, pts)[clear]  # who stands on the line is not forgotten either
        here, away, found = here[clear], away[clear], found[clear]
        before, there = self._roster.data[rows, 0], self._roster.data[rows, 1:]
        self._roster.data[rows] = np.concatenate([away[:, None], here], axis=1)
        passed = np.flatnonzero(before * away < 0)  # NaN is not
        share = (before[passed] / (before[passed] - away[passed]))[:, None]
        along = ((there[passed] + share * (here[passed] - there[passed]) - start) @ way) / (way @ way)
        return [self._count(found, row, float(away[row]), pts) for row in passed[(along >= 0) & (along <= 1)]]

    def _count(self, found: Detections, row: int, away: float, pts: float) -> Event:
        what, label = "in" if away > 0 else "out", int(found.classes[row])
        self.counts[what] += 1
        self.by_class[what, label] += 1
        track = int(found.ids[row])
        counts = {"count": self.counts[what], "of_class": self.by_class[what, label]}
        return Event("line", self.line.name, pts, what, track, label, **counts)

"""Zones: who is in a polygon, since when, and how many are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.detections import Detections
from streamer.analytics.anchors import Anchor, anchors, confirmed
from streamer.analytics.events import Event
from streamer.analytics.roster import MEMORY, Roster

__all__ = ["Zone", "ZoneCounter", "inside"]

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Zone:
    """A polygon, and what about it is worth an alert."""

    name: str
    points: tuple[Point, ...]  # pixels, three or more, closed by itself
    anchor: Anchor = "feet"
    margin: float = 0.1  # of a box's longer side: only farther out than this has anyone left
    gone: float = 2.0  # seconds without being seen after which one has left
    dwell: float = 0.0  # seconds after which staying is an event, 0 = never
    crowd: int = 0  # how many make an alert, 0 = never
    crowd_seconds: float = 0.0  # for how long there must be as many
    classes: tuple[int, ...] = ()  # () = all


class ZoneCounter:
    """Watches one zone of one stream."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self.counts: Counter[str] = Counter()  # "in" and "out"
        # pts of entering (NaN: outside), class, 1 once the dwelling was told; who is inside is not forgotten
        self._roster = Roster(3, memory=max(MEMORY, zone.gone))
        self._crowded = float("nan")  # pts since which there are enough, NaN: there are not
        self._alert = False

    def move(self, zone: Zone) -> None:
        """Go on counting at another place, as in pictures of another size."""
        self.zone = zone

    @property
    def occupancy(self) -> int:
        """How many are inside."""
        return int(np.count_nonzero(~np.isnan(self._roster.data[:, 0])))

    @property
    def by_class(self) -> Counter[int]:
        """How many of each class are inside."""
        data = self._roster.data
        return Counter(data[~np.isnan(data[:, 0]), 1].astype(int).tolist())

    def dwelling(self, pts: float) -> dict[int, float]:
        """Return the seconds that each track inside has been there."""
        entered = self._roster.data[:, 0]
        rows = np.flatnonzero(~np.isnan(entered))
        return dict(zip(self._roster.ids[rows].tolist(), (pts - entered[rows]).tolist(), strict=True))

    def update(self, detections: Detections, pts: float) -> list[Event]:
        """Return who came, who left, who has stayed for long, and whether an alert began or ended.

        Detections without a track count for nothing. One who is first seen inside has come in.
        """
        zone, roster = self.zone, self._roster
        found = confirmed(detections, zone.classes)
        events = self._gone(found, pts)
        if len(found):
            here = anchors(found.boxes, zone.anchor)
            polygon = np.array(zone.points, np.float64)
            within = inside(here, polygon)
            margin = zone.margin * (found.boxes[:, 2:] - found.boxes[:, :2]).max(axis=1)
            rows = roster.rows(found.ids, pts)
            was = ~np.isnan(roster.data[rows, 0])
            came = rows[within & ~was]
            left = rows[was & ~within & (_distance(here, polygon) > margin)]
            roster.data[rows, 1] = found.classes
            roster.data[came, 0], roster.data[came, 2] = pts, 0
            events += self._told(came, "in", pts) + self._told(left, "out", pts)
        return events + self._stayed(pts) + self._crowd(pts)

    def _gone(self, found: Detections, pts: float) -> list[Event]:
        roster = self._roster
        away = ~np.isnan(roster.data[:, 0]) & (pts - roster.seen > self.zone.gone)
        away &= ~np.isin(roster.ids, found.ids)
        return self._told(np.flatnonzero(away), "out", pts)

    def _told(self, rows: NDArray[np.intp], what: str, pts: float) -> list[Event]:
        events, data = [], self._roster.data
        for row in rows.tolist():
            dwelt = float(self._roster.seen[row] - data[row, 0]) if what == "out" else float("nan")
            if what == "out":
                data[row, 0] = np.nan
            self.counts[what] += 1
            track, label = int(self._roster.ids[row]), int(data[row, 1])
            inside_now = self.counts["in"] - self.counts["out"]
            events.append(Event("zone", self.zone.name, pts, what, track, label, dwelt, inside_now))
        return events

    def _stayed(self, pts: float) -> list[Event]:
        if not self.zone.dwell:
            return []
        data, seen = self._roster.data, self._roster.seen  # who is not seen may have left already
        rows = np.flatnonzero((seen - data[:, 0] >= self.zone.dwell) & (data[:, 2] == 0))
        data[rows, 2] = 1
        return [
            Event("dwell", self.zone.name, pts, "begin", int(self._roster.ids[row]), int(data[row, 1]), value)
            for row, value in zip(rows.tolist(), (seen[rows] - data[rows, 0]).tolist(), strict=True)
        ]

    def _crowd(self, pts: float) -> list[Event]:
        zone, count = self.zone, self.occupancy
        if not zone.crowd:
            return []
        if count < zone.crowd:
            ended, self._alert, self._crowded = self._alert, False, float("nan")
            return [Event("alert", zone.name, pts, "end", count=count)] if ended else []
        self._crowded = pts if np.isnan(self._crowded) else self._crowded
        if self._alert or pts - self._crowded < zone.crowd_seconds:
            return []
        self._alert = True
        return [Event("alert", zone.name, pts, "begin", count=count)]


def inside(points: NDArray[np.float64], polygon: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return whether each of (N,2) points lies in a polygon (P,2), by the even-odd rule.

    Of two polygons with a common edge only one has the points on it.
    """
    ax, ay = polygon.T
    bx, by = np.roll(polygon, -1, axis=0).T
    x, y = points[:, :1], points[:, 1:]
    spans = (ay > y) != (by > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = ax + (y - ay) * (bx - ax) / (by - ay)
    odd: NDArray[np.bool_] = (spans & (x < crossing)).sum(axis=1) % 2 == 1
    return odd


def _distance(points: NDArray[np.float64], polygon: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far each of (N,2) points is from the polygon's edge."""
    way = np.roll(polygon, -1, axis=0) - polygon
    off = points[:, None] - polygon
    share = np.clip((off * way).sum(axis=2) / np.maximum((way**2).sum(axis=1), 1e-12), 0, 1)
    nearest = off - share[..., None] * way
    distance: NDArray[np.float64] = np.hypot(nearest[..., 0], nearest[..., 1]).min(axis=1)
    return distance

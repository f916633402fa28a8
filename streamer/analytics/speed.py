"""Speed: how fast tracks move over the ground, by four points of it whose places in metres are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.detections import Detections
from streamer.analytics.anchors import Anchor, anchors, confirmed
from streamer.analytics.events import Event
from streamer.analytics.roster import Roster
from streamer.analytics.zones import inside

__all__ = ["Ground", "SpeedMeter", "homography"]

Point = tuple[float, float]

PLACES = 16  # of a track that are remembered, spread over the time that is measured over
LEAST = 0.5  # of that time, from which on a speed is told
T, X, Y = range(3)
SINCE, TOLD, LABEL = range(3 * PLACES, 3 * PLACES + 3)  # pts of being too fast; 1: that was told; class


@dataclass(frozen=True, slots=True)
class Ground:
    """Four points of a plane in the picture and in metres, and what speed on it is worth an alert."""

    name: str
    points: tuple[Point, ...]  # pixels, four corners of a quadrilateral, in turn
    metres: tuple[Point, ...]  # the same points on the ground
    limit: float = 0.0  # metres per second above which there is an alert, 0 = never
    seconds: float = 1.0  # for how long it must be faster
    over: float = 1.0  # seconds that a speed is measured over
    anchor: Anchor = "feet"
    classes: tuple[int, ...] = ()  # () = all


class SpeedMeter:
    """Measures the speeds in one stream of those who are between the four points."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.speeds: dict[int, float] = {}  # metres per second of each track in the last frame
        self._corners = np.array(ground.points, np.float64)
        self._to_metres = homography(ground.points, ground.metres)
        self._roster = Roster(3 * PLACES + 3)  # places, newest first, and the columns behind them

    def update(self, detections: Detections, pts: float) -> list[Event]:
        """Measure, and return which alerts begin and end; detections without a track count for nothing.

        A speed is that of the straight line that fits the places of the last seconds best.
        """
        ground, roster = self.ground, self._roster
        found = confirmed(detections, ground.classes)
        here = anchors(found.boxes, ground.anchor)
        within = inside(here, self._corners)
        found, here = found[within], here[within]
        events = self._gone(found, pts)
        rows = roster.rows(found.ids, pts)
        data = roster.data
        places = data[rows, : 3 * PLACES].reshape(-1, PLACES, 3)
        places = self._remember(places, self._ground(here), pts)
        data[rows, : 3 * PLACES] = places.reshape(-1, 3 * PLACES)
        speeds = _slopes(places, pts - ground.over, LEAST * ground.over)
        known = np.isfinite(speeds)
        self.speeds = dict(zip(found.ids[known].tolist(), speeds[known].tolist(), strict=True))
        return events + self._alerts(found, rows, speeds, pts) if ground.limit else events

    def _ground(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        flat = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ self._to_metres.T
        metres: NDArray[np.float64] = flat[:, :2] / flat[:, 2:]
        return metres

    def _remember(
        self, places: NDArray[np.float64], metres: NDArray[np.float64], pts: float
    ) -> NDArray[np.float64]:
        """Put the new places (N,2) in front; a place just before, of which there is one nearby, goes."""
        now = np.concatenate([np.full((len(metres), 1), pts), metres], axis=1)
        close = (pts - places[:, 1, T] < self.ground.over * 1.5 / PLACES)[:, None, None]
        older = np.where(close, places[:, 1:], places[:, :-1])
        return np.concatenate([now[:, None], older[:, : PLACES - 1]], axis=1)

    def _gone(self, found: Detections, pts: float) -> list[Event]:
        """End the alerts of those who have not been on the ground for as long as is measured over."""
        roster = self._roster
        away = (pts - roster.seen > self.ground.over) & ~np.isin(roster.ids, found.ids)
        rows = np.flatnonzero((roster.data[:, TOLD] == 1) & away)
        roster.data[rows, SINCE], roster.data[rows, TOLD] = np.nan, 0
        return [
            Event("speed", self.ground.name, pts, "end", int(roster.ids[row]), int(roster.data[row, LABEL]))
            for row in rows
        ]

    def _alerts(
        self, found: Detections, rows: NDArray[np.intp], speeds: NDArray[np.float64], pts: float
    ) -> list[Event]:
        ground, data = self.ground, self._roster.data
        data[rows, LABEL] = found.classes
        events = []
        for row, track, label, speed in zip(
            rows.tolist(), found.ids.tolist(), found.classes.tolist(), speeds.tolist(), strict=True
        ):
            if not speed > ground.limit:
                if data[row, TOLD] == 1:
                    events.append(Event("speed", ground.name, pts, "end", track, label, speed))
                data[row, SINCE], data[row, TOLD] = np.nan, 0
                continue
            if np.isnan(data[row, SINCE]):
                data[row, SINCE] = pts
            if data[row, TOLD] != 1 and pts - data[row, SINCE] >= ground.seconds:
                data[row, TOLD] = 1
                events.append(Event("speed", ground.name, pts, "begin", track, label, speed))
        return events


def homography(points: tuple[Point, ...], metres: tuple[Point, ...]) -> NDArray[np.float64]:
    """Return (3,3), which takes four points to four others. ValueError where three lie on one line."""
    rows: list[list[float]] = []
    for (x, y), (u, v) in zip(points, metres, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    for corners in (points, metres):
        if not _is_convex(np.array(corners, np.float64)):
            raise ValueError("not the corners, in turn, of a quadrilateral without dents")
    solved = np.linalg.solve(np.array(rows), np.array(metres, np.float64).ravel())
    return np.append(solved, 1.0).reshape(3, 3)


def _is_convex(corners: NDArray[np.float64]) -> bool:
    way = np.roll(corners, -1, axis=0) - corners
    on = np.roll(way, -1, axis=0)
    turns = way[:, 0] * on[:, 1] - way[:, 1] * on[:, 0]
    return bool((turns > 0).all() or (turns < 0).all())


def _slopes(places: NDArray[np.float64], since: float, least: float) -> NDArray[np.float64]:
    """Return the speeds (N,) along places (N,K,3), by least squares over time; NaN where it is too short."""
    used = places[:, :, T] >= since
    count = np.maximum(used.sum(axis=1), 1)[:, None]
    t = np.where(used, places[:, :, T], 0)
    span = np.where(used, places[:, :, T], -np.inf).max(axis=1) - np.where(used, places[:, :, T], np.inf).min(
        axis=1
    )
    centred = np.where(used, t - t.sum(axis=1, keepdims=True) / count, 0)
    power = np.maximum((centred**2).sum(axis=1), 1e-12)
    along = [(centred * np.where(used, places[:, :, axis], 0)).sum(axis=1) / power for axis in (X, Y)]
    speeds: NDArray[np.float64] = np.where(span >= least, np.hypot(*along), np.nan)
    return speeds

"""Tracker: the tracks of one stream, and the rule by which detections continue them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from engines.detections import Detections
from streamer.trackers.assignment import Rounds
from streamer.trackers.camera import Camera
from streamer.trackers.tracks import Life, Tracks

__all__ = ["NO_PICTURE", "Rule", "Tracker"]

NO_PICTURE: NDArray[np.uint8] = np.zeros((0, 0), np.uint8)
Rule = Callable[
    [Rounds, Tracks], NDArray[np.bool_]
]  # assigns, and says at which detections a track may begin


class Tracker:
    """Keeps the tracks of one stream; ids begin at 1 and are not used twice, not even after `reset`."""

    def __init__(self, rule: Rule, life: Life, *, follow_camera: bool = False) -> None:
        self.needs_picture = follow_camera
        self._rule = rule
        self._tracks = Tracks(life)
        self._camera = Camera()

    def update(self, detections: Detections, pts: float, luma: NDArray[np.uint8] = NO_PICTURE) -> Detections:
        """Return the same rows in the same order with ids, -1 for what is no track yet; classes by vote.

        pts: the frame's time in seconds; only differences count, and where it jumps back the tracks end.
        luma: the (H,W) picture, for a tracker that follows the camera; without it the camera stands still.
        """
        tracks = self._tracks
        tracks.advance(pts)
        if self.needs_picture and luma.size:
            tracks.warp(self._camera.motion(luma))
        rows = tracks.usable(detections)
        rounds = Rounds(len(tracks), detections[rows])
        begin = self._rule(rounds, tracks)
        return tracks.finish(rounds, begin, detections, rows)

    def predict(self, pts: float) -> Detections:
        """Return the last update's rows where their tracks must be at a later time; changes nothing."""
        return self._tracks.predicted(pts)

    def lost(self, pts: float) -> Detections:
        """Return the confirmed tracks that the last update did not see, where they are thought to be."""
        return self._tracks.lost(pts)

    def reset(self) -> None:
        """Forget every track, and the picture before."""
        self._tracks.clear()
        self._camera = Camera()

"""ByteTrack (Zhang et al. 2022): strong detections first, then weak ones for the tracks that are left."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from engines.detections import Detections
from streamer.trackers.assignment import Rounds, Rows
from streamer.trackers.tracker import Tracker
from streamer.trackers.tracks import Life, Similarity, Tracks

__all__ = ["Settings", "rule", "tracker"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What `--track bytetrack,key=value` can set."""

    high: float = 0.5  # score from which a detection is strong
    low: float = 0.1  # score under which it is ignored
    begin: float = 0.5  # score from which a strong one begins a track
    iou: float = 0.2  # least overlap, times score, of a track with a strong detection
    weak_iou: float = 0.5  # least overlap of a track with a weak one
    reach: float = 0.1  # least closeness of a pair that does not overlap; above 1: overlap only
    sure: float = 1.5  # sum of the squared scores that make a track: .9 and .9, or six times .5
    lost: float = 1.0  # seconds without a detection that end it
    switch: float = 0.6  # least overlap with a detection of another class; above 1: never
    shape: float = 0.5  # weight of how masks or joints fit beside the overlap, 0..1


def tracker(settings: Settings) -> Tracker:
    """Make a tracker."""
    return Tracker(
        partial(rule, settings), Life(settings.sure, settings.lost, settings.switch, settings.shape)
    )


def rule(told: Settings, rounds: Rounds, tracks: Tracks) -> NDArray[np.bool_]:
    """Assign confirmed tracks to strong detections, those just seen to weak ones, then the unconfirmed.

    Weak detections continue tracks but never begin one.
    """
    scores, confirmed = rounds.found.scores, tracks.confirmed
    strong = scores >= told.high
    weak = ~strong & (scores >= told.low)

    def surely(rows: Rows, found: Detections) -> Similarity:
        return tracks.similarity(rows, found) * found.scores

    rounds.match(surely, told.iou, confirmed, strong)
    rounds.match(tracks.similarity, told.weak_iou, confirmed & (tracks.misses == 0), weak)
    rounds.match(surely, told.iou, ~confirmed, strong)
    rounds.match(tracks.closeness, told.reach, tracks.strayed, strong)
    rounds.match(tracks.closeness, told.reach, tracks.strayed & confirmed, weak)
    begin: NDArray[np.bool_] = strong & (scores >= told.begin)
    return begin

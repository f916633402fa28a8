"""SORT (Bewley et al. 2016): predicted boxes and detections, assigned once by their overlap."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from streamer.trackers.assignment import Rounds
from streamer.trackers.tracker import Tracker
from streamer.trackers.tracks import Life, Tracks

__all__ = ["Settings", "tracker"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What `--track sort,key=value` can set."""

    iou: float = 0.3  # least overlap of a track with its detection
    reach: float = 0.1  # least closeness of a pair that does not overlap; above 1: overlap only
    begin: float = 0.3  # score from which a detection begins a track
    sure: float = 1.5  # sum of the squared scores that make a track: .9 and .9, or six times .5
    lost: float = 1.0  # seconds without a detection that end it
    switch: float = 0.6  # least overlap with a detection of another class; above 1: never
    shape: float = 0.5  # weight of how masks or joints fit beside the overlap, 0..1


def tracker(settings: Settings) -> Tracker:
    """Make a tracker."""
    return Tracker(
        partial(_rule, settings), Life(settings.sure, settings.lost, settings.switch, settings.shape)
    )


def _rule(told: Settings, rounds: Rounds, tracks: Tracks) -> NDArray[np.bool_]:
    """Assign all to all."""
    tracked, found = np.ones(len(tracks), np.bool_), np.ones(len(rounds.found), np.bool_)
    rounds.match(tracks.similarity, told.iou, tracked, found)
    rounds.match(tracks.closeness, told.reach, tracks.strayed, found)
    begin: NDArray[np.bool_] = rounds.found.scores >= told.begin
    return begin

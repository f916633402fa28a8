"""BoT-SORT (Aharon et al. 2022): ByteTrack's rounds, with the camera's own motion taken out first, and looks.

Where detections carry embeddings (a further model gives them), overlaps of what looks different do not count,
and a lost track is found again by its looks alone, wherever it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from engines.detections import Detections
from streamer.trackers import bytetrack
from streamer.trackers.assignment import Rounds, Rows
from streamer.trackers.tracker import Tracker
from streamer.trackers.tracks import Life, Similarity, Tracks

__all__ = ["Settings", "tracker"]


@dataclass(frozen=True, slots=True)
class Settings(bytetrack.Settings):
    """What `--track botsort,key=value` can set: what ByteTrack knows, the camera and the looks."""

    camera: int = 1  # 1: follow the camera by sparse optical flow, 0: it stands still
    alike: float = 0.85  # cosine of embeddings from which a lost track is found again; above 1: never
    unlike: float = 0.3  # cosine of embeddings below which an overlap does not count


def tracker(settings: Settings) -> Tracker:
    """Make a tracker."""
    life = Life(settings.sure, settings.lost, settings.switch, settings.shape, settings.unlike)
    return Tracker(partial(_rule, settings), life, follow_camera=bool(settings.camera))


def _rule(told: Settings, rounds: Rounds, tracks: Tracks) -> NDArray[np.bool_]:
    """Assign as ByteTrack does, then what is left of the lost by how it looks."""
    begin = bytetrack.rule(told, rounds, tracks)
    if not rounds.found.embeddings.shape[1]:
        return begin

    def looks(rows: Rows, found: Detections) -> Similarity:
        return tracks.alike(rows, found) * tracks.knows(rows, found)

    before = rounds.owners < 0
    rounds.match(looks, told.alike, tracks.confirmed & (tracks.misses > 0), begin)
    again = np.flatnonzero(before & (rounds.owners >= 0))
    tracks.restart(rounds.owners[again], rounds.found[again])
    return begin

"""BoT-SORT (Aharon et al. 2022): ByteTrack's rounds, with the camera's own motion taken out first."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from streamer.trackers import bytetrack
from streamer.trackers.tracker import Tracker
from streamer.trackers.tracks import Life

__all__ = ["Settings", "tracker"]


@dataclass(frozen=True, slots=True)
class Settings(bytetrack.Settings):
    """What `--track botsort,key=value` can set: what ByteTrack knows, and the camera."""

    camera: int = 1  # 1: follow the camera by sparse optical flow, 0: it stands still


def tracker(settings: Settings) -> Tracker:
    """Make a tracker."""
    life = Life(settings.sure, settings.lost, settings.switch)
    return Tracker(partial(bytetrack.rule, settings), life, follow_camera=bool(settings.camera))

"""OC-SORT (Cao et al. 2023): ByteTrack's rounds, centred on what was observed rather than predicted.

Three additions: the direction of a track's own observations speaks in the assignment; a track that was found
by nothing is compared with its last observation; and the filter of a track that was lost is wound back and
led along a straight way to where it was found.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from engines.detections import Detections
from engines.suppress import iou_matrix
from streamer.trackers import kalman
from streamer.trackers.assignment import Rounds, Rows
from streamer.trackers.tracker import Tracker
from streamer.trackers.tracks import Life, Similarity, Tracks

__all__ = ["Settings", "tracker"]

TINY = 1e-9
LONGEST = 30  # steps of the way along which a lost track is led


@dataclass(frozen=True, slots=True)
class Settings:
    """What `--track ocsort,key=value` can set."""

    high: float = 0.5  # score from which a detection is strong and may begin a track
    low: float = 0.1  # score under which it is ignored
    iou: float = 0.3  # least overlap of a track with its detection
    sure_iou: float = 0.5  # least overlap with a weak one, and of where it was last seen with any
    direction: float = 0.2  # weight of keeping the direction beside the overlap
    reach: float = 0.1  # least closeness of a pair that does not overlap; above 1: overlap only
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
    """Assign confirmed tracks by overlap and direction, those just seen to weak detections, then the rest.

    What is left of the confirmed is compared where it was last seen, the unconfirmed come after them.
    """
    scores, confirmed = rounds.found.scores, tracks.confirmed
    strong: NDArray[np.bool_] = scores >= told.high
    weak = ~strong & (scores >= told.low)
    rounds.match(partial(_going_on, told, tracks), told.iou, confirmed, strong)
    rounds.match(tracks.similarity, told.sure_iou, confirmed & (tracks.misses == 0), weak)
    rounds.match(partial(_as_last_seen, tracks), told.sure_iou, confirmed, strong)
    rounds.match(tracks.similarity, told.iou, ~confirmed, strong)
    rounds.match(tracks.closeness, told.reach, tracks.strayed, strong)
    rounds.match(tracks.closeness, told.reach, tracks.strayed & confirmed, weak)
    _rewind(rounds, tracks)
    return strong


def _going_on(told: Settings, tracks: Tracks, rows: Rows, found: Detections) -> Similarity:
    """Overlap where there is enough, plus the agreement of directions: -1/2..1/2 times its weight."""
    overlap = tracks.similarity(rows, found)
    near, there = np.nonzero(overlap >= told.iou)
    past = tracks.past[rows[near]]
    newest = _centres(past[:, 0])
    own, onward = newest - _centres(past[:, -1]), _centres(found.boxes)[there] - newest
    length = np.hypot(own[:, 0], own[:, 1]) * np.hypot(onward[:, 0], onward[:, 1])
    cosine = (own * onward).sum(axis=1) / np.maximum(length, TINY)
    angle = np.where(length > 0, np.arccos(np.clip(cosine, -1, 1)), np.pi / 2)
    agreement = told.direction * (0.5 - angle / np.pi) * found.scores[there]
    worth = np.zeros_like(overlap)
    worth[near, there] = np.maximum(overlap[near, there] + agreement, told.iou)
    return worth


def _as_last_seen(tracks: Tracks, rows: Rows, found: Detections) -> Similarity:
    boxes = tracks.past[rows, 0, :4].astype(np.float32)
    return tracks.within_class(iou_matrix(boxes, found.boxes), rows, found)


def _rewind(rounds: Rounds, tracks: Tracks) -> None:
    """Lead tracks found again from their last observation, step by step, to just before this one."""
    pairs = np.flatnonzero(rounds.owners >= 0)
    pairs = pairs[tracks.misses[rounds.owners[pairs]] > 0]
    if not len(pairs):
        return
    rows = rounds.owners[pairs]
    before, after = tracks.past[rows, 0, :4], rounds.found.boxes[pairs]
    steps = np.minimum(tracks.misses[rows] + 1, LONGEST)
    dt = (tracks.pts - tracks.seen[rows]) / steps
    states = tracks.anchors[rows]
    for step in range(1, int(steps.max())):
        on = np.flatnonzero(step < steps)
        share = (step / steps[on])[:, None]
        way = before[on] + share * (after[on] - before[on])
        states[on] = kalman.correct(kalman.predict(states[on], dt[on]), way)
    tracks.states[rows] = kalman.predict(states, dt)


def _centres(boxes: NDArray[np.floating]) -> NDArray[np.floating]:
    return (boxes[:, :2] + boxes[:, 2:4]) / 2

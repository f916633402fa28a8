"""Tracks: all tracks of one stream as a struct of arrays, and what every tracker does with them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engines.detections import EMPTY, Detections, Masks
from engines.suppress import iou_matrix
from streamer.trackers import kalman
from streamer.trackers.assignment import Rounds
from streamer.trackers.shapes import Shapes

__all__ = ["Life", "Tracks"]

Rows = NDArray[np.intp]
Similarity = NDArray[np.floating]

PAST = 4  # observations that are remembered of each track
PATIENCE = 4.5  # frame intervals that a track outlives in any case, however far apart frames are
TRIAL = 0.5, 0.2  # of these two patiences, what an unconfirmed track is given
OTHER_CLASS = 0.7  # what an overlap counts with a detection of another class
KNOWN = 0.3  # share of a track's votes that makes a class one of its own
STRAY = 0.75  # deviation of a predicted centre, in shorter sides, from which overlap says little
STEPS = 9  # frame intervals whose median is the stream's own
NEVER = -1
KEPT = 0.9  # of a track's looks, when a new embedding comes


@dataclass(frozen=True, slots=True)
class Life:
    """When a track is one, and when it is one no more."""

    sure: float = 1.5  # sum of squared scores that makes a track; a stream's first boxes are tracks at once
    lost: float = 1.0  # seconds without a detection that end it, though never less than four frames
    switch: float = 0.6  # least overlap with a detection of a class that is not the track's own
    shape: float = 0.5  # weight of how masks or joints fit, beside the overlap of boxes
    unlike: float = -1.0  # cosine of embeddings below which an overlap is another's, -1 = looks do not count


class Tracks:
    """Predicted to the time of the frame at hand; every array has one row for each track."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._issued = 0  # ids given out, never again in this stream
        self.clear()

    def __len__(self) -> int:
        return len(self.ids)

    def clear(self) -> None:
        """Forget every track; ids already given out are not given again."""
        self.ids = np.zeros(0, np.int64)  # -1 until confirmed
        self.states = np.zeros((0, 5, 4))  # kalman.States
        self.anchors = np.zeros((0, 5, 4))  # the states right after the last detection
        self.past = np.zeros((0, PAST, 5))  # xyxy and pts of the last detections, newest first
        self.evidence = np.zeros(0, np.float32)  # sums of squared scores
        self.misses = np.zeros(0, np.int64)  # updates since the last detection
        self.scores = np.zeros(0, np.float32)  # of the last detection
        self.votes = np.zeros((0, 1), np.float32)  # (N,C) sums of scores, by class
        self.looks = np.zeros((0, 0), np.float32)  # (N,D) means of embeddings, 0 = not known
        self._shapes = Shapes()
        self.pts = float("nan")
        self._steps: deque[float] = deque(maxlen=STEPS)
        self._last = EMPTY  # what the last update gave
        self._owners = np.zeros(0, np.intp)  # the track of each of its rows, -1 = none

    def usable(self, detections: Detections) -> Rows:
        """Return the rows that can be tracked, in an order that does not depend on theirs: best score first.

        A box that is not finite or has no area is nobody's.
        """
        boxes = detections.boxes
        size = boxes[:, 2:] - boxes[:, :2]
        sound = np.isfinite(boxes).all(axis=1) & (size > 0).all(axis=1)
        order = np.lexsort((*boxes.T, -detections.scores))
        return order[np.take(sound, order)]

    @property
    def boxes(self) -> NDArray[np.float32]:
        """Where the tracks are thought to be, (N,4) xyxy."""
        return kalman.boxes_of(self.states).astype(np.float32)

    @property
    def seen(self) -> NDArray[np.float64]:
        """When each track was last detected, in seconds."""
        return self.past[:, 0, 4]

    @property
    def confirmed(self) -> NDArray[np.bool_]:
        """Which tracks have an id."""
        confirmed: NDArray[np.bool_] = self.ids != NEVER
        return confirmed

    def advance(self, pts: float) -> None:
        """Predict every track to the time of a frame, and end those that have been lost for too long."""
        dt = pts - self.pts
        if dt < -self._life.lost:
            self.clear()
        elif dt > 0:
            self._steps.append(dt)
            self.states = kalman.predict(self.states, dt)
            self._end_old(pts)
        if not self.pts > pts:
            self.pts = pts

    def warp(self, affine: NDArray[np.float64]) -> None:
        """Move every track along with the picture, (2,3) from the last one's pixels to this one's."""
        self.states = kalman.warp(self.states, affine)

    def similarity(self, rows: Rows, found: Detections) -> Similarity:
        """Return the overlap of tracks, where they are predicted, with detections: (N,M), 0..1."""
        boxes = self.boxes[rows]
        overlap = iou_matrix(boxes, found.boxes)
        weight = np.float32(self._life.shape)
        if weight and (len(found.masks) or found.keypoints.shape[1]):
            like = self._shapes.likeness(rows, boxes, found, overlap > 0)
            overlap = overlap * (1 - weight + weight * like)
        return self.within_class(overlap, rows, found)

    def within_class(self, overlap: Similarity, rows: Rows, found: Detections) -> Similarity:
        """Return overlaps (N,M) with what they count for where the classes differ.

        Whose overlap is large is the same thing under another name, and the track's vote will tell which;
        whose overlap is not is another thing nearby, and counts for nothing.
        """
        if self._life.unlike > -1 and found.embeddings.shape[1] and self.looks.shape[1]:
            seen = _known(self.looks[rows])[:, None] & _known(found.embeddings)
            overlap = np.where(seen & (self.alike(rows, found) < self._life.unlike), 0, overlap)
        switched = np.where(overlap >= self._life.switch, overlap * np.float32(OTHER_CLASS), np.float32(0))
        return np.where(self.knows(rows, found), overlap, switched)

    def alike(self, rows: Rows, found: Detections) -> Similarity:
        """Return how alike tracks and detections look, the cosine of their embeddings: (N,M), 0 = unknown."""
        if not found.embeddings.shape[1] or self.looks.shape[1] != found.embeddings.shape[1]:
            return np.zeros((len(rows), len(found)), np.float32)
        looks = self.looks[rows]
        length = np.maximum(np.linalg.norm(looks, axis=1, keepdims=True), 1e-6)
        cosine: Similarity = (looks / length) @ found.embeddings.T
        return cosine

    def knows(self, rows: Rows, found: Detections) -> NDArray[np.bool_]:
        """Return whether detections are of a class that a good part of a track's votes is for: (N,M)."""
        votes = self.votes[rows]
        own = votes >= np.float32(KNOWN) * votes.sum(axis=1, keepdims=True)
        wide = np.pad(own, ((0, 0), (0, max(int(found.classes.max(initial=-1)) + 1 - own.shape[1], 0))))
        known: NDArray[np.bool_] = wide[:, found.classes]
        return known

    def closeness(self, rows: Rows, found: Detections) -> Similarity:
        """Return how well detections lie where tracks may have got to by now: (N,M), 0..1.

        For the pairs that do not overlap because too much time has passed: the distance of the centres in
        standard deviations of the prediction (at most a box's longer side), and the likeness of the sizes.
        Never between classes: nothing but a guess speaks for such a pair.
        """
        states, there = self.states[rows], kalman.measured(found.boxes)
        here = states[:, kalman.VALUE]
        side = here[:, 2:].max(axis=1, keepdims=True)
        deviation = np.minimum(kalman.spread(states), side)
        away = (there[None, :, :2] - here[:, None, :2]) / deviation[:, None]
        ratio = there[None, :, 2:] / here[:, None, 2:]
        alike = np.minimum(ratio, 1 / ratio).min(axis=2)
        close: Similarity = self.knows(rows, found) * np.exp(-(away**2).sum(axis=2) / 4) * alike
        return close

    def finish(
        self, rounds: Rounds, begin: NDArray[np.bool_], detections: Detections, rows: Rows
    ) -> Detections:
        """Take what the rounds found: correct the tracks, begin new ones, return detections with ids.

        rounds compared ``detections[rows]``; begin says at which of those a track may begin.
        """
        taken = np.flatnonzero(rounds.owners >= 0)
        self.correct(rounds.owners[taken], rounds.found[taken])
        owners = np.full(len(detections), NEVER, np.intp)
        fresh = np.flatnonzero((rounds.owners < 0) & begin)
        rounds.owners[fresh] = self.add(rounds.found[fresh])
        owners[rows] = rounds.owners
        return self.settle(detections, owners)

    @property
    def strayed(self) -> NDArray[np.bool_]:
        """Tracks seen a moment ago that may by now be anywhere beside their box: frames are far apart."""
        short = self.states[:, kalman.VALUE, 2:].min(axis=1)
        far: NDArray[np.bool_] = kalman.spread(self.states).max(axis=1) > STRAY * short
        return far & (self.misses <= 1)

    def correct(self, rows: Rows, found: Detections) -> None:
        """Let detections, one for each of the rows, correct their tracks."""
        if not len(rows):
            return
        self.states[rows] = kalman.correct(self.states[rows], found.boxes)
        self.anchors[rows] = self.states[rows]
        self.past[rows, 1:] = self.past[rows, :-1]
        self.past[rows, 0, :4], self.past[rows, 0, 4] = found.boxes, self.pts
        self.evidence[rows] += found.scores**2
        self.misses[rows] = 0
        self.scores[rows] = found.scores
        self._widen(found)
        self.votes[rows, found.classes] += found.scores
        self._look(rows, found)
        self._shapes.see(rows, found)

    def restart(self, rows: Rows, found: Detections) -> None:
        """Let tracks begin anew where these detections are: they have not come there by the way predicted."""
        self.states[rows] = kalman.initial(found.boxes)

    def add(self, found: Detections) -> Rows:
        """Start a track at every detection; return the rows."""
        count, start = len(found), len(self)
        if not count:
            return np.zeros(0, np.intp)
        self._widen(found)
        states = kalman.initial(found.boxes)
        past = np.zeros((count, PAST, 5))
        past[:, :, :4], past[:, :, 4] = found.boxes[:, None], self.pts
        votes = np.zeros((count, self.votes.shape[1]), np.float32)
        votes[np.arange(count), found.classes] = found.scores
        self.ids = np.concatenate([self.ids, np.full(count, NEVER)])
        self.states = np.concatenate([self.states, states])
        self.anchors = np.concatenate([self.anchors, states])
        self.past = np.concatenate([self.past, past])
        self.evidence = np.concatenate([self.evidence, found.scores**2])
        self.misses = np.concatenate([self.misses, np.zeros(count, np.int64)])
        self.scores = np.concatenate([self.scores, found.scores])
        self.votes = np.concatenate([self.votes, votes])
        self.looks = np.concatenate([self.looks, np.zeros((count, self.looks.shape[1]), np.float32)])
        fresh = np.arange(start, start + count)
        self._look(fresh, found)
        self._shapes.grow(count)
        self._shapes.see(fresh, found)
        return fresh

    def settle(self, detections: Detections, owners: Rows) -> Detections:
        """Finish an update: return the detections, each with the id and the voted class of its track.

        owners: the track of each detection, -1 = none. Tracks without one have missed this frame.
        """
        held = np.zeros(len(self), np.bool_)
        held[owners[owners >= 0]] = True
        self.misses[~held] += 1
        sure = self._life.sure if self._steps else 0.0
        fresh = np.flatnonzero(held & ~self.confirmed & (self.evidence >= sure))
        self.ids[fresh] = self._issued + 1 + np.arange(len(fresh))
        self._issued += len(fresh)
        ids = np.where(owners >= 0, self.ids[owners], NEVER) if len(self) else np.full(len(owners), NEVER)
        classes = detections.classes
        if len(self):
            classes = np.where(ids >= 0, self.votes.argmax(axis=1)[owners], classes).astype(np.int32)
        self._owners = owners
        self._last = replace(detections, ids=ids, classes=classes)
        return self._last

    def predicted(self, pts: float) -> Detections:
        """Return what the last update gave, each row moved along with its track to this time."""
        last = self._last
        if not len(last) or not len(self):
            return last
        speed = np.where((last.ids >= 0)[:, None], self.states[self._owners, kalman.VELOCITY, :2], 0.0)
        shift = (speed * (pts - self.pts)).astype(np.float32)
        points = last.keypoints.copy()
        points[..., :2] += shift[:, None]
        masks = (
            Masks(last.masks.grids, last.masks.regions + np.tile(shift, 2)) if len(last.masks) else last.masks
        )
        return replace(last, boxes=last.boxes + np.tile(shift, 2), keypoints=points, masks=masks)

    def lost(self, pts: float) -> Detections:
        """Return the tracks that the last update did not see, where they are thought to be by now."""
        rows = np.flatnonzero(self.confirmed & (self.misses > 0))
        if not len(rows):
            return EMPTY
        boxes = kalman.boxes_of(kalman.predict(self.states[rows], max(pts - self.pts, 0.0)))
        return Detections.of(boxes, self.scores[rows], self.votes[rows].argmax(axis=1), ids=self.ids[rows])

    def _end_old(self, pts: float) -> None:
        if not len(self):
            return
        step = sorted(self._steps)[len(self._steps) // 2]
        lasting = max(PATIENCE * step, self._life.lost)
        trial = max(PATIENCE * step * TRIAL[0], self._life.lost * TRIAL[1])
        keep = pts - self.seen <= np.where(self.confirmed, lasting, trial)
        if keep.all():
            return
        for name in ("ids", "states", "anchors", "past", "evidence", "misses", "scores", "votes", "looks"):
            setattr(self, name, getattr(self, name)[keep])
        self._shapes.keep(keep)

    def _widen(self, found: Detections) -> None:
        """Make room for the votes of a class not met before."""
        more = int(found.classes.max()) + 1 - self.votes.shape[1]
        if more > 0:
            self.votes = np.pad(self.votes, ((0, 0), (0, more)))

    def _look(self, rows: Rows, found: Detections) -> None:
        """Remember what is seen of tracks."""
        if not found.embeddings.shape[1]:
            return
        if self.looks.shape[1] != found.embeddings.shape[1]:
            self.looks = np.zeros((len(self), found.embeddings.shape[1]), np.float32)
        before = self.looks[rows]
        mixed = np.where(
            _known(before)[:, None], KEPT * before + (1 - KEPT) * found.embeddings, found.embeddings
        )
        self.looks[rows] = np.where(_known(found.embeddings)[:, None], mixed, before)


def _known(vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which of (N,D) vectors are embeddings; one of zeros stands for none."""
    known: NDArray[np.bool_] = np.any(vectors, axis=1)
    return known

"""Shapes: the last mask or pose of each track, in shares of its box, and how well detections fit it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.detections import Detections

__all__ = ["Shapes"]

Rows = NDArray[np.intp]
Boxes = NDArray[np.floating]
Grids = NDArray[np.bool_]  # (N, CELLS, CELLS) of a box: inside the mask or not
Points = NDArray[np.float32]  # (N, K, 3) x and y in shares of a box, visibility

CELLS = 16
REACH = 0.1  # of a box's mean side, at which a joint counts e^-1/2: twice COCO's mean sigma
SEEN = 0.3  # visibility from which a joint counts
FEWEST = 3  # joints that both must show


class Shapes:
    """One row for each track; of models that give neither masks nor keypoints nothing is kept."""

    def __init__(self) -> None:
        self._grids: Grids = np.zeros((0, CELLS, CELLS), np.bool_)
        self._points: Points = np.zeros((0, 0, 3), np.float32)

    def grow(self, count: int) -> None:
        """Make room for more tracks, of which nothing is known."""
        self._grids = np.concatenate([self._grids, np.zeros((count, CELLS, CELLS), np.bool_)])
        joints = self._points.shape[1]
        self._points = np.concatenate([self._points, np.zeros((count, joints, 3), np.float32)])

    def keep(self, kept: NDArray[np.bool_]) -> None:
        """Forget the tracks that have ended."""
        self._grids, self._points = self._grids[kept], self._points[kept]

    def see(self, rows: Rows, found: Detections) -> None:
        """Remember the shapes of detections, one for each of the rows."""
        if len(found.masks):
            self._grids[rows] = _grids(found)
        if found.keypoints.shape[1]:
            if self._points.shape[1] != found.keypoints.shape[1]:
                self._points = np.zeros((len(self._points), found.keypoints.shape[1], 3), np.float32)
            self._points[rows] = _shares(found)

    def likeness(
        self, rows: Rows, boxes: Boxes, found: Detections, near: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Return how well detections fit tracks in predicted boxes (N,4), beside their best rivals.

        (N,M), 0..1: masks by their overlap, joints by COCO's similarity of keypoints, of ``near`` pairs
        (N,M). Who is the best for both sides is 1, and so is who has no rival: shapes choose between boxes
        that would both do, and never speak against a track that merely moves its arms.
        """
        like = np.ones(near.shape, np.float32)
        if not (len(found.masks) or found.keypoints.shape[1]):
            return like
        one, other = np.nonzero(near)
        if len(found.masks):
            like[one, other] *= _mask_overlap(
                self._grids[rows][one], boxes[one], _grids(found)[other], found.boxes[other]
            )
        if found.keypoints.shape[1] == self._points.shape[1] > 0:
            there = found.keypoints[other]
            like[one, other] *= _pose_likeness(
                _placed(self._points[rows][one], boxes[one]), there, boxes[one]
            )
        best = np.where(near, like, 0)
        of_track, of_detection = best.max(axis=1, keepdims=True), best.max(axis=0, keepdims=True)
        rival = np.maximum(np.maximum(of_track, of_detection), 1e-6)
        return np.where(near, like / rival, 1).astype(np.float32)


def _grids(found: Detections) -> Grids:
    """Return each mask as cells of its box, the nearest logit at each cell's centre."""
    grids = np.zeros((len(found), CELLS, CELLS), np.bool_)
    at = (np.arange(CELLS) + 0.5) / CELLS
    for row, (grid, region, box) in enumerate(
        zip(found.masks.grids, found.masks.regions, found.boxes, strict=True)
    ):
        size = region[2:] - region[:2]
        x, y = (box[:2, None] + (box[2:] - box[:2])[:, None] * at - region[:2, None]) / size[:, None]
        columns = np.clip((x * grid.shape[1]).astype(np.intp), 0, grid.shape[1] - 1)
        lines = np.clip((y * grid.shape[0]).astype(np.intp), 0, grid.shape[0] - 1)
        grids[row] = grid[lines[:, None], columns] > 0
    return grids


def _mask_overlap(one: Grids, boxes: Boxes, other: Grids, others: Boxes) -> NDArray[np.float64]:
    """Return the IoU (P,) of pairs of masks, sampled over the rectangle around both; 1 where one is empty."""
    low, high = np.minimum(boxes[:, :2], others[:, :2]), np.maximum(boxes[:, 2:], others[:, 2:])
    at = (np.arange(2 * CELLS) + 0.5) / (2 * CELLS)
    x, y = (low + (high - low) * at[:, None, None]).transpose(2, 1, 0)  # (P, S) each
    a, b = _inside(one, boxes, x, y), _inside(other, others, x, y)
    union = (a | b).sum(axis=(1, 2))
    known = a.any(axis=(1, 2)) & b.any(axis=(1, 2))
    overlap: NDArray[np.float64] = np.where(known, (a & b).sum(axis=(1, 2)) / np.maximum(union, 1), 1)
    return overlap


def _inside(grids: Grids, boxes: Boxes, x: NDArray[np.floating], y: NDArray[np.floating]) -> Grids:
    """Look up points of a raster, columns (P,S) and lines (P,S), in grids that fill boxes: (P,S,S)."""
    side = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-6)
    columns = np.floor((x - boxes[:, :1]) / side[:, :1] * CELLS).astype(np.intp)
    lines = np.floor((y - boxes[:, 1:2]) / side[:, 1:] * CELLS).astype(np.intp)
    rows = np.arange(len(grids))[:, None, None]
    found = grids[rows, np.clip(lines, 0, CELLS - 1)[:, :, None], np.clip(columns, 0, CELLS - 1)[:, None]]
    across, down = (columns >= 0) & (columns < CELLS), (lines >= 0) & (lines < CELLS)
    within: Grids = found & across[:, None] & down[:, :, None]
    return within


def _shares(found: Detections) -> Points:
    points = found.keypoints.copy()
    side = np.maximum(found.boxes[:, 2:] - found.boxes[:, :2], 1e-6)
    points[..., :2] = (points[..., :2] - found.boxes[:, None, :2]) / side[:, None]
    return points


def _placed(points: Points, boxes: Boxes) -> Points:
    placed = points.copy()
    placed[..., :2] = boxes[:, None, :2] + points[..., :2] * (boxes[:, 2:] - boxes[:, :2])[:, None]
    return placed


def _pose_likeness(one: Points, other: Points, boxes: Boxes) -> NDArray[np.float64]:
    """Return the similarity (P,) of pairs of poses; 1 where they share too few joints."""
    both = (one[..., 2] > SEEN) & (other[..., 2] > SEEN)
    reach = REACH * np.sqrt(np.maximum((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), 1e-6))
    away = ((one[..., :2] - other[..., :2]) ** 2).sum(axis=-1)
    alike = np.exp(-away / (2 * reach[:, None] ** 2)) * both
    count = both.sum(axis=1)
    likeness: NDArray[np.float64] = np.where(count >= FEWEST, alike.sum(axis=1) / np.maximum(count, 1), 1)
    return likeness

"""Which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engines.detections import Detections
from engines.suppress import iou_matrix
from trainers.data.batch import Sample

__all__ = ["confusion"]


def confusion(
    samples: Sequence[Sample],
    found: Sequence[Detections],
    classes: int,
    conf: float = 0.25,
    overlap: float = 0.5,
) -> tuple[tuple[int, ...], ...]:
    """Count (C + 1, C + 1) pairs [truth][found]; the last row and column are the background.

    Detections from ``conf`` up are taken by score; each takes the object of any class, still free, that it
    overlaps most, if that is by ``overlap`` or more. What takes none and lies in a crowd is not counted.
    """
    table = np.zeros((classes + 1, classes + 1), np.int64)
    for sample, detections in zip(samples, found, strict=True):
        sure = detections[detections.scores >= conf]
        free = np.ones(len(sample.boxes), bool)
        overlaps = iou_matrix(sure.boxes, sample.boxes)
        crowded = _share_within(sure.boxes, sample.crowds.boxes) >= overlap
        for row in np.argsort(-sure.scores, kind="stable"):
            near: NDArray[np.float32] = overlaps[row] * free
            best = int(near.argmax()) if near.size else -1
            hit = best >= 0 and near[best] >= overlap
            if hit or not crowded[row]:
                table[sample.classes[best] if hit else classes, sure.classes[row]] += 1
            if hit:
                free[best] = False
        np.add.at(table, (sample.classes[free], classes), 1)
    return tuple(tuple(map(int, row)) for row in table)


def _share_within(boxes: NDArray[np.float32], regions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the greatest share (N,) of each box that lies in one of the regions."""
    low = np.maximum(boxes[:, None, :2], regions[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], regions[None, :, 2:])
    inside = (high - low).clip(min=0).prod(2)
    whole = (boxes[:, 2:] - boxes[:, :2]).prod(1).clip(min=1e-9)
    share: NDArray[np.float32] = (inside / whole[:, None]).max(axis=1, initial=0.0)
    return share

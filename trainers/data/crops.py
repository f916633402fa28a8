"""Crops of people for top-down pose: the part of a picture around each person, as a sample of its own."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from trainers.augment import fit
from trainers.data.batch import Sample

__all__ = ["around", "people"]

_ROOM = 1.25  # how much larger than the person's box
_LEAST = 24.0  # pixels: people lower than this teach nothing
_POINTS = 4  # fewest keypoints in the picture


def people(samples: Iterable[Sample], size: tuple[int, int], longest: int = 0) -> list[Sample]:
    """Return a sample for each object with keypoints: what is around it, laid into ``size`` (width, height).

    Only its own keypoints remain. Small people, and those of whom little is in the picture, are left out.
    ``longest`` stops after so many, 0 for all.
    """
    made: list[Sample] = []
    for sample in samples:
        for row in np.flatnonzero((sample.keypoints[..., 2] > 0).sum(1) >= _POINTS).tolist():
            box = sample.boxes[row]
            if box[3] - box[1] < _LEAST:
                continue
            left, top, right, bottom = around(box, (sample.image.shape[1], sample.image.shape[0]), size)
            offset = np.array([left, top], np.float32)
            points = sample.keypoints[row : row + 1].copy()
            known = points[..., 2:] > 0
            points[..., :2] = np.where(known, points[..., :2] - offset, 0)
            cut = np.ascontiguousarray(sample.image[top:bottom, left:right])
            own = Sample(cut, box[None] - np.tile(offset, 2), sample.classes[row : row + 1], keypoints=points)
            made.append(fit(own, size))
            if len(made) == longest:
                return made
    return made


def around(box: NDArray[np.float32], picture: tuple[int, int], size: tuple[int, int]) -> list[int]:
    """Return what to cut for a box (4,): a quarter larger, in the shape of ``size``, within the picture."""
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * _ROOM
    shape = size[0] / size[1]
    half = np.array([max(half[0], half[1] * shape), max(half[1], half[0] / shape)])
    low = np.clip(np.floor(centre - half), 0, np.array(picture) - 2)
    high = np.clip(np.ceil(centre + half), low + 2, picture)
    return [int(side) for side in (*low, *high)]

"""Crops of people for top-down pose: of each person what a cascade would cut, as a sample of its own."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from engines.cascade import parts
from engines.spec import ModelSpec
from trainers.augment import fit
from trainers.data.batch import Sample

__all__ = ["people"]

_LEAST = 24.0  # pixels: people lower than this teach nothing
_POINTS = 4  # fewest keypoints in the picture


def people(samples: Iterable[Sample], size: tuple[int, int], longest: int = 0) -> list[Sample]:
    """Return a sample for each object with keypoints: what is around it, laid into ``size`` (width, height).

    Only its own keypoints remain. Small people, and those of whom little is in the picture, are left out.
    ``longest`` stops after so many, 0 for all.
    """
    seen = ModelSpec(name="person", task="pose", layout="heatmaps", classes=("person",), size=size)
    made: list[Sample] = []
    for sample in samples:
        for row in np.flatnonzero((sample.keypoints[..., 2] > 0).sum(1) >= _POINTS).tolist():
            box = sample.boxes[row]
            if box[3] - box[1] < _LEAST:
                continue
            picture = (sample.image.shape[1], sample.image.shape[0])
            left, top, right, bottom = parts(box[None], picture, seen)[0].tolist()
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

"""Crops of people for top-down pose: of each person what a cascade would cut, as a sample of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engines.cascade import parts
from engines.letterbox import place
from engines.spec import ModelSpec
from trainers.augment import fit
from trainers.data.batch import Sample
from trainers.data.pictures import Pictures, Record

__all__ = ["People", "people"]

_LEAST = 24.0  # pixels: people lower than this teach nothing
_POINTS = 4  # fewest keypoints in the picture


class People(Sequence[Sample]):
    """The people of labelled pictures, cut out when asked for; who is left out is as of `people`."""

    def __init__(self, records: Sequence[Record], size: tuple[int, int]) -> None:
        self._pictures = Pictures([one for record in records for one in _each(record)], 0, "pose")
        self._size = size

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        return _cut(self._pictures[index], 0, self._size)


def people(samples: Iterable[Sample], size: tuple[int, int], longest: int = 0) -> list[Sample]:
    """Return a sample for each object with keypoints: what is around it, laid into ``size`` (width, height).

    Only its own keypoints remain. Small people, and those of whom little is in the picture, are left out.
    ``longest`` stops after so many, 0 for all.
    """
    made: list[Sample] = []
    for sample in samples:
        for row in _rows(sample.keypoints, sample.boxes):
            made.append(_cut(sample, row, size))
            if len(made) == longest:
                return made
    return made


def _rows(keypoints: NDArray[np.float32], boxes: NDArray[np.float32]) -> list[int]:
    """Return which objects are people to learn from; boxes in pixels."""
    seen = (keypoints[..., 2] > 0).sum(1) >= _POINTS
    return [row for row in np.flatnonzero(seen).tolist() if boxes[row, 3] - boxes[row, 1] >= _LEAST]


def _each(record: Record) -> list[Record]:
    """Return a record for each person; where labels do not tell the picture's size, small ones stay."""
    if record.keypoints is None:
        return []
    height = record.size[1] or 1e9
    return [
        replace(
            record,
            boxes=record.boxes[row : row + 1],
            classes=record.classes[row : row + 1],
            outlines=(),
            keypoints=record.keypoints[row : row + 1],
            areas=record.areas[row : row + 1],
            crowds=(),
        )
        for row in _rows(record.keypoints, record.boxes * np.float32(height))
    ]


def _cut(sample: Sample, row: int, size: tuple[int, int]) -> Sample:
    """Return what is around one object, with its own keypoints only."""
    seen = ModelSpec(name="person", task="pose", layout="heatmaps", classes=("person",), size=size)
    box = sample.boxes[row]
    picture = (sample.image.shape[1], sample.image.shape[0])
    left, top, right, bottom = parts(box[None], picture, seen)[0].tolist()
    offset = np.array([left, top], np.float32)
    points = sample.keypoints[row : row + 1].copy()
    known = points[..., 2:] > 0
    points[..., :2] = np.where(known, points[..., :2] - offset, 0)
    cut = np.ascontiguousarray(sample.image[top:bottom, left:right])
    own = Sample(cut, box[None] - np.tile(offset, 2), sample.classes[row : row + 1], keypoints=points)
    fitted = fit(own, size)
    at = place((cut.shape[1], cut.shape[0]), size, "letterbox")
    larger = np.float32(at.size[0] * at.size[1] / (cut.shape[0] * cut.shape[1]))
    return replace(fitted, areas=sample.areas[row : row + 1] * larger)

"""Detections of one picture: a struct of arrays, and the small masks that travel with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["EMPTY", "Detections", "Masks"]

Index = NDArray[np.bool_] | NDArray[np.intp] | Sequence[int] | slice | int


def _no_boxes() -> NDArray[np.float32]:
    return np.zeros((0, 4), np.float32)


def _no_points() -> NDArray[np.float32]:
    return np.zeros((0, 0, 3), np.float32)


def _no_vectors() -> NDArray[np.float32]:
    return np.zeros((0, 0), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Masks:
    """Instance masks, each kept as a small grid of logits over a rectangle of the picture.

    A grid cell covers an equal part of its rectangle; the mask at full size is the bilinear interpolation
    of the grid, cut at 0 and clipped to the detection's box. A prototype crop, a 28x28 RoI mask and an exact
    bitmap (+1/-1, rectangle in whole pixels) are all of this form. Empty means: this model gives no masks.
    """

    grids: tuple[NDArray[np.float32], ...] = ()  # N of (h, w) logits, > 0 is inside
    regions: NDArray[np.float32] = field(default_factory=_no_boxes)  # (N, 4) xyxy pixels, one of each grid

    def __len__(self) -> int:
        return len(self.grids)

    def __getitem__(self, index: Index) -> Masks:
        rows = _rows(index, len(self))
        return Masks(tuple(self.grids[row] for row in rows), self.regions[rows])

    def __repr__(self) -> str:
        return f"Masks({len(self)})"


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What was found in one picture; every array has one row per detection.

    Boolean arrays, index arrays and slices select rows: ``found[found.scores > 0.5]``. A number selects one,
    so a loop gives one `Detections` for each row. Raises IndexError for what selects no rows.
    """

    boxes: NDArray[np.float32] = field(default_factory=_no_boxes)  # (N, 4) xyxy, frame pixels
    scores: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))  # (N,) 0..1
    classes: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))  # (N,)
    ids: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))  # (N,) track, -1 = none
    keypoints: NDArray[np.float32] = field(default_factory=_no_points)  # (N, K, 3) x, y, visibility
    masks: Masks = field(default_factory=Masks)  # N of them, or none at all
    embeddings: NDArray[np.float32] = field(default_factory=_no_vectors)  # (N, D) of length one, or (0, 0)

    def __post_init__(self) -> None:
        n = len(self.boxes)
        lengths = [len(self.scores), len(self.classes), len(self.ids), len(self.keypoints)]
        if lengths != [n] * 4 or len(self.masks) not in (0, n) or len(self.embeddings) not in (0, n):
            raise ValueError(f"Detections: rows differ: boxes {n}, scores/classes/ids/keypoints {lengths}")

    @classmethod
    def of(cls, boxes: Any, scores: Any, classes: Any, **rest: Any) -> Detections:
        """Build from anything array-like; ids default to -1 and keypoints to none."""
        boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
        n = len(boxes)
        rest.setdefault("ids", np.full(n, -1, np.int64))
        rest.setdefault("keypoints", np.zeros((n, 0, 3), np.float32))
        return cls(boxes, np.asarray(scores, np.float32), np.asarray(classes, np.int32), **rest)

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: Index) -> Detections:
        if not isinstance(index, slice):
            index = _rows(index, len(self))
        return Detections(
            self.boxes[index],
            self.scores[index],
            self.classes[index],
            self.ids[index],
            self.keypoints[index],
            self.masks[index] if len(self.masks) else self.masks,
            self.embeddings[index] if len(self.embeddings) else self.embeddings,
        )

    def __iter__(self) -> Iterator[Detections]:
        return (self[row] for row in range(len(self)))

    def __repr__(self) -> str:
        extra = f", keypoints={self.keypoints.shape[1]}" if self.keypoints.shape[1] else ""
        return f"Detections({len(self)}{extra}{', masks' if len(self.masks) else ''})"

    def with_ids(self, ids: NDArray[np.int64]) -> Detections:
        """Return the same rows carrying these track ids, (N,) int64."""
        return replace(self, ids=ids)


EMPTY = Detections()


def _rows(index: Index, count: int) -> NDArray[np.intp]:
    """Return the numbers of the rows that numpy would take of ``count``, a single one too."""
    rows = np.atleast_1d(np.arange(count)[index])
    if rows.ndim > 1:
        raise IndexError(f"rows: {index!r}, a number, a slice, or one list of numbers or bools is right")
    return rows

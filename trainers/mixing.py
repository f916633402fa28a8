"""Several samples in one: laid side by side, shining through one another, or with objects pasted over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engines.detections import Masks
from engines.masks import bitmap
from trainers.data.batch import Sample

__all__ = ["joined", "mixup", "paste"]

_VISIBLE = 0.3  # share of an object that pasted ones must leave to be seen
_LEAST = 3  # pixels of a side


def joined(image: NDArray[np.uint8], samples: Sequence[Sample]) -> Sample:
    """Return the objects of several samples on one picture."""
    return Sample(
        image,
        np.concatenate([sample.boxes for sample in samples]),
        np.concatenate([sample.classes for sample in samples]),
        Masks(
            tuple(grid for sample in samples for grid in sample.masks.grids),
            np.concatenate([sample.masks.regions for sample in samples]),
        ),
        np.concatenate([sample.keypoints for sample in samples]),
    )


def mixup(one: Sample, other: Sample, rng: np.random.Generator) -> Sample:
    """Blend two pictures of one size about half and half, with the objects of both (Zhang et al. 2018)."""
    share = np.float32(rng.beta(32, 32))
    image = one.image * share + other.image * (1 - share)
    return joined(image.round().astype(np.uint8), [one, other])


def paste(under: Sample, over: Sample, rng: np.random.Generator) -> Sample:
    """Paste a random half of the objects of ``over`` on ``under``, of one size (Ghiasi et al. 2021).

    Masks and boxes beneath lose what is covered, objects that are hardly seen any more go, keypoints that are
    covered become labelled but not visible. Samples without masks stay as they are.
    """
    if not len(over.masks):
        return under
    over = over.take(rng.random(len(over.boxes)) < 0.5)
    height, width = under.image.shape[:2]
    covered = np.zeros((height, width), bool)
    for row in range(len(over.boxes)):
        covered |= _whole(over, row)
    if not covered.any():
        return under
    image = np.where(covered[..., None], over.image, under.image)
    return joined(image, [_beneath(under, covered), over])


def _beneath(sample: Sample, covered: NDArray[np.bool_]) -> Sample:
    """What is left of the objects of a sample where some pixels are covered."""
    boxes, keep = sample.boxes.copy(), np.ones(len(sample.boxes), bool)
    grids, regions = list(sample.masks.grids), sample.masks.regions.copy()
    for row in range(len(sample.masks)):
        whole = _whole(sample, row)
        left = whole & ~covered
        if left.sum() == whole.sum():
            continue
        rows, columns = np.nonzero(left.any(1))[0], np.nonzero(left.any(0))[0]
        keep[row] = left.sum() >= max(_VISIBLE * whole.sum(), 1) and min(len(rows), len(columns)) >= _LEAST
        if keep[row]:
            x0, x1, y0, y1 = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
            grids[row] = np.where(left[y0:y1, x0:x1], np.float32(1), np.float32(-1))
            boxes[row] = regions[row] = (x0, y0, x1, y1)
    keypoints = sample.keypoints
    if keypoints.size:
        x, y = (keypoints[..., k].astype(int).clip(0, covered.shape[1 - k] - 1) for k in (0, 1))
        hidden = covered[y, x] & (keypoints[..., 2] == 2)
        keypoints = keypoints.copy()
        keypoints[..., 2][hidden] = 1
    left_over = replace(sample, boxes=boxes, masks=Masks(tuple(grids), regions), keypoints=keypoints)
    return left_over.take(keep)


def _whole(sample: Sample, row: int) -> NDArray[np.bool_]:
    """The mask of an object as a bitmap of the whole picture."""
    height, width = sample.image.shape[:2]
    left, top, pixels = bitmap(sample.masks, row, sample.boxes[row], (width, height))
    whole = np.zeros((height, width), bool)
    whole[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels.astype(bool)
    return whole

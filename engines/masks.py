"""Instance masks at full size: the bitmap inside a detection's box, and COCO's run-length code of it."""

from __future__ import annotations

import math
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from engines.detections import Masks

__all__ = ["Rle", "bitmap", "rle"]


class Rle(TypedDict):
    """A mask as COCO's tools write it: runs down the columns, starting with background."""

    size: list[int]  # height, width of the picture
    counts: str


def bitmap(
    masks: Masks, row: int, box: NDArray[np.float32], size: tuple[int, int]
) -> tuple[int, int, NDArray[np.uint8]]:
    """Return (left, top, pixels): one mask at full resolution, only inside its box.

    box (4,) xyxy and size (width, height) are in the picture's pixels. A pixel belongs to the box when its
    centre lies in it; pixels is (h, w) uint8 of 0 and 1, with no rows or columns where the box misses the
    picture.
    """
    x1, y1, x2, y2 = (float(edge) for edge in box)
    left, right = _covered(x1, x2, size[0])
    top, bottom = _covered(y1, y2, size[1])
    if left >= right or top >= bottom:
        return left, top, np.zeros((max(bottom - top, 0), max(right - left, 0)), np.uint8)
    grid = masks.grids[row]
    rx1, ry1, rx2, ry2 = (float(edge) for edge in masks.regions[row])
    upper, lower, down = _taps(top, bottom, ry1, ry2, grid.shape[0])
    west, east, across = _taps(left, right, rx1, rx2, grid.shape[1])
    above = grid[upper]
    tall = above + (grid[lower] - above) * down[:, None]
    nearer = np.take(tall, west, axis=1)
    logits = np.take(tall, east, axis=1)
    logits -= nearer
    logits *= across
    logits += nearer
    return left, top, (logits > 0).view(np.uint8)


def rle(masks: Masks, row: int, box: NDArray[np.float32], size: tuple[int, int]) -> Rle:
    """Return one mask as COCO's compressed run-length code, without making a full-size bitmap.

    Arguments as `bitmap`. Source of the format: pycocotools' maskApi (runs in column order; each count above
    the second as its difference to the one two before; five bits a character, lowest first, from '0').
    """
    left, top, pixels = bitmap(masks, row, box, size)
    return Rle(size=[size[1], size[0]], counts=_compress(_runs(left, top, pixels, size)))


def _covered(low: float, high: float, limit: int) -> tuple[int, int]:
    """First pixel whose centre is not before ``low``; one past the last whose centre is before ``high``."""
    return max(math.ceil(low - 0.5), 0), min(math.ceil(high - 0.5), limit)


def _taps(
    start: int, stop: int, low: float, high: float, cells: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Of pixels start..stop: the cells around its centre on a grid over low..high, and the later's share."""
    centres = np.arange(start, stop, dtype=np.float64) + 0.5
    where = (centres - low) * (cells / (high - low)) - 0.5
    np.clip(where, 0, cells - 1, out=where)
    before = where.astype(np.intp)
    return before, np.minimum(before + 1, cells - 1), (where - before).astype(np.float32)


def _runs(left: int, top: int, pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.int64]:
    """Lengths of background, object, background... down the columns of the whole picture."""
    width, height = size
    columns = np.zeros((pixels.shape[1], pixels.shape[0] + 2), np.int8)
    columns[:, 1:-1] = pixels.T
    column, offset = np.nonzero(np.diff(columns, axis=1))
    turns = (left + column) * height + top + offset
    joined = np.flatnonzero(turns[1:] == turns[:-1])  # one column's end is the next one's start
    turns = np.delete(turns, np.concatenate([joined, joined + 1]))
    ends = [width * height] if not turns.size or turns[-1] < width * height else []
    bounds = np.concatenate([[0], turns, ends]).astype(np.int64)
    return bounds[1:] - bounds[:-1]


def _compress(runs: NDArray[np.int64]) -> str:
    values = runs.copy()
    values[3:] -= runs[1:-2]
    digits, wanted = [], np.ones(len(values), bool)
    shown = []
    while wanted.any():
        digit = values & 31
        values = values >> 5
        more = np.where(digit & 16, values != -1, values != 0)
        digits.append(digit + np.where(more, 32, 0) + 48)
        shown.append(wanted)
        wanted = wanted & more
    text: bytes = np.stack(digits, 1)[np.stack(shown, 1)].astype(np.uint8).tobytes()
    return text.decode("ascii")

"""Priors (anchors, default boxes): the boxes that a grid's predictions are offsets of.

All are (N, 4) float32: centre x, centre y, width, height in input pixels, level after level, row after row,
and at each place in the order that the family's training wrote them in.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from engines.nodes import Nodes

__all__ = ["centre_size", "retinaface", "retinanet", "ssd300", "ssdlite", "ultraface", "yolact"]

Priors = NDArray[np.float32]
Size = tuple[int, int]  # width, height of the input in pixels

_MOST_GROWTH = float(np.log(1000 / 16))  # of a box over its prior, as a logarithm; keeps exp in range


def centre_size(nodes: Nodes, offsets: str, priors: str, variances: tuple[float, float]) -> str:
    """Boxes (B, K, 4) xyxy from offsets (B, K, 4) and priors (B, K, 4), as SSD (arXiv 1512.02325) codes them.

    centre = prior centre + v0 * offset * prior size; size = prior size * exp(v1 * offset).
    """
    middle, extent = nodes.slice(priors, 2, 0, 2), nodes.slice(priors, 2, 2, 4)
    shift = nodes.scaled(nodes.slice(offsets, 2, 0, 2), variances[0])
    growth = nodes.scaled(nodes.slice(offsets, 2, 2, 4), variances[1])
    bounded = nodes.op("Min", growth, nodes.constant(_MOST_GROWTH))
    centres = nodes.op("Add", middle, nodes.op("Mul", shift, extent))
    return nodes.corners(centres, nodes.op("Mul", extent, nodes.op("Exp", bounded)))


def ultraface(size: Size) -> Priors:
    """Squares of UltraFace, kept inside the input. Source: its released configuration."""
    sides = ((10, 16, 24), (32, 48), (64, 96), (128, 192, 256))
    levels = [
        _level(size, _grid(size, stride), [(side, side) for side in row])
        for stride, row in zip((8, 16, 32, 64), sides, strict=True)
    ]
    return np.clip(np.concatenate(levels), 0, [*size, *size]).astype(np.float32)


def retinaface(size: Size) -> Priors:
    """Squares of RetinaFace (arXiv 1905.00641) in its PyTorch form, whose cells are whole strides."""
    levels = []
    for stride, sides in ((8, (16, 32)), (16, (64, 128)), (32, (256, 512))):
        columns, rows = _grid(size, stride)
        laid = (columns * stride, rows * stride)
        levels.append(_level(laid, (columns, rows), [(side, side) for side in sides]))
    return np.concatenate(levels)


def ssd300(size: Size) -> Priors:
    """Default boxes of torchvision's ssd300_vgg16."""
    scales = (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05)
    ratios = ((2.0,), (2.0, 3.0), (2.0, 3.0), (2.0, 3.0), (2.0,), (2.0,))
    grids, strides = (38, 19, 10, 5, 3, 1), (8, 16, 32, 64, 100, 300)
    levels = []
    for count, stride, pair, ratio in zip(grids, strides, pairwise(scales), ratios, strict=True):
        laid = (count * stride, count * stride)
        levels.append(_level(laid, (count, count), _default_boxes(size, pair, ratio)))
    return np.concatenate(levels)


def ssdlite(size: Size) -> Priors:
    """Default boxes of torchvision's ssdlite320_mobilenet_v3_large."""
    scales = [*np.linspace(0.2, 0.95, 6), 1.0]
    levels = []
    for stride, pair in zip((16, 32, 64, 128, 256, 512), pairwise(scales), strict=True):
        levels.append(_level(size, _grid(size, stride), _default_boxes(size, pair, (2.0, 3.0))))
    return np.concatenate(levels)


def retinanet(size: Size) -> Priors:
    """Anchors of torchvision's RetinaNet: nine at each place of P3 to P7, their corners in whole pixels."""
    levels = []
    for stride, side in ((8, 32), (16, 64), (32, 128), (64, 256), (128, 512)):
        columns, rows = _grid(size, stride)
        step = size[0] // columns, size[1] // rows
        sides = [side, int(side * 2 ** (1 / 3)), int(side * 2 ** (2 / 3))]
        shapes = [(one / sqrt(ratio), one * sqrt(ratio)) for ratio in (0.5, 1.0, 2.0) for one in sides]
        whole = [(2 * np.round(width / 2), 2 * np.round(height / 2)) for width, height in shapes]
        laid = (columns * step[0], rows * step[1])
        level = _level(laid, (columns, rows), whole)
        level[:, :2] -= np.array(step, np.float32) / 2  # theirs stand on the corner of a cell
        levels.append(level)
    return np.concatenate(levels)


def yolact(size: Size) -> Priors:
    """Squares of YOLACT (arXiv 1904.02689), three at each place: the released weights know no other shape."""
    levels = []
    for stride, scale in ((8, 24), (16, 48), (32, 96), (64, 192), (128, 384)):
        grid = size
        for _ in range(int(np.log2(stride))):
            grid = (ceil(grid[0] / 2), ceil(grid[1] / 2))
        widths = [scale * sqrt(ratio) for ratio in (1.0, 0.5, 2.0)]
        shapes = [(width, width * size[1] / size[0]) for width in widths]
        levels.append(_level(size, grid, shapes))
    return np.concatenate(levels)


def _grid(size: Size, stride: int) -> Size:
    return ceil(size[0] / stride), ceil(size[1] / stride)


def _level(laid: Size, grid: Size, shapes: Sequence[tuple[float, float]]) -> Priors:
    """Boxes of these shapes at the middle of each cell of a grid (columns, rows) over ``laid`` pixels."""
    rows, columns = np.mgrid[: grid[1], : grid[0]].reshape(2, -1, 1) + 0.5
    priors = np.zeros((grid[0] * grid[1], len(shapes), 4))
    priors[..., 0] = columns * laid[0] / grid[0]
    priors[..., 1] = rows * laid[1] / grid[1]
    priors[..., 2:] = np.array(shapes)
    return priors.reshape(-1, 4).astype(np.float32)


def _default_boxes(
    size: Size, scales: tuple[float, float], ratios: Sequence[float]
) -> list[tuple[float, float]]:
    """A square, a square between this level and the next, and for each ratio a lying and a standing box."""
    here, between = scales[0], sqrt(scales[0] * scales[1])
    shares = [(here, here), (between, between)]
    for ratio in ratios:
        shares += [
            (here * sqrt(ratio), here / sqrt(ratio)),
            (here / sqrt(ratio), here * sqrt(ratio)),
        ]
    return [(min(width, 1.0) * size[0], min(height, 1.0) * size[1]) for width, height in shares]

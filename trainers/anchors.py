"""Anchors: boxes laid over a picture in advance, and offsets from them.

Two ways to lay them: shares of the picture around the centres of cells (SSD, Liu et al. 2016), and pixels
around their corners (RetinaNet, Lin et al. 2017), each in the order of torchvision's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["Grid", "Weights", "cell_anchors", "decode", "default_boxes", "encode", "rows"]

Grid = tuple[int, int]  # rows, columns
Weights = tuple[float, float, float, float]  # of the offsets of x, y, w, h
_WIDEST = math.log(1000 / 16)  # the greatest log factor of a side


def default_boxes(
    grids: Sequence[Grid],
    size: tuple[int, int],
    scales: Sequence[float],
    ratios: Sequence[Sequence[float]],
    steps: Sequence[int] = (),
) -> Tensor:
    """Return SSD's boxes (N, 4) xyxy for an input of ``size`` (width, height).

    Level k has a box of share ``scales[k]`` of either side, one of the geometric mean with ``scales[k + 1]``,
    and two for each of ``ratios[k]``. Centres are ``steps[k]`` pixels apart, or spread evenly where there are
    no steps.
    """
    levels = []
    whole = torch.tensor([*size, *size], dtype=torch.float32)
    for level, (rows, columns) in enumerate(grids):
        scale, middle = scales[level], math.sqrt(scales[level] * scales[level + 1])
        shapes = [(scale, scale), (middle, middle)]
        for ratio in ratios[level]:
            wide, narrow = scale * math.sqrt(ratio), scale / math.sqrt(ratio)
            shapes += [(wide, narrow), (narrow, wide)]
        half = torch.tensor(shapes).clamp(max=1) / 2
        across = size[0] / steps[level] if steps else columns
        down = size[1] / steps[level] if steps else rows
        x, y = (torch.arange(columns) + 0.5) / across, (torch.arange(rows) + 0.5) / down
        centre = torch.stack([x.expand(rows, columns), y[:, None].expand(rows, columns)], 2)[:, :, None]
        levels.append(torch.cat([centre - half, centre + half], 3).reshape(-1, 4) * whole)
    return torch.cat(levels)


def cell_anchors(
    grids: Sequence[Grid],
    size: tuple[int, int],
    sides: Sequence[Sequence[float]],
    ratios: Sequence[float],
    centred: bool = False,
) -> Tensor:
    """Return RetinaNet's boxes (N, 4) xyxy for an input of ``size`` (width, height).

    Level k has, for each of ``ratios`` (height by width), a box of the area of a square of each of
    ``sides[k]`` pixels, rounded, around the top left corner of each cell, whole pixels apart; or around its
    centre if ``centred``, spread evenly over the input.
    """
    levels = []
    for (rows, columns), level in zip(grids, sides, strict=True):
        stretch = torch.tensor(ratios).sqrt()[:, None]
        side = torch.tensor(level, dtype=torch.float32)
        width, height = (side / stretch).reshape(-1), (stretch * side).reshape(-1)
        shapes = (torch.stack([-width, -height, width, height], 1) / 2).round()
        if centred:
            x = (torch.arange(columns) + 0.5) * (size[0] / columns)
            y = (torch.arange(rows) + 0.5) * (size[1] / rows)
        else:
            x, y = torch.arange(columns) * (size[0] // columns), torch.arange(rows) * (size[1] // rows)
        corner = torch.stack([x.expand(rows, columns), y[:, None].expand(rows, columns)] * 2, 2)
        levels.append((corner[:, :, None] + shapes).reshape(-1, 4))
    return torch.cat(levels).float()


def encode(boxes: Tensor, anchors: Tensor, weights: Weights) -> Tensor:
    """Return the offsets (F, 4) that decode to ``boxes`` (F, 4) from ``anchors`` (F, 4)."""
    x, y, w, h = _spread(anchors)
    bx, by, bw, bh = _spread(boxes)
    parts = [(bx - x) / w, (by - y) / h, (bw / w).log(), (bh / h).log()]
    return torch.stack([part * weight for part, weight in zip(parts, weights, strict=True)], -1)


def decode(offsets: Tensor, anchors: Tensor, weights: Weights) -> Tensor:
    """Return the boxes (..., N, 4) xyxy that the offsets (..., N, 4) give from ``anchors`` (N, 4)."""
    x, y, w, h = _spread(anchors)
    dx, dy, dw, dh = (offsets[..., k] / weight for k, weight in enumerate(weights))
    x, y = x + dx * w, y + dy * h
    w, h = dw.clamp(max=_WIDEST).exp() * w / 2, dh.clamp(max=_WIDEST).exp() * h / 2
    return torch.stack([x - w, y - h, x + w, y + h], -1)


def rows(x: Tensor, columns: int) -> Tensor:
    """Turn a map (B, A * columns, h, w) into rows (B, h * w * A, columns)."""
    height, width = int(x.shape[2]), int(x.shape[3])
    each = int(x.shape[1]) // columns
    x = x.reshape(-1, each, columns, height, width).permute(0, 3, 4, 1, 2)
    return x.reshape(-1, height * width * each, columns)


def _spread(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x0, y0, x1, y1 = boxes.unbind(-1)
    return (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0

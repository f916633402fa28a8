"""Which cell or anchor learns which object: task-aligned (TOOD, Feng et al. 2021), or by IoU alone."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

__all__ = ["BACKGROUND", "NEITHER", "Assignment", "assign", "ciou", "giou", "iou", "match"]

Rescue = Literal["ties", "best"]
BACKGROUND, NEITHER = -1, -2  # of an anchor that learns no object, or nothing at all

_LEAST = 10.0  # pixels: an object smaller than this takes cells as if it were this large


class Assignment(NamedTuple):
    """For every cell: whether it learns an object, which, and how well it should score."""

    positive: Tensor  # (B, N) bool
    owner: Tensor  # (B, N) long, row of the object; 0 where there is none
    quality: Tensor  # (B, N) 0..1, the soft target of the object's class


def assign(
    scores: Tensor,
    boxes: Tensor,
    points: Tensor,
    truth: Tensor,
    classes: Tensor,
    real: Tensor,
    topk: int = 10,
) -> Assignment:
    """Choose for each object the ``topk`` cells inside it of greatest ``score ** .5 * IoU ** 6``.

    scores (B,N,C) probabilities and boxes (B,N,4) are the network's, without gradient; points (N,2) are the
    centres of the cells; truth (B,M,4), classes (B,M) and real (B,M) bool are the objects, padded to M.
    A cell that several objects want goes to the one it overlaps most. The quality of an object's cells is
    their alignment, scaled so that the best has the object's best IoU.
    """
    count = truth.shape[1]
    if count == 0:
        nothing = torch.zeros(boxes.shape[:2], device=boxes.device)
        return Assignment(nothing.bool(), nothing.long(), nothing)
    centre = (truth[..., :2] + truth[..., 2:]) / 2
    half = ((truth[..., 2:] - truth[..., :2]) / 2).clamp(min=_LEAST / 2)
    away = (points[None, None] - centre[:, :, None]).abs()
    inside = (away < half[:, :, None]).all(3) & real[:, :, None]  # (B, M, N)
    overlap = iou(truth[:, :, None], boxes[:, None]) * inside
    index = classes.clamp(min=0)[:, :, None].expand(-1, -1, boxes.shape[1])
    score = scores.transpose(1, 2).gather(1, index)
    alignment = score.sqrt() * overlap**6 * inside
    # before the network has learnt anything all alignments vanish: then the nearest cells are taken
    rank = alignment + 1e-9 * inside / (1 + away.sum(3))
    best = rank.topk(min(topk, rank.shape[2]), 2).indices
    chosen = torch.zeros_like(inside).scatter_(2, best, True) & inside
    claim = torch.where(chosen, overlap + 1e-6, torch.zeros_like(overlap))
    strength, owner = claim.max(1)
    positive = strength > 0
    mine = chosen & (owner[:, None] == torch.arange(count, device=owner.device)[None, :, None])
    alignment, overlap = alignment * mine, overlap * mine
    top = alignment.amax(2, keepdim=True)
    quality = alignment / (top + 1e-12) * overlap.amax(2, keepdim=True)
    return Assignment(positive, owner * positive, quality.amax(1))


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the intersection over union of xyxy boxes (..., 4), broadcast."""
    inter, union = _areas(a, b)
    return inter / union


def ciou(a: Tensor, b: Tensor) -> Tensor:
    """Return the complete IoU of xyxy boxes (..., 4): IoU less distance and unlike shape (Zheng 2020)."""
    inter, union = _areas(a, b)
    overlap = inter / union
    wa, ha = a[..., 2] - a[..., 0], a[..., 3] - a[..., 1]
    wb, hb = b[..., 2] - b[..., 0], b[..., 3] - b[..., 1]
    hull = torch.max(a[..., 2:], b[..., 2:]) - torch.min(a[..., :2], b[..., :2])
    diagonal = hull.square().sum(-1) + 1e-7
    apart = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]).square().sum(-1) / 4
    shape = (torch.atan(wb / (hb + 1e-7)) - torch.atan(wa / (ha + 1e-7))).square() * (4 / torch.pi**2)
    with torch.no_grad():
        weight = shape / (1 - overlap + shape + 1e-7)
    return overlap - apart / diagonal - weight * shape


def _areas(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    wide = (torch.min(a[..., 2:], b[..., 2:]) - torch.max(a[..., :2], b[..., :2])).clamp(min=0)
    inter = wide[..., 0] * wide[..., 1]
    area_a = (a[..., 2] - a[..., 0]) * (a[..., 3] - a[..., 1])
    area_b = (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])
    return inter, area_a + area_b - inter + 1e-7


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Return the IoU less the share of the common hull that neither box covers (Rezatofighi 2019); -1..1."""
    inter, union = _areas(a, b)
    hull = (torch.max(a[..., 2:], b[..., 2:]) - torch.min(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    return inter / union - (hull - union) / (hull + 1e-7)


def match(overlap: Tensor, high: float, low: float, rescue: Rescue) -> Tensor:
    """Return for each of N anchors the row of its object, or BACKGROUND or NEITHER (it learns nothing).

    overlap (M,N) are the IoUs of M objects with the anchors. An anchor takes the object it overlaps most if
    by ``high`` or more; below ``low`` it is background. ``rescue`` is for objects that no anchor fits:
    "ties" lets every anchor that overlaps an object as much as any does take its own best object
    (RetinaNet), "best" gives each object the first of them (SSD).
    """
    if not len(overlap):
        return torch.full((overlap.shape[1],), BACKGROUND, device=overlap.device)
    most, best = overlap.max(0)
    found = best.clone()
    found[most < high] = NEITHER
    found[most < low] = BACKGROUND
    peak, first = overlap.max(1)
    if rescue == "ties":
        tied = (overlap == peak[:, None]).any(0)
        found[tied] = best[tied]
    else:
        for row, anchor in enumerate(first.tolist()):  # of two objects at one anchor the later stays
            found[anchor] = row
    return found

"""What YOLACT makes small: box offsets, classes with hard negatives, masks inside boxes, a semantic map.

Weights and thresholds are the paper's (Bolya et al. 2019); matching and box coding are SSD's (Liu et al.
2016).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from trainers.data.batch import Batch
from trainers.matching import iou

if TYPE_CHECKING:
    from trainers.models.yolact import Output

__all__ = ["MOST", "Match", "decode", "encode", "match", "yolact_loss"]

_VARIANCES = (0.1, 0.2)
_BOX, _CLASS, _MASK, _SEMANTIC = 1.5, 1.0, 6.125, 1.0
_POSITIVE, _NEGATIVE = 0.5, 0.4  # IoU from which a prior learns an object; below which it learns background
_NEGATIVES = 3  # hard negatives for each positive
MOST = 100  # masks of one picture that are learnt


class Match(NamedTuple):
    """For every prior of one picture: what it learns, and of which object."""

    label: Tensor  # (N,) long: 0 background, 1 + class, -1 neither
    owner: Tensor  # (N,) long, row of the object


def decode(loc: Tensor, places: Tensor) -> Tensor:
    """Turn offsets (..., N, 4) and priors (N, 4) into boxes xyxy in shares of the picture."""
    centre = places[:, :2] + loc[..., :2] * _VARIANCES[0] * places[:, 2:]
    half = places[:, 2:] * torch.exp(loc[..., 2:] * _VARIANCES[1]) / 2
    return torch.cat([centre - half, centre + half], -1)


def encode(boxes: Tensor, places: Tensor) -> Tensor:
    """Return the offsets (N, 4) that `decode` turns into these boxes (N, 4) xyxy."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 - places[:, :2]
    sides = (boxes[:, 2:] - boxes[:, :2]) / places[:, 2:]
    return torch.cat([centre / (_VARIANCES[0] * places[:, 2:]), torch.log(sides) / _VARIANCES[1]], 1)


def match(truth: Tensor, classes: Tensor, places: Tensor) -> Match:
    """Give priors (N, 4) cxcywh to objects (M, 4) xyxy by IoU; every object gets at least one."""
    corners = torch.cat([places[:, :2] - places[:, 2:] / 2, places[:, :2] + places[:, 2:] / 2], 1)
    overlap = iou(truth[:, None], corners[None])
    best, owner = overlap.max(0)
    for _ in range(len(truth)):  # the best pair first; then neither is for others
        row, prior = divmod(int(overlap.argmax()), overlap.shape[1])
        overlap[:, prior] = overlap[row] = -1
        best[prior], owner[prior] = 2, row
    label = classes[owner] + 1
    label[best < _POSITIVE] = -1
    label[best < _NEGATIVE] = 0
    return Match(label, owner)


def yolact_loss(output: Output, batch: Batch, most: int = MOST) -> dict[str, Tensor]:
    """Return the weighted terms ``boxes``, ``classes``, ``masks`` and ``semantic``.

    All but the last are divided by the number of positive priors of the batch (at least 1), the last by the
    number of pictures. The batch must have masks; boxes in pixels of the input. ``most`` positives of a
    picture, chosen by chance, learn their masks for all.
    """
    whole = torch.tensor([*output.size, *output.size], dtype=torch.float32, device=output.loc.device)
    terms = {name: output.loc.sum() * 0 for name in ("boxes", "classes", "masks", "semantic")}
    positives = 0
    for row in range(len(output.loc)):
        real = batch.real[row]
        truth, classes = batch.boxes[row][real] / whole, batch.classes[row][real]
        masks = batch.masks[row][real].float()
        found = match(truth, classes, output.priors) if len(truth) else _nothing(output)
        positive = found.label > 0
        owner = found.owner[positive]
        positives += len(owner)
        terms["classes"] = terms["classes"] + _classes(output.conf[row], found.label)
        if len(owner):
            target = encode(truth[owner], output.priors[positive])
            terms["boxes"] = terms["boxes"] + F.smooth_l1_loss(
                output.loc[row][positive], target, reduction="sum"
            )
            chosen = torch.randperm(len(owner))[:most].to(owner.device) if len(owner) > most else ...
            logits = torch.einsum(
                "np,phw->nhw", output.coefficients[row][positive][chosen], output.prototypes[row]
            )
            share = len(owner) / min(len(owner), most)
            terms["masks"] = terms["masks"] + share * _masks(logits, masks, owner[chosen], truth)
        terms["semantic"] = terms["semantic"] + _semantic(output.semantic[row], masks, classes)
    count = max(positives, 1)
    return {
        "boxes": _BOX * terms["boxes"] / count,
        "classes": _CLASS * terms["classes"] / count,
        "masks": _MASK * terms["masks"] / count,
        "semantic": _SEMANTIC * terms["semantic"] / len(output.loc),
    }


def _nothing(output: Output) -> Match:
    empty = torch.zeros(len(output.priors), dtype=torch.long, device=output.loc.device)
    return Match(empty, empty)


def _classes(logits: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy of positives and of the hardest three times as many backgrounds, summed."""
    with torch.no_grad():
        hardness = torch.logsumexp(logits, 1) - logits[:, 0]
        hardness[label != 0] = -1
        wanted = min(_NEGATIVES * int((label > 0).sum()), int((label == 0).sum()))
        hard = hardness.topk(wanted).indices
    chosen = torch.cat([(label > 0).nonzero().flatten(), hard])
    return F.cross_entropy(logits[chosen], label[chosen], reduction="sum")


def _masks(logits: Tensor, masks: Tensor, owner: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy inside each object's box, by the box's area, summed over positives.

    logits (n, h, w); masks (M, H, W) 0 or 1; truth (M, 4) in shares. The box is one cell wider on each side.
    """
    height, width = logits.shape[1:]
    target = _shrunk(masks, height, width)[owner]
    box = truth[owner] * torch.tensor([width, height] * 2, dtype=truth.dtype, device=truth.device)
    xs = torch.arange(width, device=box.device)
    ys = torch.arange(height, device=box.device)
    left, top, right, bottom = (side[:, None] for side in box.unbind(1))
    across = (xs >= (left - 1).clamp(min=0)) & (xs < (right + 1).clamp(max=width))
    down = (ys >= (top - 1).clamp(min=0)) & (ys < (bottom + 1).clamp(max=height))
    inside = down[:, :, None] & across[:, None]
    each = F.binary_cross_entropy_with_logits(logits, target, reduction="none") * inside
    area = ((right - left) * (bottom - top)).flatten()
    return (each.sum((1, 2)) / area).sum()


def _semantic(logits: Tensor, masks: Tensor, classes: Tensor) -> Tensor:
    """Cross-entropy of a map of each class (C, h, w) with the union of the class's masks; mean of cells."""
    height, width = logits.shape[1:]
    target = torch.zeros_like(logits)
    small = _shrunk(masks, height, width) if len(masks) else masks
    for kind in classes.unique():
        target[kind] = small[classes == kind].amax(0)
    return F.binary_cross_entropy_with_logits(logits, target, reduction="sum") / (height * width)


def _shrunk(masks: Tensor, height: int, width: int) -> Tensor:
    """Resize masks (M, H, W) to cells that are inside where their middle is."""
    small = F.interpolate(masks[None], (height, width), mode="bilinear", align_corners=False)[0]
    return (small > 0.5).float()

"""What training makes small: soft-target cross-entropy of the classes and CIoU of the boxes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from trainers.config import Loss
from trainers.data.batch import Batch
from trainers.matching import assign, ciou
from trainers.models.yolo import STRIDES, Output, cells

__all__ = ["detection_loss"]


def detection_loss(output: Output, batch: Batch, weights: Loss) -> dict[str, Tensor]:
    """Return the weighted terms ``classes`` and ``boxes``, each a scalar with gradient.

    Both are divided by the sum of the soft targets of the batch (at least 1), as in TOOD; the boxes of a
    cell weigh as much as its target, so that cells that fit badly move little.
    """
    height, width = batch.images.shape[2:]
    points, _ = cells(tuple((height // s, width // s) for s in STRIDES), output.boxes.device)
    logits, boxes = output.logits.float(), output.boxes.float()
    with torch.no_grad():
        found = assign(logits.sigmoid(), boxes, points, batch.boxes, batch.classes, batch.real, weights.topk)
    target = torch.zeros_like(logits)
    total = found.quality.sum().clamp(min=1.0)
    box_loss = boxes.sum() * 0
    if found.positive.any():
        picture, cell = found.positive.nonzero(as_tuple=True)
        row = found.owner[picture, cell]
        quality = found.quality[picture, cell]
        target[picture, cell, batch.classes[picture, row]] = quality
        box_loss = ((1 - ciou(boxes[picture, cell], batch.boxes[picture, row])) * quality).sum() / total
    class_loss = F.binary_cross_entropy_with_logits(logits, target, reduction="sum") / total
    return {"classes": weights.classes * class_loss, "boxes": weights.boxes * box_loss}

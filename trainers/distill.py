"""Distillation: a trained model of the same outputs is learnt from, beside the labels (Hinton et al. 2015).

The teacher may be of any size and family: what is compared is what `decode` gives, cell by cell, so only the
number of cells and classes must agree. What it is sure of counts most.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from engines.errors import InputError
from trainers import checkpoints
from trainers.config import Teacher
from trainers.data.batch import Batch
from trainers.matching import giou
from trainers.models import prepare
from trainers.models.pose_topdown import WEIGHT

__all__ = ["Teaching", "apart"]

_MASKS = 24  # of a picture's cells, whose masks are compared: those the teacher is surest of
_TINY = 1e-6


class Teaching:
    """A teacher at work."""

    def __init__(self, how: Teacher, classes: tuple[str, ...], device: torch.device) -> None:
        saved = checkpoints.load(how.checkpoint)
        if saved.classes != classes:
            raise InputError(
                f"teacher.checkpoint: {how.checkpoint} knows {', '.join(saved.classes)}; "
                f"the same classes are right: {', '.join(classes)}"
            )
        net = checkpoints.network(saved)[0].to(device)
        if getattr(net, "ranked", False):
            raise InputError(
                f"teacher.checkpoint: {how.checkpoint} gives rows by score, a model of one stage is right: "
                "its rows are cells"
            )
        self.net, self.weight, self.path = net, how.weight, how.checkpoint

    def terms(self, mine: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return the weighted terms of how far decoded answers are from the teacher's."""
        with torch.no_grad():
            theirs = self.net.decode(self.net(prepare(batch.images, self.net.input)))
        shapes = [{name: tuple(part.shape) for name, part in parts.items()} for parts in (mine, theirs)]
        if any(shapes[1].get(name) != shape for name, shape in shapes[0].items() if not _mixed(name)):
            raise InputError(
                f"teacher.checkpoint: {self.path} gives {_said(shapes[1])}; "
                f"what the network gives is right: {_said(shapes[0])}"
            )
        return {f"teacher_{name}": self.weight * term for name, term in apart(mine, theirs).items()}


def apart(mine: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Tensor]:
    """Return how far decoded answers are apart; 0 where they are the same.

    ``classes``: the cross-entropy beyond the teacher's own entropy; ``boxes``: 1 - GIoU; ``keypoints``: the
    mean distance as a share of the object's size; ``masks``: mean cross-entropy of the surest cells' masks.
    All but classes weigh by the teacher's greatest score in the cell; sums are divided by the sum of those
    (at least 1). Of heatmaps, whose peaks have no gradient, ``heatmaps`` alone: the maps' squared error.
    """
    if "heatmaps" in mine:
        error = F.mse_loss(mine["heatmaps"].float(), theirs["heatmaps"].float())
        return {"heatmaps": WEIGHT * error / 2}
    wanted = theirs["scores"].float()
    sure = wanted.amax(2)  # (B, N)
    total = sure.sum().clamp(min=1.0)
    terms = {
        "classes": _beyond(mine["scores"].float(), wanted).sum() / total,
        "boxes": ((1 - giou(mine["boxes"].float(), theirs["boxes"].float())) * sure).sum() / total,
    }
    if "keypoints" in mine:
        box = theirs["boxes"]
        side = (box[..., 2:] - box[..., :2]).clamp(min=1).prod(2).sqrt()
        distance = (mine["keypoints"][..., :2] - theirs["keypoints"][..., :2]).norm(dim=3).mean(2)
        terms["keypoints"] = (distance / side * sure).sum() / total
    if "prototypes" in mine:
        best = sure.topk(min(_MASKS, sure.shape[1]), 1)
        ours, others = (_masks(parts, best.indices) for parts in (mine, theirs))
        each = _beyond(ours, F.interpolate(others, size=ours.shape[2:], mode="bilinear")).mean((2, 3))
        terms["masks"] = (each * best.values).sum() / best.values.sum().clamp(min=1.0)
    return terms


def _beyond(mine: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy of probabilities less the entropy of those wanted: 0 where they are equal."""
    mine, wanted = mine.clamp(_TINY, 1 - _TINY), wanted.clamp(_TINY, 1 - _TINY)
    return F.binary_cross_entropy(mine, wanted, reduction="none") - F.binary_cross_entropy(
        wanted, wanted, reduction="none"
    )


def _masks(parts: dict[str, Tensor], rows: Tensor) -> Tensor:
    """The probabilities (B, K, h, w) of the masks of some cells (B, K)."""
    index = rows[..., None].expand(-1, -1, parts["coefficients"].shape[2])
    chosen = parts["coefficients"].gather(1, index)
    return torch.einsum("bkp,bphw->bkhw", chosen.float(), parts["prototypes"].float()).sigmoid()


def _mixed(name: str) -> bool:
    """Whether a part is only compared as the mask that it is mixed to."""
    return name in ("coefficients", "prototypes")


def _said(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {list(shape[1:])}" for name, shape in shapes.items())

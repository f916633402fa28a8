"""Faster, Mask and Keypoint R-CNN: torchvision's networks and losses, decoded with fixed shapes.

Proposals, boxes, masks and keypoints are torchvision's modules under its names, so its checkpoints fit. What
it does after them with loops over pictures and levels is here done for all at once, so that the file has a
free batch and no shape depends on the data: pooling reads every level and chooses, suppression iterates to
what greedy suppression gives. A keypoint is its map's highest cell, moved a quarter of a cell towards the
higher neighbour; torchvision scales the map up first.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import detection
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FrozenBatchNorm2d, roi_align

from engines.spec import Task
from trainers import anchors
from trainers.config import Loss, Network
from trainers.data.batch import Batch
from trainers.matching import iou
from trainers.models import Input
from trainers.models.pose_topdown import peaks

__all__ = ["Output", "Rcnn", "faster", "greedy", "keypoint", "mask"]

_IMAGENET = Input("letterbox-topleft", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
_RATIOS = (0.5, 1.0, 2.0)
_PROPOSALS, _KEPT = 1000, 100  # of a picture: what the second stage reads, what is found at most
_ROUNDS = 16  # of suppression: how long a chain of boxes, each covering the next, may be


class Output(NamedTuple):
    """The pyramid of a batch, and the prepared pictures (B, 3, H, W)."""

    features: dict[str, Tensor]
    images: Tensor


class Rcnn(nn.Module):
    """A torchvision model of two stages; ``strides`` and ``sides`` are of the levels of its proposals."""

    ranked = True  # rows come by score, so that rounding may change their order

    def __init__(
        self, net: Any, task: Task, strides: tuple[int, ...], sides: list[tuple[float, ...]], how: Input
    ) -> None:
        super().__init__()
        self.backbone, self.rpn, self.roi_heads = net.backbone, net.rpn, net.roi_heads
        self.task, self.input = task, how
        self._strides, self._sides = strides, sides
        self.columns: tuple[int, ...] = ()  # of the scores that are classes; () = all but the background

    def forward(self, images: Tensor) -> Output:
        return Output(self.backbone(images), images)

    def loss(self, output: Output, batch: Batch, weights: Loss) -> dict[str, Tensor]:
        """Return torchvision's terms: those of the proposals, of the boxes, and of masks or keypoints."""
        height, width = (int(side) for side in output.images.shape[2:])
        targets = []
        for row, real in enumerate(batch.real):
            target = {"boxes": batch.boxes[row][real], "labels": batch.classes[row][real] + 1}
            if self.task == "segment":
                target["masks"] = batch.masks[row][real]
            if self.task == "pose":
                target["keypoints"] = batch.keypoints[row][real]
            targets.append(target)
        shapes = [(height, width)] * len(targets)
        features = OrderedDict((name, part.float()) for name, part in output.features.items())
        proposals, first = self.rpn(ImageList(output.images, shapes), features, targets)
        _, second = self.roi_heads(features, proposals, shapes, targets)
        factors = {
            "loss_objectness": ("proposals", weights.classes),
            "loss_rpn_box_reg": ("proposal_boxes", weights.boxes),
            "loss_classifier": ("classes", weights.classes),
            "loss_box_reg": ("boxes", weights.boxes),
            "loss_mask": ("masks", 1.0),
            "loss_keypoint": ("keypoints", 1.0),
        }
        terms = {**first, **second}
        return {factors[name][0]: term * factors[name][1] for name, term in terms.items()}

    def decode(self, output: Output) -> dict[str, Tensor]:
        """Return 100 rows: ``boxes``, ``scores`` with one class each, and what else the task has.

        A mask is a prototype of its own: ``prototypes`` (B, 100, H/4, W/4) and unit ``coefficients``.
        """
        levels = [part.float() for part in output.features.values()]
        width, height = int(output.images.shape[3]), int(output.images.shape[2])
        proposals, real = self._proposals(levels, (width, height))
        boxes, scores, kinds = self._boxes(levels, proposals, real, (width, height))
        classes = len(self.columns) or self.roi_heads.box_predictor.cls_score.out_features - 1
        found = {
            "boxes": boxes.reshape(-1, int(boxes.shape[1]), 4),  # so that the file knows its last axis
            "scores": (kinds[..., None] == torch.arange(classes, device=kinds.device)).float()
            * scores[..., None],
        }
        if self.task == "pose":
            maps = self.roi_heads.keypoint_predictor(
                self.roi_heads.keypoint_head(self._pooled(levels, boxes, self.roi_heads.keypoint_roi_pool))
            )
            found["keypoints"] = _points(maps, boxes)
        if self.task == "segment":
            maps = self.roi_heads.mask_predictor(
                self.roi_heads.mask_head(self._pooled(levels, boxes, self.roi_heads.mask_roi_pool))
            )
            columns = torch.tensor(self.columns or range(1, classes + 1), device=kinds.device)
            index = columns[kinds].reshape(-1, 1, 1, 1).expand(-1, 1, *maps.shape[2:])
            grids = maps.gather(1, index)
            found["prototypes"] = _pasted(grids, boxes, (width // 4, height // 4), (width, height))
            eye = torch.eye(boxes.shape[1], device=boxes.device)
            found["coefficients"] = eye[None] * torch.ones_like(boxes[:, :1, :1])
        return found

    def _proposals(self, levels: list[Tensor], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return the boxes (B, P, 4) that the second stage reads, and which of them are proposals (B, P)."""
        objectness, deltas = self.rpn.head(levels)
        boxes, scores = [], []
        for level, (logits, offsets) in enumerate(zip(objectness, deltas, strict=True)):
            grid = [(int(logits.shape[2]), int(logits.shape[3]))]
            laid = anchors.cell_anchors(grid, size, [self._sides[level]], _RATIOS).to(logits.device)
            flat = anchors.rows(logits, 1)[..., 0]
            best = flat.topk(min(_PROPOSALS, int(laid.shape[0])), 1)
            decoded = anchors.decode(anchors.rows(offsets, 4), laid, (1.0, 1.0, 1.0, 1.0))
            chosen = _clipped(_picked(decoded, best.indices), size)
            sides = chosen[..., 2:] - chosen[..., :2]
            kept = greedy(chosen, self.rpn.nms_thresh) & (sides >= self.rpn.min_size).all(2)
            boxes.append(chosen)
            scores.append(best.values.sigmoid() * kept)
        best = torch.cat(scores, 1)
        best = best.topk(min(_PROPOSALS, int(best.shape[1])), 1)
        return _picked(torch.cat(boxes, 1), best.indices), best.values > 0

    def _boxes(
        self, levels: list[Tensor], proposals: Tensor, real: Tensor, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the found boxes (B, D, 4), their scores (B, D), 0 = none, and classes (B, D)."""
        heads = self.roi_heads
        logits, offsets = heads.box_predictor(
            heads.box_head(self._pooled(levels, proposals, heads.box_roi_pool))
        )
        count, classes = int(proposals.shape[1]), int(logits.shape[1])
        columns = torch.tensor(self.columns or range(1, classes), device=logits.device)
        scores = logits.softmax(1).reshape(-1, count, classes).index_select(2, columns) * real[..., None]
        offsets = offsets.reshape(-1, count, classes, 4).index_select(2, columns)
        kinds = len(columns)
        best = scores.reshape(-1, count * kinds).topk(min(_PROPOSALS, count * kinds), 1)
        row, kind = torch.div(best.indices, kinds, rounding_mode="floor"), best.indices % kinds
        start = _picked(proposals, row)
        chosen = _picked(offsets.reshape(-1, count * kinds, 4), best.indices)
        boxes = _clipped(_beside(chosen, start, heads.box_coder.weights), size)
        kept = greedy(boxes, heads.nms_thresh, kind) & ((boxes[..., 2:] - boxes[..., :2]) >= 1e-2).all(2)
        final = (best.values * kept).topk(min(_KEPT, int(best.values.shape[1])), 1)
        return _picked(boxes, final.indices), final.values, kind.gather(1, final.indices)

    def _pooled(self, levels: list[Tensor], boxes: Tensor, pool: Any) -> Tensor:
        """Return what lies under boxes (B, P, 4), each read from the level of its size: (B * P, C, s, s)."""
        batch = torch.ones_like(boxes[:, :1, :1]).cumsum(0) - 1
        index = (batch + torch.zeros_like(boxes[..., :1])).reshape(-1, 1)
        rows = torch.cat([index, boxes.reshape(-1, 4)], 1)
        area = (rows[:, 3] - rows[:, 1]) * (rows[:, 4] - rows[:, 2])
        first, count = round(math.log2(self._strides[0])), len(pool.featmap_names)
        level = (
            (4 + (area.clamp(min=1e-6).sqrt() / 224).log2() + 1e-6).floor().clamp(first, first + count - 1)
        )
        whole: Any = 0.0
        for number in range(count):
            part = roi_align(
                levels[number], rows, pool.output_size, 1 / self._strides[number], pool.sampling_ratio
            )
            whole = whole + part * (level == first + number).to(part.dtype)[:, None, None, None]
        return cast("Tensor", whole)


def greedy(boxes: Tensor, most: float, kinds: Tensor | None = None) -> Tensor:
    """Return which of boxes (B, N, 4), best first, greedy suppression of IoU above ``most`` keeps (B, N).

    With ``kinds`` (B, N) only boxes of one kind suppress each other. Exact where no chain of boxes, of which
    each suppresses the next, is longer than 16.
    """
    covers = iou(boxes[:, :, None], boxes[:, None]) > most
    if kinds is not None:
        covers = covers & (kinds[:, :, None] == kinds[:, None])
    order = torch.arange(int(boxes.shape[1]), device=boxes.device)
    above = (covers & (order[:, None] < order[None])).float()
    kept = torch.ones_like(boxes[..., 0])
    for _ in range(_ROUNDS):
        kept = (torch.matmul(kept[:, None], above)[:, 0] < 0.5).float()
    return kept > 0.5


def faster(classes: int, _: Network) -> Rcnn:
    """Make Faster R-CNN on ResNet-50-FPN with frozen norms."""
    return _built(detection.FasterRCNN, "detect", classes)


def mask(classes: int, _: Network) -> Rcnn:
    """Make Mask R-CNN on ResNet-50-FPN with frozen norms."""
    return _built(detection.MaskRCNN, "segment", classes)


def keypoint(classes: int, _: Network) -> Rcnn:
    """Make Keypoint R-CNN on ResNet-50-FPN with frozen norms; COCO's 17 keypoints."""
    return _built(detection.KeypointRCNN, "pose", classes)


def _built(make: Any, task: Task, classes: int) -> Rcnn:
    backbone = resnet_fpn_backbone(
        backbone_name="resnet50", weights=None, norm_layer=FrozenBatchNorm2d, trainable_layers=5
    )
    for module in backbone.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.eps = 0.0  # as the checkpoints want it
    sides = [(32.0 * 2**level,) for level in range(5)]
    return Rcnn(make(backbone, classes + 1), task, (4, 8, 16, 32, 64), sides, _IMAGENET)


def _picked(parts: Tensor, index: Tensor) -> Tensor:
    """Rows (B, D, 4) of (B, N, 4)."""
    return parts.gather(1, index[..., None].expand(-1, -1, 4))


def _clipped(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    x, y = boxes[..., 0::2].clamp(0, size[0]), boxes[..., 1::2].clamp(0, size[1])
    return torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], 2)


def _beside(offsets: Tensor, start: Tensor, weights: tuple[float, ...]) -> Tensor:
    """Decode offsets (B, D, 4) from boxes (B, D, 4), each from its own."""
    return anchors.decode(offsets, start, cast("anchors.Weights", tuple(weights)))


def _points(maps: Tensor, boxes: Tensor) -> Tensor:
    """Return keypoints (B, D, J, 3) of maps (B * D, J, s, s) over their boxes."""
    side = int(maps.shape[2])
    found = peaks(maps, 1.0).reshape(-1, int(boxes.shape[1]), int(maps.shape[1]), 3)
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=1)[:, :, None]
    at = boxes[:, :, None, :2] + (found[..., :2] + 0.5) / side * sides  # the middle of a cell
    return torch.cat([at, found[..., 2:].sigmoid()], 3)


def _pasted(grids: Tensor, boxes: Tensor, cells: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Lay maps of logits (B * D, 1, s, s) over their boxes on maps (B, D, h, w) of the whole picture."""
    width, height = cells
    x = (torch.arange(width, device=boxes.device) + 0.5) * (size[0] / width)
    y = (torch.arange(height, device=boxes.device) + 0.5) * (size[1] / height)
    flat = boxes.reshape(-1, 4)
    sides = (flat[:, 2:] - flat[:, :2]).clamp(min=1e-3)
    across = (x[None] - flat[:, :1]) / sides[:, :1] * 2 - 1  # -1..1 within the box
    down = (y[None] - flat[:, 1:2]) / sides[:, 1:] * 2 - 1
    grid = torch.stack(
        [
            across[:, None] + torch.zeros_like(down)[..., None],
            down[..., None] + torch.zeros_like(across)[:, None],
        ],
        3,
    )
    # beyond its box a mask goes on as at the border; whoever reads it stays within the box
    laid = F.grid_sample(grids, grid, padding_mode="border", align_corners=False)
    return laid.reshape(-1, int(boxes.shape[1]), height, width)

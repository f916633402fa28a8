"""RetinaNet: a feature pyramid, heads shared by its levels, focal loss (Lin et al. 2017).

`retinanet_resnet50_fpn` and its v2 have the names and shapes of torchvision's; `retinanet_small` is ours.
Column 0 of the scores is never learnt, as there.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models as backbones
from torchvision.ops import Conv2dNormActivation, FeaturePyramidNetwork, FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from trainers import anchors
from trainers.config import Loss, Network
from trainers.data.batch import Batch
from trainers.matching import NEITHER, giou, iou, match
from trainers.models import Input
from trainers.models.small import Small

__all__ = ["Output", "RetinaNet", "focal", "resnet50", "resnet50_v2", "small"]

_CODER = (1.0, 1.0, 1.0, 1.0)
_HIGH, _LOW = 0.5, 0.4  # IoU from which an anchor learns an object, and below which it is background
_PRIOR = 0.01  # score of an anchor before it has learnt anything
_IMAGENET = Input("letterbox-topleft", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))

Norm = Callable[[int], nn.Module]


class Output(NamedTuple):
    """What the network says of a batch, N anchors; raw, as torchvision's heads have it."""

    offsets: Tensor  # (B, N, 4) from the anchors
    logits: Tensor  # (B, N, C + 1)
    anchors: Tensor  # (N, 4) xyxy, input pixels


class RetinaNet(nn.Module):
    """A backbone that ends in a pyramid, two heads, and the anchors of each level: ``sides`` in pixels."""

    task = "detect"

    def __init__(
        self,
        backbone: nn.Module,
        head: _Head,
        sides: Sequence[Sequence[float]],
        how: Input,
        boxes: Literal["l1", "giou"],
    ) -> None:
        super().__init__()
        self.backbone, self.head, self.input = backbone, head, how
        self._sides, self._kind = sides, boxes
        self.columns: Sequence[int] = ()  # of the scores that are classes; () = all but the first

    def forward(self, images: Tensor) -> Output:
        features = self.backbone(images)
        grids = [(int(x.shape[2]), int(x.shape[3])) for x in features]
        size = (int(images.shape[3]), int(images.shape[2]))
        boxes = anchors.cell_anchors(grids, size, self._sides, (0.5, 1.0, 2.0)).to(images.device)
        with torch.autocast(images.device.type, enabled=False):  # half precision would move sides by a pixel
            return Output(*self.head([x.float() for x in features]), boxes)

    def decode(self, output: Output) -> dict[str, Tensor]:
        """Return ``boxes`` (B, N, 4) and ``scores`` (B, N, C)."""
        scores = output.logits.sigmoid()
        columns = self.columns or range(1, int(scores.shape[2]))
        scores = scores.index_select(2, torch.tensor(list(columns), device=scores.device))
        return {"boxes": anchors.decode(output.offsets, output.anchors, _CODER), "scores": scores}

    def loss(self, output: Output, batch: Batch, weights: Loss) -> dict[str, Tensor]:
        """Return ``classes`` (focal) and ``boxes`` (L1 of the offsets, or GIoU).

        Both are divided by each picture's number of positives (at least 1), then averaged over pictures.
        """
        classes, boxes = output.logits.sum() * 0, output.offsets.sum() * 0
        for row, real in enumerate(batch.real):
            truth, kinds = batch.boxes[row][real], batch.classes[row][real]
            found = match(iou(truth[:, None], output.anchors[None]), _HIGH, _LOW, "ties")
            place = (found >= 0).nonzero()[:, 0]
            owner, count = found[place], max(len(place), 1)
            target = torch.zeros_like(output.logits[row])
            target[place, kinds[owner] + 1] = 1.0
            known = found != NEITHER
            classes = classes + focal(output.logits[row, known], target[known]).sum() / count
            wide = self._apart(output.offsets[row, place], truth[owner], output.anchors[place])
            boxes = boxes + wide / count
        pictures = len(batch.real)
        return {
            "classes": classes * (weights.classes / pictures),
            "boxes": boxes * (weights.boxes / pictures),
        }

    def _apart(self, offsets: Tensor, truth: Tensor, places: Tensor) -> Tensor:
        """The sum over positives of how far offsets are from the truth."""
        if self._kind == "l1":
            return (offsets - anchors.encode(truth, places, _CODER)).abs().sum()
        return (1 - giou(anchors.decode(offsets, places, _CODER), truth)).sum()


def focal(logits: Tensor, target: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Return cross-entropy that counts little where the network is sure and right; same shape."""
    score = logits.sigmoid()
    wrong = score * (1 - target) + (1 - score) * target
    share = alpha * target + (1 - alpha) * (1 - target)
    return share * wrong**gamma * F.binary_cross_entropy_with_logits(logits, target, reduction="none")


def resnet50(classes: int, _: Network) -> RetinaNet:
    """Make version 1: ResNet-50 with frozen norms, whose checkpoint wants them without epsilon."""
    body = _Body(backbones.resnet50(weights=None, norm_layer=functools.partial(FrozenBatchNorm2d, eps=0.0)))
    pyramid = FeaturePyramidNetwork([512, 1024, 2048], 256, LastLevelP6P7(256, 256))
    return RetinaNet(_Backbone(body, pyramid), _Head(256, 4, classes, None), _sides(32, 5), _IMAGENET, "l1")


def resnet50_v2(classes: int, _: Network) -> RetinaNet:
    """Make version 2: group norm in the heads, P6 from C5, GIoU."""
    pyramid = FeaturePyramidNetwork([512, 1024, 2048], 256, LastLevelP6P7(2048, 256))
    head = _Head(256, 4, classes, functools.partial(nn.GroupNorm, 32))
    backbone = _Backbone(_Body(backbones.resnet50(weights=None)), pyramid)
    return RetinaNet(backbone, head, _sides(32, 5), _IMAGENET, "giou")


def small(classes: int, network: Network) -> RetinaNet:
    """Make our small RetinaNet: strides 8 to 128, heads of two convolutions, small anchors."""
    width = network.neck
    extra = LastLevelP6P7(width, width)
    pyramid = FeaturePyramidNetwork(list(network.widths[2:]), width, extra)
    head = _Head(width, 2, classes, functools.partial(nn.GroupNorm, 8), std=0.03)
    return RetinaNet(_Backbone(Small(network), pyramid), head, _sides(14, 5), Input(), "giou")


def _sides(first: int, levels: int) -> list[tuple[int, int, int]]:
    """Three sides a level, a third of an octave apart, in whole pixels as torchvision has them."""
    return [(s, int(s * 2 ** (1 / 3)), int(s * 2 ** (2 / 3))) for s in (first << k for k in range(levels))]


class _Backbone(nn.Module):
    def __init__(self, body: nn.Module, fpn: FeaturePyramidNetwork) -> None:
        super().__init__()
        self.body, self.fpn = body, fpn

    def forward(self, images: Tensor) -> list[Tensor]:
        features = dict(zip("012", self.body(images), strict=True))
        return list(self.fpn(features).values())


class _Body(nn.Module):
    """A ResNet without its classifier: C3, C4, C5."""

    def __init__(self, net: backbones.ResNet) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu, self.maxpool = net.conv1, net.bn1, net.relu, net.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4

    def forward(self, images: Tensor) -> list[Tensor]:
        c3 = self.layer2(self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(images))))))
        c4 = self.layer3(c3)
        return [c3, c4, self.layer4(c4)]


class _Head(nn.Module):
    def __init__(self, width: int, depth: int, classes: int, norm: Norm | None, std: float = 0.01) -> None:
        super().__init__()
        self.classification_head = _Branch(width, depth, "cls_logits", classes + 1, norm)
        self.regression_head = _Branch(width, depth, "bbox_reg", 4, norm)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.constant_(self.classification_head.cls_logits.bias, -math.log((1 - _PRIOR) / _PRIOR))

    def forward(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        return self.regression_head(features), self.classification_head(features)


class _Branch(nn.Module):
    """Convolutions shared by all levels, then ``columns`` values for each of nine anchors."""

    def __init__(self, width: int, depth: int, last: str, columns: int, norm: Norm | None) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            *(Conv2dNormActivation(width, width, norm_layer=norm) for _ in range(depth))
        )
        self.add_module(last, nn.Conv2d(width, 9 * columns, 3, padding=1))
        self._last, self._columns = last, columns

    def forward(self, features: list[Tensor]) -> Tensor:
        last = getattr(self, self._last)
        return torch.cat([anchors.rows(last(self.conv(x)), self._columns) for x in features], 1)

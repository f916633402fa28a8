"""SSD: default boxes on maps of falling size, softmax with hard negatives (Liu et al. 2016).

`ssd300_vgg16` and `ssdlite320_mobilenet_v3_large` have the names and shapes of torchvision's; `ssd_small` is
ours. Column 0 of the scores is the background.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import mobilenet_v3_large
from torchvision.ops import Conv2dNormActivation

from trainers import anchors
from trainers.anchors import Grid
from trainers.config import Loss, Network
from trainers.data.batch import Batch
from trainers.matching import iou, match
from trainers.models import Input
from trainers.models.small import Small
from trainers.models.yolo import Conv

__all__ = ["Output", "Ssd", "small", "ssd300", "ssdlite320"]

_CODER = (10.0, 10.0, 5.0, 5.0)
_NEGATIVES = 3  # for each positive
_OVERLAP = 0.5

Lay = Callable[[Sequence[Grid], tuple[int, int]], Tensor]  # grids, (width, height) -> (N, 4) xyxy


class Output(NamedTuple):
    """What the network says of a batch, N boxes; raw, as torchvision's heads have it."""

    offsets: Tensor  # (B, N, 4) from the anchors
    logits: Tensor  # (B, N, C + 1)
    anchors: Tensor  # (N, 4) xyxy, input pixels


class Ssd(nn.Module):
    """A backbone that gives maps, a head on each, and the boxes it starts from."""

    task = "detect"

    def __init__(self, backbone: nn.Module, head: nn.Module, lay: Lay, how: Input) -> None:
        super().__init__()
        self.backbone, self.head, self.lay, self.input = backbone, head, lay, how
        self.columns: Sequence[int] = ()  # of the scores that are classes; () = all but the background

    def forward(self, images: Tensor) -> Output:
        features = self.backbone(images)
        grids = [(int(x.shape[2]), int(x.shape[3])) for x in features]
        boxes = self.lay(grids, (int(images.shape[3]), int(images.shape[2]))).to(images.device)
        with torch.autocast(images.device.type, enabled=False):  # half precision would move sides by a pixel
            return Output(*self.head([x.float() for x in features]), boxes)

    def decode(self, output: Output) -> dict[str, Tensor]:
        """Return ``boxes`` (B, N, 4) and ``scores`` (B, N, C) without the background."""
        scores = output.logits.softmax(2)
        columns = self.columns or range(1, int(scores.shape[2]))
        scores = scores.index_select(2, torch.tensor(list(columns), device=scores.device))
        return {"boxes": anchors.decode(output.offsets, output.anchors, _CODER), "scores": scores}

    def loss(self, output: Output, batch: Batch, weights: Loss) -> dict[str, Tensor]:
        """Return ``classes`` (cross-entropy, three hard negatives to a positive) and ``boxes`` (smooth L1).

        Both are summed over the batch and divided by the number of positives (at least 1).
        """
        boxes, targets = output.offsets.sum() * 0, []
        for row, real in enumerate(batch.real):
            truth, kinds = batch.boxes[row][real], batch.classes[row][real]
            found = match(iou(truth[:, None], output.anchors[None]), _OVERLAP, _OVERLAP, "best")
            place = (found >= 0).nonzero()[:, 0]
            wanted = anchors.encode(truth[found[place]], output.anchors[place], _CODER)
            boxes = boxes + F.smooth_l1_loss(output.offsets[row, place], wanted, reduction="sum")
            target = torch.zeros_like(found)
            target[place] = kinds[found[place]] + 1
            targets.append(target)
        target = torch.stack(targets)
        cross = F.cross_entropy(output.logits.transpose(1, 2), target, reduction="none")  # (B, N)
        positive = target > 0
        hardest = cross.detach().masked_fill(positive, -torch.inf).argsort(1, descending=True).argsort(1)
        negative = hardest < _NEGATIVES * positive.sum(1, keepdim=True)
        classes = cross[positive].sum() + cross[negative].sum()
        count = max(int(positive.sum()), 1)
        return {"classes": classes * (weights.classes / count), "boxes": boxes * (weights.boxes / count)}


def ssd300(classes: int, _: Network) -> Ssd:
    """Make SSD300 on VGG-16; input 300x300."""
    ratios = [[2], [2, 3], [2, 3], [2, 3], [2], [2]]
    lay = functools.partial(
        anchors.default_boxes,
        scales=[0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05],
        ratios=ratios,
        steps=[8, 16, 32, 64, 100, 300],
    )
    head = _Head([512, 1024, 512, 256, 256, 256], [4, 6, 6, 6, 4, 4], classes, _plain)
    mean, unit = (0.48235, 0.45882, 0.40784), 1 / 255
    return Ssd(_Vgg(), head, lay, Input("stretch", mean=mean, std=(unit, unit, unit)))


def ssdlite320(classes: int, _: Network) -> Ssd:
    """Make SSDlite on MobileNetV3 large with its reduced tail; input 320x320."""
    scales = [0.2 + 0.15 * level for level in range(6)] + [1.0]
    lay = functools.partial(anchors.default_boxes, scales=scales, ratios=[[2, 3]] * 6)
    head = _Head([672, 480, 512, 256, 256, 128], [6] * 6, classes, _separable)
    half = (0.5, 0.5, 0.5)
    return Ssd(_MobileNet(), head, lay, Input("stretch", mean=half, std=half))


def small(classes: int, network: Network) -> Ssd:
    """Make our small SSD: four maps at strides 8 to 64, square and upright boxes in pixels."""
    sides, ratios = [(12.0, 22.0), (36.0, 56.0), (80.0, 112.0), (150.0, 200.0)], (0.5, 1.0, 2.0, 3.0)
    lay = functools.partial(anchors.cell_anchors, sides=sides, ratios=ratios, centred=True)
    head = _Head([*network.widths[2:], network.widths[4]], [8] * 4, classes, _plain)
    return Ssd(_Four(network), head, lay, Input())


class _Four(nn.Module):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.body, width = Small(network), network.widths[4]
        self.extra = Conv(width, width, 3, 2)

    def forward(self, images: Tensor) -> list[Tensor]:
        features = self.body(images)
        return [*features, self.extra(features[-1])]


class _Vgg(nn.Module):
    """VGG-16 to conv4_3, scaled to a learnt norm; then to fc7, dilated; then four pairs of convolutions."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 3
        for depth, (outputs, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))):
            for _ in range(count):
                layers += [nn.Conv2d(width, outputs, 3, padding=1), nn.ReLU()]
                width = outputs
            layers.append(nn.MaxPool2d(2, ceil_mode=depth == 2))  # 75 -> 38 cells, as in the paper
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        self.scale_weight = nn.Parameter(torch.full((512,), 20.0))
        self.features = nn.Sequential(*layers[:23])
        fc = nn.Sequential(
            nn.MaxPool2d(3, 1, 1),
            nn.Conv2d(512, 1024, 3, padding=6, dilation=6),
            nn.ReLU(),
            nn.Conv2d(1024, 1024, 1),
            nn.ReLU(),
        )
        self.extra = nn.ModuleList(
            [
                nn.Sequential(*layers[23:30], fc),
                _pair(1024, 512, stride=2, padding=1),
                _pair(512, 256, stride=2, padding=1),
                _pair(256, 256),
                _pair(256, 256),
            ]
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.features(images)
        maps = [self.scale_weight.view(1, -1, 1, 1) * F.normalize(x)]
        for block in self.extra:
            x = block(x)
            maps.append(x)
        return maps


def _pair(inputs: int, outputs: int, **how: int) -> nn.Sequential:
    first, second = nn.Conv2d(inputs, outputs // 2, 1), nn.Conv2d(outputs // 2, outputs, 3, **how)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())


_norm = functools.partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)


class _MobileNet(nn.Module):
    """MobileNetV3 large, cut within its last block of stride 2; then four separable blocks of stride 2."""

    def __init__(self) -> None:
        super().__init__()
        net = mobilenet_v3_large(weights=None, norm_layer=_norm, reduced_tail=True).features
        cut = net[13].block
        self.features = nn.Sequential(
            nn.Sequential(*net[:13], cut[0]),
            nn.Sequential(cut[1:], *net[14:]),
        )
        widths = ((480, 512), (512, 256), (256, 256), (256, 128))
        self.extra = nn.ModuleList(_shrink(inputs, outputs) for inputs, outputs in widths)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for block in (*self.features, *self.extra):
            x = block(x)
            maps.append(x)
        return maps


def _shrink(inputs: int, outputs: int) -> nn.Sequential:
    half, how = outputs // 2, {"norm_layer": _norm, "activation_layer": nn.ReLU6}
    return nn.Sequential(
        Conv2dNormActivation(inputs, half, 1, **how),
        Conv2dNormActivation(half, half, 3, 2, groups=half, **how),
        Conv2dNormActivation(half, outputs, 1, **how),
    )


def _plain(inputs: int, outputs: int) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _separable(inputs: int, outputs: int) -> nn.Module:
    wide = Conv2dNormActivation(inputs, inputs, 3, groups=inputs, norm_layer=_norm, activation_layer=nn.ReLU6)
    return nn.Sequential(wide, nn.Conv2d(inputs, outputs, 1))


class _Head(nn.Module):
    """Offsets and logits of every box, from one convolution on each map."""

    def __init__(
        self, widths: list[int], each: list[int], classes: int, make: Callable[[int, int], nn.Module]
    ) -> None:
        super().__init__()
        self.classification_head = _Branch(
            [make(w, n * (classes + 1)) for w, n in zip(widths, each, strict=True)]
        )
        self.regression_head = _Branch([make(w, n * 4) for w, n in zip(widths, each, strict=True)])
        self.columns = classes + 1
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        return self.regression_head(features, 4), self.classification_head(features, self.columns)


class _Branch(nn.Module):
    def __init__(self, modules: list[nn.Module]) -> None:
        super().__init__()
        self.module_list = nn.ModuleList(modules)

    def forward(self, features: list[Tensor], columns: int) -> Tensor:
        """Return (B, N, columns): level after level, row after row, box after box."""
        maps = (module(x) for module, x in zip(self.module_list, features, strict=True))
        return torch.cat([anchors.rows(x, columns) for x in maps], 1)

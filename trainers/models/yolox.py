"""YOLOX: CSPDarknet, path-aggregation pyramid, decoupled heads with objectness, SimOTA assignment.

Ge et al. 2021, arXiv 2107.08430. Names and shapes of modules are those of the official checkpoints, so that
their keys fit as they are.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.config import Loss, Network
from trainers.data.batch import Batch
from trainers.matching import iou
from trainers.models import Input

__all__ = ["SIZES", "Output", "YoloX", "build", "simota"]

_STRIDES = (8, 16, 32)
_PRIOR = 0.01  # score of a cell before it has learnt anything
_RADIUS = 1.5  # strides from an object's centre within which a cell may learn it


class Size(NamedTuple):
    """What tells one YOLOX from another."""

    depth: float
    width: float
    depthwise: bool = False


SIZES = {
    "yolox_nano": Size(0.33, 0.25, True),
    "yolox_tiny": Size(0.33, 0.375),
    "yolox_s": Size(0.33, 0.50),
    "yolox_m": Size(0.67, 0.75),
    "yolox_l": Size(1.0, 1.0),
    "yolox_x": Size(1.33, 1.25),
}


class Output(NamedTuple):
    """What the network says of a batch, N cells; raw, as the official ONNX export has it but for sigmoids."""

    sides: Tensor  # (B, N, 4): centre less cell in strides, log of width and height in strides
    objectness: Tensor  # (B, N, 1) logits
    logits: Tensor  # (B, N, C)
    cells: Tensor  # (N, 3): column, row, stride


def build(classes: int, network: Network) -> YoloX:
    """Make the YOLOX named ``network.arch``."""
    return YoloX(classes, SIZES[network.arch])


class YoloX(nn.Module):
    """The detector. Input (B, 3, H, W) BGR 0..255, sides multiples of 32."""

    input = Input("letterbox-topleft", "bgr", 1.0)
    task = "detect"

    def __init__(self, classes: int, size: Size) -> None:
        super().__init__()
        self.backbone = _Neck(size)
        self.head = _Head(classes, size)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps, module.momentum = 1e-3, 0.03

    def forward(self, images: Tensor) -> Output:
        return self.head(self.backbone(images))

    def decode(self, output: Output) -> dict[str, Tensor]:
        """Return ``boxes`` (B, N, 4) and ``scores`` (B, N, C), objectness times probability."""
        return {"boxes": _boxes(output), "scores": output.logits.sigmoid() * output.objectness.sigmoid()}

    def loss(self, output: Output, batch: Batch, weights: Loss) -> dict[str, Tensor]:
        """Return the terms ``boxes`` (1 - IoU²), ``objectness``, ``classes`` and, where weighed, ``l1``.

        Each is summed and divided by the number of cells that learn an object (at least 1).
        """
        output = Output(*(part.float() for part in output))
        boxes = _boxes(output)
        owned = torch.zeros_like(output.objectness)
        terms = {"boxes": boxes.sum() * 0, "classes": output.logits.sum() * 0, "l1": output.sides.sum() * 0}
        count = 0
        for row in range(len(boxes)):
            truth, kinds = batch.boxes[row][batch.real[row]], batch.classes[row][batch.real[row]]
            with torch.no_grad():
                scores = output.logits[row].sigmoid() * output.objectness[row].sigmoid()
                cell, owner, overlap = simota(scores, boxes[row], output.cells, truth, kinds)
            count += len(cell)
            owned[row, cell] = 1.0
            target = F.one_hot(kinds[owner], output.logits.shape[2]) * overlap[:, None]
            found = iou(boxes[row, cell], truth[owner])
            terms["boxes"] = terms["boxes"] + (1 - found.square()).sum()
            terms["classes"] = terms["classes"] + F.binary_cross_entropy_with_logits(
                output.logits[row, cell], target, reduction="sum"
            )
            if weights.l1:
                wanted = _sides(truth[owner], output.cells[cell])
                terms["l1"] = terms["l1"] + (output.sides[row, cell] - wanted).abs().sum()
        terms["objectness"] = F.binary_cross_entropy_with_logits(output.objectness, owned, reduction="sum")
        factors = {"boxes": weights.boxes, "classes": weights.classes, "l1": weights.l1, "objectness": 1.0}
        return {name: terms[name] * (weight / max(count, 1)) for name, weight in factors.items() if weight}


def simota(
    scores: Tensor, boxes: Tensor, cells: Tensor, truth: Tensor, classes: Tensor, candidates: int = 10
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the cells that learn (F,), the object that each learns (F,), and their IoU (F,).

    scores (N,C) and boxes (N,4) are the network's for one picture, without gradient; cells (N,3) column, row,
    stride; truth (M,4), classes (M,). An object takes as many cells as the sum of its ``candidates`` best
    IoUs says, those of the lowest cost: cross-entropy of the root of the score + 3 * -log IoU, among cells
    whose centre is within 1.5 strides of its own. A cell that two want goes to the one of lower cost.
    """
    nobody = torch.zeros(0, dtype=torch.long, device=boxes.device)
    centre, reach = (truth[:, :2] + truth[:, 2:]) / 2, cells[:, 2] * _RADIUS
    points = (cells[:, :2] + 0.5) * cells[:, 2:]
    near = ((points[None] - centre[:, None]).abs() < reach[None, :, None]).all(2)  # (M, N)
    place = near.any(0).nonzero()[:, 0] if len(truth) else nobody
    if not len(place):
        return nobody, nobody, boxes.new_zeros(0)
    near, overlap = near[:, place], iou(truth[:, None], boxes[place][None])
    with torch.autocast(boxes.device.type, enabled=False):
        root = scores[place].sqrt()[None].expand(len(truth), -1, -1)
        wanted = F.one_hot(classes, scores.shape[1]).float()[:, None].expand_as(root)
        cross = F.binary_cross_entropy(root, wanted, reduction="none").sum(2)
    cost = cross - 3 * (overlap + 1e-8).log() + 1e6 * ~near
    taken = torch.zeros_like(near)
    best = overlap.topk(min(candidates, len(place)), 1).values.sum(1).int().clamp(min=1)
    for row, count in enumerate(best.tolist()):
        taken[row, cost[row].topk(count, largest=False).indices] = True
    shared = taken.sum(0) > 1
    cheapest = cost[:, shared].argmin(0)
    taken[:, shared] = False
    taken[cheapest, shared.nonzero()[:, 0]] = True
    column = taken.any(0).nonzero()[:, 0]
    owner = taken[:, column].int().argmax(0)
    return place[column], owner, overlap[owner, column]


def _boxes(output: Output) -> Tensor:
    """Boxes (B, N, 4) xyxy in input pixels."""
    corner, stride = output.cells[:, :2], output.cells[:, 2:]
    centre = (output.sides[..., :2] + corner) * stride
    half = output.sides[..., 2:].clamp(max=11.0).exp() * stride / 2
    return torch.cat([centre - half, centre + half], -1)


def _sides(boxes: Tensor, cells: Tensor) -> Tensor:
    """What the network should say (F, 4) for boxes at cells."""
    corner, stride = cells[:, :2], cells[:, 2:]
    centre, extent = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    return torch.cat([centre / stride - corner, (extent / stride + 1e-8).log()], 1)


class _Base(nn.Module):
    """Convolution, batch norm, SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.bn(self.conv(x)))


class _Depthwise(nn.Module):
    """A convolution of each channel alone, then one over channels."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.dconv = _Base(inputs, inputs, kernel, stride, inputs)
        self.pconv = _Base(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pconv(self.dconv(x))


_Conv = Callable[..., nn.Module]


def _conv(size: Size) -> _Conv:
    return _Depthwise if size.depthwise else _Base


class _Focus(nn.Module):
    """Every second pixel as a channel of its own: top left, bottom left, top right, bottom right."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conv = _Base(12, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        even, odd = x[..., ::2, :], x[..., 1::2, :]
        return self.conv(torch.cat([even[..., ::2], odd[..., ::2], even[..., 1::2], odd[..., 1::2]], 1))


class _Bottleneck(nn.Module):
    def __init__(self, width: int, conv: _Conv, shortcut: bool) -> None:
        super().__init__()
        self.conv1, self.conv2 = _Base(width, width, 1), conv(width, width, 3)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.conv1(x))
        return x + y if self.shortcut else y


class _Csp(nn.Module):
    """Half of the channels pass a chain of bottlenecks, half go past it."""

    def __init__(self, inputs: int, outputs: int, depth: int, conv: _Conv, shortcut: bool = False) -> None:
        super().__init__()
        half = outputs // 2
        self.conv1, self.conv2 = _Base(inputs, half, 1), _Base(inputs, half, 1)
        self.conv3 = _Base(2 * half, outputs, 1)
        self.m = nn.Sequential(*(_Bottleneck(half, conv, shortcut) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        inner, outer = self.conv1(x), self.conv2(x)
        return self.conv3(torch.cat([self.m(inner), outer], 1))


class _Pools(nn.Module):
    """Pools over 5, 9 and 13 cells beside each cell (SPP)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _Base(width, width // 2, 1), _Base(width // 2 * 4, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        return self.conv2(torch.cat([x, *(F.max_pool2d(x, k, 1, k // 2) for k in (5, 9, 13))], 1))


class _Darknet(nn.Module):
    """Features at strides 8, 16 and 32."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        conv, base, depth = _conv(size), int(size.width * 64), max(round(size.depth * 3), 1)
        stage = functools.partial(_Csp, conv=conv, shortcut=True)
        self.stem = _Focus(base)
        self.dark2 = nn.Sequential(conv(base, base * 2, 3, 2), stage(base * 2, base * 2, depth))
        self.dark3 = nn.Sequential(conv(base * 2, base * 4, 3, 2), stage(base * 4, base * 4, depth * 3))
        self.dark4 = nn.Sequential(conv(base * 4, base * 8, 3, 2), stage(base * 8, base * 8, depth * 3))
        self.dark5 = nn.Sequential(
            conv(base * 8, base * 16, 3, 2),
            _Pools(base * 16),
            _Csp(base * 16, base * 16, depth, conv),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        c3 = self.dark3(self.dark2(self.stem(x)))
        c4 = self.dark4(c3)
        return c3, c4, self.dark5(c4)


class _Neck(nn.Module):
    """The backbone, and features that flow down to the fine grid and up again (PAFPN)."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        conv, depth = _conv(size), round(3 * size.depth)
        w3, w4, w5 = (int(channels * size.width) for channels in (256, 512, 1024))
        self.backbone = _Darknet(size)
        self.lateral_conv0 = _Base(w5, w4, 1)
        self.C3_p4 = _Csp(2 * w4, w4, depth, conv)
        self.reduce_conv1 = _Base(w4, w3, 1)
        self.C3_p3 = _Csp(2 * w3, w3, depth, conv)
        self.bu_conv2 = conv(w3, w3, 3, 2)
        self.C3_n3 = _Csp(2 * w3, w4, depth, conv)
        self.bu_conv1 = conv(w4, w4, 3, 2)
        self.C3_n4 = _Csp(2 * w4, w5, depth, conv)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        c3, c4, c5 = self.backbone(images)
        deep = self.lateral_conv0(c5)
        middle = self.reduce_conv1(self.C3_p4(torch.cat([_twice(deep), c4], 1)))
        p3 = self.C3_p3(torch.cat([_twice(middle), c3], 1))
        p4 = self.C3_n3(torch.cat([self.bu_conv2(p3), middle], 1))
        return p3, p4, self.C3_n4(torch.cat([self.bu_conv1(p4), deep], 1))


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class _Head(nn.Module):
    """Classes from one branch, box and objectness from another, for each grid."""

    def __init__(self, classes: int, size: Size) -> None:
        super().__init__()
        conv, width = _conv(size), int(256 * size.width)

        def branch(_: int) -> nn.Module:
            return nn.Sequential(conv(width, width, 3), conv(width, width, 3))

        self.cls_convs = nn.ModuleList(map(branch, _STRIDES))
        self.reg_convs = nn.ModuleList(map(branch, _STRIDES))
        self.cls_preds = nn.ModuleList(nn.Conv2d(width, classes, 1) for _ in _STRIDES)
        self.reg_preds = nn.ModuleList(nn.Conv2d(width, 4, 1) for _ in _STRIDES)
        self.obj_preds = nn.ModuleList(nn.Conv2d(width, 1, 1) for _ in _STRIDES)
        inputs = (int(channels * size.width) for channels in (256, 512, 1024))
        self.stems = nn.ModuleList(_Base(channels, width, 1) for channels in inputs)
        for conv2d in (*self.cls_preds, *self.obj_preds):
            nn.init.constant_(conv2d.bias, -math.log((1 - _PRIOR) / _PRIOR))

    def forward(self, features: tuple[Tensor, Tensor, Tensor]) -> Output:
        sides, objectness, logits, grids = [], [], [], []
        for level, stride in enumerate(_STRIDES):
            x = self.stems[level](features[level])
            seen, placed = self.cls_convs[level](x), self.reg_convs[level](x)
            with torch.autocast(x.device.type, enabled=False):  # half precision would move sides by a pixel
                seen, placed = seen.float(), placed.float()
                logits.append(self.cls_preds[level](seen).flatten(2))
                sides.append(self.reg_preds[level](placed).flatten(2))
                objectness.append(self.obj_preds[level](placed).flatten(2))
            grids.append(_grid(int(x.shape[2]), int(x.shape[3]), stride, x.device))
        parts = (torch.cat(part, 2).transpose(1, 2) for part in (sides, objectness, logits))
        return Output(*parts, torch.cat(grids))


def _grid(rows: int, columns: int, stride: int, device: torch.device) -> Tensor:
    """Column, row and stride (rows * columns, 3) of each cell."""
    y, x = torch.meshgrid(
        torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij"
    )
    return torch.stack([x, y, torch.full_like(x, stride)], 2).reshape(-1, 3).float()

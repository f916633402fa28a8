"""A small anchor-free YOLO: CSP backbone, path-aggregation neck, decoupled heads, boxes decoded inside.

Every cell of three grids (strides 8, 16, 32) gives one box as distances to its sides and one score per class,
without objectness (TOOD, Feng et al. 2021); grids and decoupled head as in YOLOX (Ge et al. 2021).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.config import Loss, Network
from trainers.data.batch import Batch
from trainers.matching import Assignment, assign, ciou
from trainers.models import Input

__all__ = ["STRIDES", "Output", "Yolo", "build", "cells", "doubled"]

STRIDES = (8, 16, 32)
_PRIOR = 0.01  # score of a cell before it has learnt anything


class Output(NamedTuple):
    """What the network says of a batch; N cells."""

    boxes: Tensor  # (B, N, 4) xyxy, input pixels
    logits: Tensor  # (B, N, C)


def build(classes: int, network: Network) -> Yolo:
    """Make the detector of a configuration."""
    return Yolo(classes, network.widths, network.depths, network.neck)


class Yolo(nn.Module):
    """The detector. Input (B, 3, H, W) RGB 0..1, sides multiples of 32."""

    input = Input()
    task = "detect"

    def __init__(
        self,
        classes: int,
        widths: tuple[int, int, int, int, int] = (16, 24, 48, 80, 112),
        depths: tuple[int, int, int, int] = (1, 2, 2, 1),
        neck: int = 48,
    ) -> None:
        super().__init__()
        w1, w2, w3, w4, w5 = widths
        self.stem = nn.Sequential(Conv(3, w1, 3, 2), Conv(w1, w2, 3, 2), Stage(w2, depths[0]))
        self.stage3 = nn.Sequential(Conv(w2, w3, 3, 2), Stage(w3, depths[1]))
        self.stage4 = nn.Sequential(Conv(w3, w4, 3, 2), Stage(w4, depths[2]))
        self.stage5 = nn.Sequential(Conv(w4, w5, 3, 2), Stage(w5, depths[3]), Pyramid(w5))
        self.neck = Neck((w3, w4, w5), neck)
        self.heads = nn.ModuleList(Head(neck, classes, stride) for stride in STRIDES)

    def forward(self, images: Tensor) -> Output:
        return self.read(self.pyramid(images))

    def pyramid(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the features of the three grids, fine to coarse."""
        c3 = self.stage3(self.stem(images))
        c4 = self.stage4(c3)
        features: tuple[Tensor, Tensor, Tensor] = self.neck(c3, c4, self.stage5(c4))
        return features

    def read(self, features: tuple[Tensor, Tensor, Tensor]) -> Output:
        """Run the heads on the grids."""
        sides, logits = zip(*(head(x) for head, x in zip(self.heads, features, strict=True)), strict=True)
        points, strides = cells(
            tuple((int(x.shape[2]), int(x.shape[3])) for x in features), features[0].device
        )
        distances = torch.cat(sides, 1).clamp(max=6.0).exp() * strides
        left_top, right_bottom = distances.split(2, dim=2)
        return Output(torch.cat([points - left_top, points + right_bottom], 2), torch.cat(logits, 1))

    def decode(self, output: Output) -> dict[str, Tensor]:
        """Return ``boxes`` (B, N, 4) and ``scores`` (B, N, C)."""
        return {"boxes": output.boxes, "scores": output.logits.sigmoid()}

    def loss(self, output: Output, batch: Batch, weights: Loss) -> dict[str, Tensor]:
        """Return the weighted terms ``classes`` (soft-target cross-entropy) and ``boxes`` (CIoU)."""
        return self.assigned(output, batch, weights)[0]

    def assigned(self, output: Output, batch: Batch, weights: Loss) -> tuple[dict[str, Tensor], Assignment]:
        """Return the terms of `loss`, and which cells learn which objects.

        Both terms are divided by the sum of the soft targets of the batch (at least 1), as in TOOD; the boxes
        of a cell weigh as much as its target, so that cells that fit badly move little.
        """
        height, width = batch.images.shape[2:]
        points, _ = cells(tuple((height // s, width // s) for s in STRIDES), output.boxes.device)
        logits, boxes = output.logits.float(), output.boxes.float()
        with torch.no_grad():
            scores = logits.sigmoid()
            found = assign(scores, boxes, points, batch.boxes, batch.classes, batch.real, weights.topk)
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
        return {"classes": weights.classes * class_loss, "boxes": weights.boxes * box_loss}, found


def cells(shapes: tuple[tuple[int, int], ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the centres (N, 2) x, y in input pixels and the strides (N, 1) of grids of (rows, columns)."""
    points, strides = [], []
    for (rows, columns), stride in zip(shapes, STRIDES, strict=True):
        ys = (torch.arange(rows, device=device) + 0.5) * stride
        xs = (torch.arange(columns, device=device) + 0.5) * stride
        grid = torch.stack([xs[None].expand(rows, columns), ys[:, None].expand(rows, columns)], 2)
        points.append(grid.reshape(-1, 2))
        strides.append(torch.full((rows * columns, 1), float(stride), device=device))
    return torch.cat(points), torch.cat(strides)


def doubled(x: Tensor) -> Tensor:
    """Return features (B, C, h, w) at twice their sides, bilinearly."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class Conv(nn.Module):
    """Convolution, batch norm, SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.1)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.norm(self.conv(x)))


class Block(nn.Module):
    """Two 3x3 convolutions with a short cut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = Conv(width, width, 3), Conv(width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))


class Stage(nn.Module):
    """Half of the channels pass a chain of blocks and every link is kept (CSP, ELAN)."""

    def __init__(self, width: int, depth: int, inputs: int = 0) -> None:
        super().__init__()
        self.branch = half = width // 2
        self.enter = Conv(inputs or width, 2 * half)
        self.blocks = nn.ModuleList(Block(half) for _ in range(depth))
        self.leave = Conv((2 + depth) * half, width)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.enter(x).split(self.branch, 1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        return self.leave(torch.cat(parts, 1))


class Pyramid(nn.Module):
    """Pools over 5, 9 and 13 cells beside each cell, so that the deepest grid sees far (SPP)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter, self.leave = Conv(width, width // 2), Conv(width // 2 * 4, width)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.enter(x)]
        for _ in range(3):
            parts.append(F.max_pool2d(parts[-1], 5, 1, 2))
        return self.leave(torch.cat(parts, 1))


class Neck(nn.Module):
    """Features flow down to the fine grid and up again (FPN, PAN); all leave with one width."""

    def __init__(self, inputs: tuple[int, int, int], width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(Conv(channels, width) for channels in inputs)
        self.down4, self.down3 = Stage(width, 1, 2 * width), Stage(width, 1, 2 * width)
        self.step3, self.step4 = Conv(width, width, 3, 2), Conv(width, width, 3, 2)
        self.up4, self.up5 = Stage(width, 1, 2 * width), Stage(width, 1, 2 * width)

    def forward(self, c3: Tensor, c4: Tensor, c5: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        c3, c4, c5 = (conv(x) for conv, x in zip(self.lateral, (c3, c4, c5), strict=True))
        p4 = self.down4(torch.cat([c4, F.interpolate(c5, scale_factor=2.0, mode="nearest")], 1))
        p3 = self.down3(torch.cat([c3, F.interpolate(p4, scale_factor=2.0, mode="nearest")], 1))
        p4 = self.up4(torch.cat([p4, self.step3(p3)], 1))
        p5 = self.up5(torch.cat([c5, self.step4(p4)], 1))
        return p3, p4, p5


class Head(nn.Module):
    """Scores and box sides of one grid, each from its own branch."""

    def __init__(self, width: int, classes: int, stride: int) -> None:
        super().__init__()
        self.score = nn.Sequential(Conv(width, width, 3), nn.Conv2d(width, classes, 1))
        self.side = nn.Sequential(Conv(width, width, 3), nn.Conv2d(width, 4, 1))
        nn.init.constant_(self.score[1].bias, -math.log((1 - _PRIOR) / _PRIOR))
        nn.init.constant_(self.side[1].bias, math.log(2.0 if stride < 32 else 2.5))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return log distances in strides (B, cells, 4) and logits (B, cells, C), both float32."""
        side, score = self.side[0](x), self.score[0](x)
        with torch.autocast(x.device.type, enabled=False):  # half precision would move sides by a pixel
            side, score = self.side[1](side.float()), self.score[1](score.float())
        cells = x.shape[2] * x.shape[3]
        side, score = side.reshape(-1, 4, int(cells)), score.reshape(-1, score.shape[1], int(cells))
        return side.transpose(1, 2), score.transpose(1, 2)

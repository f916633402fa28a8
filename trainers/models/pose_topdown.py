"""Top-down pose: a crop around each person in, a heatmap of every keypoint out.

SimpleBaseline (Xiao et al. 2018): ResNet, three transposed convolutions, one map for each keypoint, learnt as
Gaussians around the truth. Names are torchvision's ResNet's, ``deconv_layers`` and ``final_layer``.
"""

from __future__ import annotations

from typing import cast

import torch
import torchvision
from torch import Tensor, nn

from trainers.models import Input
from trainers.models.yolo import Conv, Stage

__all__ = ["JOINTS", "SimpleBaseline", "Small", "gaussians", "heatmap_loss", "peaks"]

JOINTS = 17
_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class SimpleBaseline(nn.Module):
    """The published network. Input (B, 3, 256, 192), prepared as ``input`` says; output (B, J, 64, 48)."""

    input = Input("stretch", "rgb", 1.0, _MEAN, _STD)

    def __init__(self, joints: int = JOINTS, width: int = 256) -> None:
        super().__init__()
        body = torchvision.models.resnet50(weights=None)
        self.conv1, self.bn1, self.relu, self.maxpool = body.conv1, body.bn1, body.relu, body.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            body.layer1,
            body.layer2,
            body.layer3,
            body.layer4,
        )
        self.deconv_layers = _rise(2048, width, 3)
        self.final_layer = nn.Conv2d(width, joints, 1)

    def forward(self, crops: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(crops))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return cast("Tensor", self.final_layer(self.deconv_layers(x)))


class Small(nn.Module):
    """The same idea for small crops. Input (B, 3, H, W) RGB 0..1, sides multiples of 8; maps at stride 2."""

    input = Input("stretch")

    def __init__(self, joints: int = JOINTS, widths: tuple[int, int, int] = (24, 48, 80)) -> None:
        super().__init__()
        w1, w2, w3 = widths
        self.body = nn.Sequential(
            Conv(3, w1, 3, 2), Conv(w1, w2, 3, 2), Stage(w2, 2), Conv(w2, w3, 3, 2), Stage(w3, 2)
        )
        self.deconv_layers = _rise(w3, w2, 2)
        self.final_layer = nn.Conv2d(w2, joints, 1)

    def forward(self, crops: Tensor) -> Tensor:
        return cast("Tensor", self.final_layer(self.deconv_layers(self.body(crops))))


def gaussians(keypoints: Tensor, size: tuple[int, int], stride: float, sigma: float) -> Tensor:
    """Return the maps (B, J, h, w) that keypoints (B, J, 3) in crop pixels should give; 1 at the keypoint.

    size is (w, h) of the maps, sigma in cells. The middle of cell i is pixel (i + .5) * stride.
    """
    ys = torch.arange(size[1], device=keypoints.device, dtype=keypoints.dtype)
    xs = torch.arange(size[0], device=keypoints.device, dtype=keypoints.dtype)
    at = keypoints[..., :2] / stride - 0.5
    across = (xs - at[..., :1]).square()[..., None, :]
    down = (ys - at[..., 1:]).square()[..., None]
    return torch.exp(-(across + down) / (2 * sigma**2))


def heatmap_loss(maps: Tensor, keypoints: Tensor, stride: float, sigma: float) -> Tensor:
    """Return the mean squared error of maps (B, J, h, w); keypoints (B, J, 3) with v = 0 teach nothing."""
    target = gaussians(keypoints, (maps.shape[3], maps.shape[2]), stride, sigma)
    weight = (keypoints[..., 2] > 0).to(maps.dtype)[..., None, None]
    return ((maps - target).square() * weight).mean() / 2


def peaks(maps: Tensor, stride: float) -> Tensor:
    """Return keypoints (B, J, 3): x, y in crop pixels and the height of the peak.

    The greatest cell, moved a quarter of a cell towards its higher neighbour; all with fixed shapes.
    """
    joints, height, width = (int(side) for side in maps.shape[1:])
    flat = maps.reshape(-1, joints, height * width)
    score, index = flat.max(2)
    row, column = torch.div(index, width, rounding_mode="floor"), index % width

    def beside(dy: int, dx: int) -> Tensor:
        cell = (row + dy).clamp(0, height - 1) * width + (column + dx).clamp(0, width - 1)
        return flat.gather(2, cell[..., None])[..., 0]

    x = column + 0.25 * torch.sign(beside(0, 1) - beside(0, -1))
    y = row + 0.25 * torch.sign(beside(1, 0) - beside(-1, 0))
    return torch.stack([(x + 0.5) * stride, (y + 0.5) * stride, score], 2)


def _rise(inputs: int, width: int, times: int) -> nn.Sequential:
    """Double the sides ``times`` over."""
    parts: list[nn.Module] = []
    for number in range(times):
        parts += [
            nn.ConvTranspose2d(width if number else inputs, width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*parts)

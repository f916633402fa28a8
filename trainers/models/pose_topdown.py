"""Top-down pose: a crop around each person in, a heatmap of every keypoint out.

SimpleBaseline (Xiao et al. 2018): a backbone, transposed convolutions, one map for each keypoint, learnt as
Gaussians around the truth. Names of the published network are torchvision's ResNet's, ``deconv_layers`` and
``final_layer``. As in the published files cell (x, y) of a map is the point (x, y) * stride of the crop.
"""

from __future__ import annotations

from typing import cast

import torch
import torchvision
from torch import Tensor, nn

from trainers.config import Loss, Network
from trainers.data.batch import Batch
from trainers.models import Input
from trainers.models import small as backbone
from trainers.models.yolo import Conv, Stage

__all__ = [
    "JOINTS",
    "STRIDE",
    "WEIGHT",
    "SimpleBaseline",
    "Small",
    "build",
    "gaussians",
    "heatmap_loss",
    "peaks",
]

JOINTS = 17
STRIDE = 4  # of the maps
_SIGMA = 1.5  # of the Gaussians, in cells
WEIGHT = 100.0  # of the loss: most cells are empty, their mean is small
_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def build(classes: int, network: Network) -> Heatmaps:
    """Make the network of a configuration; people are all that it knows."""
    if network.arch == "simple_baseline":
        return SimpleBaseline()
    return Small(network)


class Heatmaps(nn.Module):
    """What both networks share: the loss of a crop's maps, and the pose of the one person in it."""

    task = "pose"
    layout = "heatmaps"
    input = Input()

    def loss(self, maps: Tensor, batch: Batch, _: Loss) -> dict[str, Tensor]:
        """Return the term ``heatmaps``; a picture is one person, or nobody is left in it."""
        if not batch.keypoints.shape[1]:
            return {"heatmaps": maps.float().sum() * 0}
        return {"heatmaps": WEIGHT * heatmap_loss(maps.float(), batch.keypoints[:, 0], STRIDE, _SIGMA)}

    def decode(self, maps: Tensor) -> dict[str, Tensor]:
        """Return ``heatmaps`` (B, J, h, w), and as one row: the whole crop, a mean score, ``keypoints``."""
        points = peaks(maps, STRIDE)
        sides = [0.0, 0.0, float(maps.shape[3] * STRIDE), float(maps.shape[2] * STRIDE)]
        return {
            "boxes": maps.new_tensor(sides).expand(len(maps), 1, 4),
            "scores": points[..., 2].mean(1)[:, None, None],
            "keypoints": points[:, None],
            "heatmaps": maps,
        }


class SimpleBaseline(Heatmaps):
    """The published network. Input (B, 3, 256, 192), prepared as ``input`` says; output (B, J, 64, 48)."""

    input = Input("letterbox", "rgb", 1.0, _MEAN, _STD)

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


class Small(Heatmaps):
    """The same idea on the small YOLO's backbone. Input (B, 3, H, W) RGB 0..1, sides multiples of 32.

    Where a foot is shows in the fine grids, but whether it is the left one shows elsewhere: the near leg is
    the left one of who walks to the left, and the right one of who walks to the right. So the maps rise from
    the grid that sees the whole person, and what the crop is as a whole weighs their channels at every step.
    """

    def __init__(self, network: Network, joints: int = JOINTS) -> None:
        super().__init__()
        width, (_, _, w3, w4, w5) = network.neck, network.widths
        self.body = backbone.Small(network)
        self.lateral = nn.ModuleList(Conv(inputs, width) for inputs in (w4, w3))
        self.merge = nn.ModuleList(Stage(width, 1) for _ in range(2))
        self.deconv_layers = nn.ModuleList(_rise(inputs, width, 1) for inputs in (w5, width, width))
        self.whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(w5, width, 1), nn.SiLU())
        self.gates = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(3))
        self.final_layer = nn.Conv2d(width, joints, 1)

    def forward(self, crops: Tensor) -> Tensor:
        c3, c4, x = self.body(crops)
        whole = self.whole(x)
        weights = [2 * gate(whole).sigmoid() for gate in self.gates]
        for number, finer in enumerate((c4, c3)):
            x = self.lateral[number](finer) + self.deconv_layers[number](x)
            x = self.merge[number](x * weights[number])
        return cast("Tensor", self.final_layer(self.deconv_layers[2](x) * weights[2]))


def gaussians(keypoints: Tensor, size: tuple[int, int], stride: float, sigma: float) -> Tensor:
    """Return the maps (B, J, h, w) that keypoints (B, J, 3) in crop pixels should give; 1 at the keypoint.

    size is (w, h) of the maps, sigma in cells. Cell i is pixel i * stride.
    """
    ys = torch.arange(size[1], device=keypoints.device, dtype=keypoints.dtype)
    xs = torch.arange(size[0], device=keypoints.device, dtype=keypoints.dtype)
    at = keypoints[..., :2] / stride
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

    The greatest cell, moved a quarter of a cell towards its higher neighbour where it has two, as the runtime
    does; all with fixed shapes.
    """
    joints, height, width = (int(side) for side in maps.shape[1:])
    flat = maps.reshape(-1, joints, height * width)
    score, index = flat.max(2)
    row, column = torch.div(index, width, rounding_mode="floor"), index % width

    def towards(at: Tensor, limit: int, step: int) -> Tensor:
        reach = ((at > 0) & (at < limit - 1)).long() * step
        after, before = (flat.gather(2, (index + way)[..., None])[..., 0] for way in (reach, -reach))
        return 0.25 * torch.sign(after - before)

    x, y = column + towards(column, width, 1), row + towards(row, height, width)
    return torch.stack([x * stride, y * stride, score], 2)


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

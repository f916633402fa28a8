"""YolactEdge: YOLACT whose pyramid is split, so that frames between key frames borrow its coarse levels.

Liu et al. 2021. A key frame runs the whole network. Between key frames only the shallow backbone runs; p4 and
p5 are the key frame's, moved by a small flow network (partial feature transform), and p3 is made anew. Names
and shapes are those of the official checkpoints.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.config import Network
from trainers.models import Input
from trainers.models.yolact import (
    OFFICIAL,
    SQUARE,
    Anchors,
    Levels,
    Output,
    Yolacts,
    descend,
    parts,
    resize,
    smooth,
    smoothing,
)
from trainers.models.yolact_backbones import Backbone, Maps

__all__ = [
    "Between",
    "FlowNetMini",
    "State",
    "YolactEdge",
    "YolactEdgeVideo",
    "build",
    "build_video",
    "motion",
    "official",
    "warp",
]


class State(NamedTuple):
    """What frames until the next key frame need of the key frame."""

    p4: Tensor  # (B, width, H/16, W/16)
    p5: Tensor  # (B, width, H/32, W/32)
    lateral: Tensor  # (B, 64, H/8, W/8), reduced


class Between(NamedTuple):
    """What the flow network makes of a frame and its key frame."""

    levels: Levels  # p3, p4, p5 as phase two reads them
    warped: tuple[Tensor, Tensor]  # p4 and p5 before they are refined
    flows: tuple[Tensor, Tensor, Tensor]  # (B, 2, h, w) at strides 8, 16, 32, see `warp`


class YolactEdge(Yolacts):
    """The image model. Input (B, 3, H, W), prepared as ``input`` says."""

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        width: int = 256,
        prototypes: int = 32,
        anchors: Anchors = SQUARE,
        pixels: Input = OFFICIAL,
        *,
        is_fine: bool = False,
    ) -> None:
        super().__init__(backbone, classes, width, prototypes, anchors, pixels, is_fine=is_fine)
        self.fpn_phase_1 = Descent(backbone.channels, width)
        self.fpn_phase_2 = Smoothing(width)

    def forward(self, images: Tensor) -> Output:
        levels, _ = self.fpn_phase_1(self.backbone(images))
        return self.read(self.fpn_phase_2(levels), images)


class YolactEdgeVideo(YolactEdge):
    """The video model: called, it is the image model; `key` and `between` are the two kinds of frame.

    ``reduced`` is the width of the lateral that the flow network compares.
    """

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        width: int = 256,
        prototypes: int = 32,
        anchors: Anchors = SQUARE,
        pixels: Input = OFFICIAL,
        reduced: int = 64,
        *,
        is_fine: bool = False,
    ) -> None:
        super().__init__(backbone, classes, width, prototypes, anchors, pixels, is_fine=is_fine)
        self.spa = Refinement(width)
        self.flow_net_pre_convs = Reduction(width, reduced)
        self.flow_net = FlowNetMini(reduced, width)

    def key(self, images: Tensor) -> tuple[Output, State]:
        """Run the image model, and keep what later frames need."""
        levels, lateral = self.fpn_phase_1(self.backbone(images))
        state = State(levels[1], levels[2], self.flow_net_pre_convs(lateral))
        return self.read(self.fpn_phase_2(levels), images), state

    def between(self, images: Tensor, state: State) -> Output:
        """Run a frame between key frames; the state is always the key frame's, never a warped one."""
        return self.read(self.fpn_phase_2(self.transform(images, state).levels), images)

    def transform(self, images: Tensor, state: State) -> Between:
        """Make the pyramid of a frame out of its own fine level and the key frame's coarse ones."""
        return self.move(self.fpn_phase_1.lat_layers[2](self.backbone.shallow(images)), state)

    def move(self, lateral: Tensor, state: State) -> Between:
        """Make the pyramid of a frame of which only the lateral of the fine level is known."""
        moves = self.flow_net(self.flow_net_pre_convs(lateral), state.lateral)
        _, to4, to5 = moves
        p4, p5 = (
            warp(level, move.flow) * move.scale + move.bias
            for level, move in zip((state.p4, state.p5), (to4, to5), strict=True)
        )
        p3 = resize(p4, lateral) + lateral
        flows = cast("tuple[Tensor, Tensor, Tensor]", tuple(move.flow for move in moves))
        return Between((p3, *self.spa(lateral, p4, p5)), (p4, p5), flows)


def build(classes: int, network: Network) -> YolactEdge:
    """Make the image model of a configuration."""
    return YolactEdge(**parts(classes, network))


def build_video(classes: int, network: Network) -> YolactEdgeVideo:
    """Make the video model of a configuration; our small one compares narrower laterals."""
    made = parts(classes, network)
    return YolactEdgeVideo(**made, reduced=16 if "width" in made else 64)


class Descent(nn.Module):
    """The pyramid's first half: laterals and their top-down sums."""

    def __init__(self, channels: tuple[int, int, int], width: int) -> None:
        super().__init__()
        self.lat_layers = nn.ModuleList(nn.Conv2d(inputs, width, 1) for inputs in reversed(channels))

    def forward(self, maps: Maps) -> tuple[Levels, Tensor]:
        """Return (p3, p4, p5) and the lateral of c3."""
        return descend(maps, self.lat_layers)


class Smoothing(nn.Module):
    """The pyramid's second half: a convolution on each level, two coarser levels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pred_layers, self.downsample_layers = smoothing(width)

    def forward(self, levels: Levels) -> tuple[Tensor, ...]:
        return smooth(levels, self.pred_layers, self.downsample_layers)


class Reduction(nn.Module):
    """Narrows a lateral for the flow network."""

    def __init__(self, width: int, reduced: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(_leaky(width, reduced))

    def forward(self, lateral: Tensor) -> Tensor:
        return cast("Tensor", self.convs(lateral))


class Refinement(nn.Module):
    """Adds to each warped level what the frame's own lateral says of it (SPA)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.refine_convs = nn.ModuleList(_leaky(2 * width, width) for _ in range(2))

    def forward(self, lateral: Tensor, p4: Tensor, p5: Tensor) -> tuple[Tensor, Tensor]:
        refined = []
        for conv, level in zip(self.refine_convs, (p4, p5), strict=True):
            lateral = resize(lateral, level)  # by steps, the second from the first
            refined.append(level + conv(torch.cat([level, lateral], 1)))
        return refined[0], refined[1]


class Move(NamedTuple):
    """How a level of the key frame becomes the frame's."""

    flow: Tensor  # (B, 2, h, w), see `warp`
    scale: Tensor  # (B, width, h, w)
    bias: Tensor  # (B, width, h, w)


class FlowNetMini(nn.Module):
    """Flow at three strides from two reduced laterals, coarse to fine."""

    def __init__(self, reduced: int = 64, width: int = 256) -> None:
        super().__init__()
        r = reduced
        self.conv1 = nn.Sequential(_leaky(2 * r, r), _leaky(r, r))
        self.conv2 = nn.Sequential(_leaky(r, 2 * r, 2), _leaky(2 * r, 2 * r))
        self.conv3 = nn.Sequential(_leaky(2 * r, 4 * r, 2), _leaky(4 * r, 4 * r))
        self.pred3 = Mover(4 * r, width)
        self.pred2, self.pred1 = Mover(4 * r + 2, width), Mover(2 * r + 2, width)
        self.upfeat3, self.upflow3 = _plain(4 * r, 2 * r), _plain(2, 2)
        self.upfeat2, self.upflow2 = _plain(4 * r + 2, r), _plain(2, 2)

    def forward(self, now: Tensor, key: Tensor) -> tuple[Move, Move, Move]:
        """Return the moves from key frame to frame at strides 8, 16 and 32."""
        x1 = self.conv1(torch.cat([now, key], 1))
        x2 = self.conv2(x1)
        x3 = self.conv3(x2)
        to5: Move = self.pred3(x3)
        x2 = torch.cat([x2, self.upfeat3(resize(x3, x2)), self.upflow3(resize(to5.flow, x2))], 1)
        to4: Move = self.pred2(x2)
        x1 = torch.cat([x1, self.upfeat2(resize(x2, x1)), self.upflow2(resize(to4.flow, x1))], 1)
        return self.pred1(x1), to4, to5


class Mover(nn.Module):
    """Reads flow, scale and bias off features; scale starts at one."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.conv = _plain(inputs, 2)
        self.scale, self.bias = nn.Conv2d(inputs, width, 1), nn.Conv2d(inputs, width, 1)
        nn.init.ones_(self.scale.bias)

    def forward(self, x: Tensor) -> Move:
        return Move(self.conv(x), self.scale(x), self.bias(x))


def warp(x: Tensor, flow: Tensor) -> Tensor:
    """Sample ``x`` (B, C, h, w) where ``flow`` (B, 2, h, w) points; zero outside.

    A flow of 8 is half the picture's width or height, from corner centre to corner centre.
    """
    height, width = x.shape[2:]
    ys = torch.linspace(-1, 1, int(height), device=x.device)
    xs = torch.linspace(-1, 1, int(width), device=x.device)
    grid = torch.stack([xs[None].expand(int(height), -1), ys[:, None].expand(-1, int(width))], 2)
    return F.grid_sample(x, grid + flow.permute(0, 2, 3, 1) / 8, align_corners=True)


def motion(flows: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Return (B,): the root of the mean square of the flow at stride 16, in shares of the picture's size."""
    return (flows[1] / 16).square().sum(1).mean((1, 2)).sqrt()


def official(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name the weights of an official YOLACT file as YolactEdge does; those of YolactEdge stay as they are.

    The first files hold the backbone twice: its second names, ``backbone.layer1...``, are dropped.
    """
    named = {}
    for name, value in weights.items():
        if re.match(r"backbone\.layer\d", name):
            continue
        name = re.sub(r"^fpn\.(?=lat_layers\.)", "fpn_phase_1.", name)
        named[re.sub(r"^fpn\.", "fpn_phase_2.", name)] = value
    return named


def _leaky(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.LeakyReLU(0.1, inplace=True))


def _plain(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)

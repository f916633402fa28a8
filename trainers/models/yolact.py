"""YOLACT: boxes, classes and mask coefficients from anchors; prototypes that the coefficients mix to masks.

Bolya et al. 2019. Names and shapes are those of the official checkpoints; so is the choice that anchors of
all aspect ratios are square, which those checkpoints are trained with.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.config import Loss, Network
from trainers.data.batch import Batch
from trainers.models import Input
from trainers.models.yolact_backbones import BACKBONES, Backbone, Maps, Small
from trainers.models.yolact_loss import MOST, decode, yolact_loss
from trainers.models.yolo import Conv, doubled

__all__ = ["FPN", "Anchors", "Head", "Output", "Yolact", "Yolacts", "build", "parts", "priors"]

OFFICIAL = Input("stretch", "rgb", 1.0, (123.68, 116.78, 103.94), (58.40, 57.12, 57.38))  # of 550x550

Levels = tuple[Tensor, Tensor, Tensor]  # strides 8, 16, 32


class Anchors(NamedTuple):
    """The sides of the priors, in input pixels; defaults are those of the official checkpoints."""

    scales: tuple[float, ...] = (24.0, 48.0, 96.0, 192.0, 384.0)  # one of each level
    square: bool = True  # ratios only change the size, as those checkpoints are trained with
    kinds: tuple[tuple[float, float], ...] = (
        (1.0, 1.0),
        (1.0, 0.5),
        (1.0, 2.0),
    )  # factor of the scale, ratio


SQUARE = Anchors()
# for 320x192: nearly every rendered object overlaps one by half, most overlap several
_SMALL = Anchors(
    scales=(16.0, 40.0, 70.0, 110.0, 200.0),
    square=False,
    kinds=((1.0, 1.0), (1.0, 0.45), (1.0, 2.0), (1.41, 1.0), (1.41, 0.45), (1.41, 2.0)),
)


class Output(NamedTuple):
    """What the network says of a batch, N priors; raw, as the official implementation's training has it."""

    loc: Tensor  # (B, N, 4) offsets from the priors
    conf: Tensor  # (B, N, C + 1) logits, column 0 is the background
    coefficients: Tensor  # (B, N, P) -1..1
    prototypes: Tensor  # (B, P, h, w) 0 or more
    semantic: Tensor  # (B, C, H/8, W/8) logits; none of it outside training: (B, C, 0, 0)
    priors: Tensor  # (N, 4) cx, cy, w, h as shares of the picture
    size: tuple[int, int]  # width, height of the input


class Yolacts(nn.Module):
    """What the image model and the video model share: prototypes, heads, semantic map; loss and decoding."""

    task = "segment"

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
        super().__init__()
        self.anchors, self.input = anchors, pixels
        self.backbone = backbone
        self.proto_net = FineProtonet(width, prototypes) if is_fine else Protonet(width, prototypes)
        self.prediction_layers = nn.ModuleList([Head(width, classes, prototypes, len(anchors.kinds))])
        self.semantic_seg_conv = nn.Conv2d(width, classes, 1)

    def read(self, levels: tuple[Tensor, ...], images: Tensor) -> Output:
        """Run prototypes and heads on the pyramid's five levels."""
        head = self.prediction_layers[0]
        loc, conf, coefficients = zip(*(head(level) for level in levels), strict=True)
        prototypes = F.relu(self.proto_net(levels[0], images))
        semantic = self.semantic_seg_conv(levels[0]) if self.training else levels[0][:, :0]
        shapes = tuple((int(level.shape[2]), int(level.shape[3])) for level in levels)
        size = (int(images.shape[3]), int(images.shape[2]))
        places = priors(shapes, size, self.anchors).to(images.device)
        raw = (torch.cat(parts, 1).float() for parts in (loc, conf, coefficients))
        return Output(*raw, prototypes.float(), semantic.float(), places, size)

    def loss(self, output: Output, batch: Batch, _: Loss) -> dict[str, Tensor]:
        """Return the terms ``boxes``, ``classes``, ``masks`` and ``semantic``, weighted as in the paper."""
        return yolact_loss(output, batch, self.proto_net.most)

    def decode(self, output: Output) -> dict[str, Tensor]:
        """Return ``boxes``, ``scores``, ``coefficients`` (B, N, P) and ``prototypes`` (B, P, h, w)."""
        whole = torch.tensor([*output.size, *output.size], dtype=torch.float32, device=output.loc.device)
        return {
            "boxes": decode(output.loc, output.priors) * whole,
            "scores": F.softmax(output.conf, 2)[:, :, 1:],
            "coefficients": output.coefficients,
            "prototypes": output.prototypes,
        }


class Yolact(Yolacts):
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
        self.fpn = FPN(backbone.channels, width)

    def forward(self, images: Tensor) -> Output:
        return self.read(self.fpn(self.backbone(images)), images)


def parts(classes: int, network: Network) -> dict[str, Any]:
    """Return a model's arguments: the official sizes where ``network.arch`` ends in a backbone."""
    backbone = network.arch.rpartition("_")[2]
    if backbone in BACKBONES:
        return {"backbone": BACKBONES[backbone](), "classes": classes}
    return {
        "backbone": Small(network.widths, network.depths),
        "classes": classes,
        "width": network.neck,
        "prototypes": network.prototypes,
        "anchors": _SMALL,
        "pixels": Input(),
        "is_fine": True,
    }


def build(classes: int, network: Network) -> Yolact:
    """Make the image model of a configuration."""
    return Yolact(**parts(classes, network))


class FPN(nn.Module):
    """Feature pyramid: top-down sums of laterals, a convolution on each, two coarser levels.

    Layers are stored from coarse to fine, as in the official files.
    """

    def __init__(self, channels: tuple[int, int, int], width: int) -> None:
        super().__init__()
        self.lat_layers = nn.ModuleList(nn.Conv2d(inputs, width, 1) for inputs in reversed(channels))
        self.pred_layers, self.downsample_layers = smoothing(width)

    def forward(self, maps: Maps) -> tuple[Tensor, ...]:
        return smooth(descend(maps, self.lat_layers)[0], self.pred_layers, self.downsample_layers)


def smoothing(width: int) -> tuple[nn.ModuleList, nn.ModuleList]:
    """Return the convolutions of the three levels, coarse to fine, and those that make two coarser ones."""
    return (
        nn.ModuleList(nn.Conv2d(width, width, 3, 1, 1) for _ in range(3)),
        nn.ModuleList(nn.Conv2d(width, width, 3, 2, 1) for _ in range(2)),
    )


def descend(maps: Maps, laterals: nn.ModuleList) -> tuple[Levels, Tensor]:
    """Return the top-down sums (p3, p4, p5), and the lateral of the finest map alone."""
    lat5, lat4, lat3 = laterals
    p5 = lat5(maps.c5)
    p4 = resize(p5, maps.c4) + lat4(maps.c4)
    lateral = lat3(maps.c3)
    return (resize(p4, maps.c3) + lateral, p4, p5), lateral


def smooth(levels: Levels, convs: nn.ModuleList, coarser: nn.ModuleList) -> tuple[Tensor, ...]:
    """Return the five levels that heads read."""
    outs = [F.relu(conv(x)) for conv, x in zip(reversed(convs), levels, strict=True)]
    for conv in coarser:
        outs.append(conv(outs[-1]))
    return tuple(outs)


def resize(x: Tensor, like: Tensor) -> Tensor:
    """Resize bilinearly to the sides of another map."""
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


class Head(nn.Module):
    """Box offsets, class logits and mask coefficients of the priors of a level; shared by all levels."""

    def __init__(self, width: int, classes: int, prototypes: int, kinds: int = 3) -> None:
        super().__init__()
        self.kinds = kinds
        self.columns = (4, classes + 1, prototypes)
        self.upfeature = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1), nn.ReLU(inplace=True))
        self.bbox_layer, self.conf_layer, self.mask_layer = (
            nn.Conv2d(width, kinds * columns, 3, 1, 1) for columns in self.columns
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return loc (B, n, 4), conf (B, n, C + 1) and coefficients (B, n, P); n = kinds * cells."""
        x = self.upfeature(x)
        priors_of_level = int(self.kinds * x.shape[2] * x.shape[3])
        loc, conf, mask = (
            layer(x).permute(0, 2, 3, 1).reshape(-1, priors_of_level, columns)
            for layer, columns in zip(
                (self.bbox_layer, self.conf_layer, self.mask_layer), self.columns, strict=True
            )
        )
        return loc, conf, torch.tanh(mask)


class _Double(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return doubled(x)


class Protonet(nn.Sequential):
    """The branch that makes prototypes at twice the sides of the finest level."""

    most = MOST  # masks of one picture that are learnt

    def __init__(self, width: int, prototypes: int) -> None:
        convs = [nn.Conv2d(width, width, 3, 1, 1) for _ in range(4)]
        before = [part for conv in convs[:3] for part in (conv, nn.ReLU(inplace=True))]
        # the second ReLU changes nothing, but numbers in the official files count it
        middle = [_Double(), nn.ReLU(inplace=True)]
        after = [convs[3], nn.ReLU(inplace=True), nn.Conv2d(width, prototypes, 1)]
        super().__init__(*before, *middle, *after)

    def forward(self, level: Tensor, _: Tensor) -> Tensor:
        return cast("Tensor", super().forward(level))


class FineProtonet(nn.Module):
    """Prototypes at half the picture's sides, for small inputs, where a limb is narrower than a cell.

    The level tells what is where; the picture itself, seen through two convolutions, tells where it ends. The
    picture is the frame's own between key frames, too.
    """

    most = 24  # masks of one picture that are learnt, sixteen times as large as a level's
    _FINE = 16  # channels at half the picture's sides

    def __init__(self, width: int, prototypes: int) -> None:
        super().__init__()
        self.look2, self.look4 = Conv(3, self._FINE, 3, 2), Conv(self._FINE, width // 2, 3, 2)
        self.enter = Conv(width, width, 3)
        self.join4, self.merge4 = Conv(width // 2, width), Conv(width, width, 3)
        self.narrow, self.merge2 = Conv(width, self._FINE), Conv(self._FINE, self._FINE, 3)
        self.leave = nn.Conv2d(self._FINE, prototypes, 1)

    def forward(self, level: Tensor, images: Tensor) -> Tensor:
        at2 = self.look2(images)
        at4 = self.merge4(doubled(self.enter(level)) + self.join4(self.look4(at2)))
        return cast("Tensor", self.leave(self.merge2(doubled(self.narrow(at4)) + at2)))


@functools.lru_cache(maxsize=8)
def priors(shapes: tuple[tuple[int, int], ...], size: tuple[int, int], anchors: Anchors) -> Tensor:
    """Return the anchors (N, 4) as cx, cy, w, h in shares of the picture of ``size`` (width, height).

    shapes are the (rows, columns) of the levels; each cell has the anchors' kinds in turn. Ratio r widens a
    scale by sqrt(r) and, unless anchors are square, lowers it by as much.
    """
    levels = []
    for (height, width), scale in zip(shapes, anchors.scales, strict=True):
        cy, cx = torch.meshgrid(
            (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij"
        )
        cells = []
        for factor, ratio in anchors.kinds:
            across = scale * factor * ratio**0.5
            down = across if anchors.square else scale * factor / ratio**0.5
            sides = torch.full_like(cx, across / size[0]), torch.full_like(cx, down / size[1])
            cells.append(torch.stack([cx, cy, *sides], 2))
        levels.append(torch.stack(cells, 2).reshape(-1, 4))
    return torch.cat(levels)

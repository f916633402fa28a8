"""Backbones as YOLACT's checkpoints name them: ResNet-50, ResNet-101, MobileNetV2, and a small one of ours.

Each gives the maps at strides 8, 16 and 32. Names and shapes are those of the official files (ResNet: He et
al. 2016, stride in the 3x3 convolution; MobileNetV2: Sandler et al. 2018).
"""

from __future__ import annotations

from typing import NamedTuple, cast

from torch import Tensor, nn

from trainers.models.yolo import Conv, Pyramid, Stage

__all__ = ["BACKBONES", "Backbone", "Maps", "MobileNetV2", "ResNet", "Small"]


class Maps(NamedTuple):
    """Features of a batch of pictures."""

    c3: Tensor  # (B, C3, H/8, W/8), sides rounded up
    c4: Tensor  # (B, C4, H/16, W/16)
    c5: Tensor  # (B, C5, H/32, W/32)


class Backbone(nn.Module):
    """What every backbone offers; ``shallow`` and ``deep`` in turn are the whole."""

    channels: tuple[int, int, int]  # of c3, c4, c5

    def shallow(self, images: Tensor) -> Tensor:
        """Return c3 alone: all that a picture between key frames is looked at."""
        raise NotImplementedError

    def deep(self, c3: Tensor) -> tuple[Tensor, Tensor]:
        """Return c4 and c5."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Maps:
        c3 = self.shallow(images)
        return Maps(c3, *self.deep(c3))


class ResNet(Backbone):
    """ResNet of bottlenecks; ``depths`` (3, 4, 6, 3) is ResNet-50, (3, 4, 23, 3) is ResNet-101."""

    channels = (512, 1024, 2048)

    def __init__(self, depths: tuple[int, int, int, int] = (3, 4, 6, 3)) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        inputs = 64
        for number, depth in enumerate(depths):
            width = 64 << number
            first = Bottleneck(inputs, width, 1 if number == 0 else 2)
            inputs = width * 4
            self.layers.append(nn.Sequential(first, *(Bottleneck(inputs, width) for _ in range(depth - 1))))
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)

    def shallow(self, images: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        return cast("Tensor", self.layers[1](self.layers[0](x)))

    def deep(self, c3: Tensor) -> tuple[Tensor, Tensor]:
        c4 = self.layers[2](c3)
        return c4, self.layers[3](c4)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around a short cut."""

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, width * 4, 1, bias=False), nn.BatchNorm2d(width * 4)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride > 1 or inputs != width * 4:
            short = nn.Conv2d(inputs, width * 4, 1, stride, bias=False)
            self.downsample = nn.Sequential(short, nn.BatchNorm2d(width * 4))

    def forward(self, x: Tensor) -> Tensor:
        short = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return cast("Tensor", self.relu(self.bn3(self.conv3(x)) + short))


class MobileNetV2(Backbone):
    """MobileNetV2 at width 1. Its last two stages feed nothing; the official files hold them all the same."""

    channels = (32, 64, 160)
    _STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2))
    _UNUSED = (6, 320, 1, 1)

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([_norm6(3, 32, 3, 2)])
        inputs = 32
        for expand, width, depth, stride in (*self._STAGES, self._UNUSED):
            blocks = [
                Inverted(inputs if n == 0 else width, width, stride if n == 0 else 1, expand)
                for n in range(depth)
            ]
            self.layers.append(nn.Sequential(*blocks))
            inputs = width
        self.layers.append(_norm6(inputs, 1280))

    def shallow(self, images: Tensor) -> Tensor:
        return self._pass(images, 0, 4)

    def deep(self, c3: Tensor) -> tuple[Tensor, Tensor]:
        c4 = self._pass(c3, 4, 5)
        return c4, self._pass(c4, 5, 7)

    def _pass(self, x: Tensor, start: int, stop: int) -> Tensor:
        for number in range(start, stop):
            x = self.layers[number](x)
        return x


class Inverted(nn.Module):
    """Widen, filter each channel, narrow; a short cut where the shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: int, expand: int) -> None:
        super().__init__()
        wide = inputs * expand
        parts = [_norm6(inputs, wide)] if expand > 1 else []
        parts.append(_norm6(wide, wide, 3, stride, wide))
        self.conv = nn.Sequential(*parts, nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.short = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.short else y


class Small(Backbone):
    """The backbone of our small YOLO, for models that are trained from nothing within minutes."""

    def __init__(
        self,
        widths: tuple[int, int, int, int, int] = (16, 24, 48, 80, 112),
        depths: tuple[int, int, int, int] = (1, 2, 2, 1),
    ) -> None:
        super().__init__()
        w1, w2, w3, w4, w5 = widths
        self.channels = (w3, w4, w5)
        self.stem = nn.Sequential(Conv(3, w1, 3, 2), Conv(w1, w2, 3, 2), Stage(w2, depths[0]))
        self.stage3 = nn.Sequential(Conv(w2, w3, 3, 2), Stage(w3, depths[1]))
        self.stage4 = nn.Sequential(Conv(w3, w4, 3, 2), Stage(w4, depths[2]))
        self.stage5 = nn.Sequential(Conv(w4, w5, 3, 2), Stage(w5, depths[3]), Pyramid(w5))

    def shallow(self, images: Tensor) -> Tensor:
        return cast("Tensor", self.stage3(self.stem(images)))

    def deep(self, c3: Tensor) -> tuple[Tensor, Tensor]:
        c4 = self.stage4(c3)
        return c4, self.stage5(c4)


BACKBONES = {
    "resnet50": lambda: ResNet((3, 4, 6, 3)),
    "resnet101": lambda: ResNet((3, 4, 23, 3)),
    "mobilenetv2": MobileNetV2,
}


def _norm6(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU cut at 6."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True))

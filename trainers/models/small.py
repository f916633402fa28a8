"""The small backbone that our own SSD and RetinaNet stand on: that of the small YOLO."""

from __future__ import annotations

from torch import Tensor, nn

from trainers.config import Network
from trainers.models.yolo import Conv, Pyramid, Stage

__all__ = ["Small"]


class Small(nn.Module):
    """Features at strides 8, 16 and 32 of ``network.widths[2:]`` channels."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        (w1, w2, w3, w4, w5), depths = network.widths, network.depths
        self.stem = nn.Sequential(Conv(3, w1, 3, 2), Conv(w1, w2, 3, 2), Stage(w2, depths[0]))
        self.stage3 = nn.Sequential(Conv(w2, w3, 3, 2), Stage(w3, depths[1]))
        self.stage4 = nn.Sequential(Conv(w3, w4, 3, 2), Stage(w4, depths[2]))
        self.stage5 = nn.Sequential(Conv(w4, w5, 3, 2), Stage(w5, depths[3]), Pyramid(w5))

    def forward(self, images: Tensor) -> list[Tensor]:
        c3 = self.stage3(self.stem(images))
        c4 = self.stage4(c3)
        return [c3, c4, self.stage5(c4)]

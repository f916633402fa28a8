"""A training sample, and a batch of them as tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Batch", "Sample", "collate"]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One picture with its objects."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    boxes: NDArray[np.float32]  # (M, 4) xyxy pixels
    classes: NDArray[np.int64]  # (M,)


class Batch(NamedTuple):
    """Pictures and objects of one step; objects are padded to the most that a picture has."""

    images: Tensor  # (B, 3, H, W) float32 0..1
    boxes: Tensor  # (B, M, 4)
    classes: Tensor  # (B, M) long
    real: Tensor  # (B, M) bool, False where padded

    def to(self, device: torch.device) -> Batch:
        """Return the batch on that device."""
        return Batch(*(part.to(device) for part in self))


def collate(samples: list[Sample]) -> Batch:
    """Stack samples of one picture size."""
    most = max(len(sample.boxes) for sample in samples)
    images = torch.from_numpy(np.stack([sample.image for sample in samples]))
    boxes = torch.zeros(len(samples), most, 4)
    classes = torch.zeros(len(samples), most, dtype=torch.long)
    real = torch.zeros(len(samples), most, dtype=torch.bool)
    for row, sample in enumerate(samples):
        count = len(sample.boxes)
        boxes[row, :count] = torch.from_numpy(sample.boxes)
        classes[row, :count] = torch.from_numpy(sample.classes)
        real[row, :count] = True
    return Batch(images.permute(0, 3, 1, 2).contiguous().float().div_(255), boxes, classes, real)

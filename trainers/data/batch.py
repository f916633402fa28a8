"""A training sample, and a batch of them as tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.detections import Masks
from engines.masks import bitmap

__all__ = ["Batch", "Crowds", "Sample", "collate"]


@dataclass(frozen=True, slots=True, eq=False)
class Crowds:
    """Regions of many objects not told apart: nothing learns from them, what is found there is not wrong."""

    boxes: NDArray[np.float32] = field(  # (C, 4) xyxy pixels
        default_factory=lambda: np.zeros((0, 4), np.float32)
    )
    classes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))  # (C,)
    masks: Masks = field(default_factory=Masks)  # C of them, or none at all


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One picture with its objects."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    boxes: NDArray[np.float32]  # (M, 4) xyxy pixels
    classes: NDArray[np.int64]  # (M,)
    masks: Masks = field(default_factory=Masks)  # M of them, or none at all
    keypoints: NDArray[np.float32] = field(  # (M, K, 3) x, y, COCO's v 0..2; K = 0: none are known
        default_factory=lambda: np.zeros((0, 0, 3), np.float32)
    )
    # what measuring alone asks for; no augmentation moves it
    areas: NDArray[np.float32] = field(  # (M,) pixels that each object fills, 0 = not known; or none at all
        default_factory=lambda: np.zeros(0, np.float32)
    )
    crowds: Crowds = field(default_factory=Crowds)

    def take(self, keep: NDArray[np.bool_]) -> Sample:
        """Return the sample with only these objects."""
        return Sample(
            self.image,
            self.boxes[keep],
            self.classes[keep],
            self.masks[keep] if len(self.masks) else self.masks,
            self.keypoints[keep] if len(self.keypoints) else self.keypoints,
            self.areas[keep] if len(self.areas) else self.areas,
            self.crowds,
        )


class Batch(NamedTuple):
    """Pictures and objects of one step; objects are padded to the most that a picture has."""

    images: Tensor  # (B, 3, H, W) float32 0..1
    boxes: Tensor  # (B, M, 4)
    classes: Tensor  # (B, M) long
    real: Tensor  # (B, M) bool, False where padded
    masks: Tensor  # (B, M, H, W) uint8 0 or 1; H = W = 0: the samples have none
    keypoints: Tensor  # (B, M, K, 3)

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
    joints = max(sample.keypoints.shape[1] for sample in samples)
    keypoints = torch.zeros(len(samples), most, joints, 3)
    masked = any(len(sample.masks) for sample in samples)
    height, width = images.shape[1:3] if masked else (0, 0)
    masks = torch.zeros(len(samples), most, height, width, dtype=torch.uint8)
    for row, sample in enumerate(samples):
        count = len(sample.boxes)
        keypoints[row, : len(sample.keypoints)] = torch.from_numpy(sample.keypoints)
        for place in range(len(sample.masks)):
            _paint(masks[row, place].numpy(), sample, place)
        boxes[row, :count] = torch.from_numpy(sample.boxes)
        classes[row, :count] = torch.from_numpy(sample.classes)
        real[row, :count] = True
    pixels = images.permute(0, 3, 1, 2).contiguous().float().div_(255)
    return Batch(pixels, boxes, classes, real, masks, keypoints)


def _paint(canvas: NDArray[np.uint8], sample: Sample, row: int) -> None:
    """Set the pixels of one object's mask on an empty canvas of the picture's size."""
    left, top, pixels = bitmap(sample.masks, row, sample.boxes[row], (canvas.shape[1], canvas.shape[0]))
    canvas[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels

"""Pictures that a network learns by heart in seconds: coloured shapes with boxes, masks and keypoints."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engines.detections import Masks
from engines.spec import Task
from trainers.data.batch import Sample

__all__ = ["CLASSES", "coloured", "of_task"]

CLASSES = ("red", "green", "blue")
JOINTS = np.stack(np.meshgrid(np.linspace(0.1, 0.9, 5), np.linspace(0.1, 0.9, 4)), 2).reshape(-1, 2)[:17]


def coloured(seed: int) -> Sample:
    """A noisy picture with a red rectangle that has keypoints, a green disc and a blue triangle."""
    rng = np.random.default_rng(seed)
    image = rng.integers(60, 120, (64, 96, 3), dtype=np.uint8)
    boxes, grids = [], []
    keypoints = np.zeros((3, 17, 3), np.float32)
    for kind in range(3):
        w, h = int(rng.integers(16, 28)), int(rng.integers(18, 40))
        x, y = 2 + kind * 32 + int(rng.integers(0, 30 - w)), int(rng.integers(0, 64 - h))
        down, across = np.mgrid[:h, :w]
        across, down = (across + 0.5) / w, (down + 0.5) / h
        shape = (
            np.ones((h, w), bool),
            np.hypot(across - 0.5, down - 0.5) < 0.5,
            np.abs(across - 0.5) < down / 2,
        )[kind]
        image[y : y + h, x : x + w][shape] = np.eye(3, dtype=np.uint8)[kind] * 200 + 40
        boxes.append([x, y, x + w, y + h])
        grids.append(np.where(shape, np.float32(1), np.float32(-1)))
        if kind == 0:
            keypoints[0] = np.column_stack([JOINTS * (w, h) + (x, y), np.full(17, 2)])
    sides = np.array(boxes, np.float32)
    return Sample(image, sides, np.arange(3), Masks(tuple(grids), sides.copy()), keypoints)


def of_task(sample: Sample, task: Task) -> Sample:
    """The sample with what that task learns from only."""
    masks = sample.masks if task == "segment" else Masks()
    keypoints = sample.keypoints if task == "pose" else np.zeros((0, 0, 3), np.float32)
    return replace(sample, masks=masks, keypoints=keypoints)

"""Crops of people for top-down pose: a box widened to the crop's shape, keypoints in the crop and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Crop", "crop"]

_ROOM = 1.25  # how much larger than the person's box


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """A part of a picture at the network's size."""

    image: NDArray[np.uint8]  # (h, w, 3) RGB
    matrix: NDArray[np.float64]  # (2, 3): picture pixels -> crop pixels, corners on whole numbers

    def inside(self, keypoints: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map keypoints (..., 3) of the picture into the crop; those outside it get v = 0, x = y = 0."""
        points = keypoints[..., :2] @ self.matrix[:, :2].T + self.matrix[:, 2]
        height, width = self.image.shape[:2]
        seen = ((points >= 0) & (points < (width, height))).all(-1, keepdims=True) & (keypoints[..., 2:] > 0)
        moved = np.concatenate([points, keypoints[..., 2:]], -1)
        return np.where(seen, moved, 0).astype(np.float32)

    def outside(self, keypoints: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map keypoints (..., 3) of the crop back into the picture."""
        points = np.linalg.solve(
            self.matrix[:, :2], (keypoints[..., :2] - self.matrix[:, 2]).reshape(-1, 2).T
        )
        points = points.T.reshape(*keypoints.shape[:-1], 2)
        return np.concatenate([points, keypoints[..., 2:]], -1).astype(np.float32)


def crop(
    image: NDArray[np.uint8],
    box: NDArray[np.float32],
    size: tuple[int, int],
    *,
    turn: float = 0.0,
    zoom: float = 1.0,
) -> Crop:
    """Cut the surroundings of a box (4,) xyxy out of a picture, as ``size`` (width, height).

    The box grows by a quarter and to the crop's shape; ``turn`` (radians) and ``zoom`` are for augmentation.
    """
    import cv2

    width, height = size
    centre = (box[:2] + box[2:]) / 2
    sides = (box[2:] - box[:2]) * _ROOM
    gain = zoom * min(width / max(float(sides[0]), 1.0), height / max(float(sides[1]), 1.0))
    linear = gain * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = np.column_stack([linear, np.array([width / 2, height / 2]) - linear @ centre])
    shifted = matrix.copy()  # OpenCV's pixel centres lie on whole numbers
    shifted[:, 2] += linear @ [0.5, 0.5] - 0.5
    pixels = cv2.warpAffine(image, shifted, size, flags=cv2.INTER_LINEAR)
    return Crop(pixels.astype(np.uint8, copy=False), matrix)

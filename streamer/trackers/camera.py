"""Camera: how the picture as a whole has moved since the one before, by sparse optical flow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Camera"]

WIDTH = 320  # of the small pictures that are compared: enough to find a hand's shake
CORNERS = 200
LEAST = 12  # corners that must agree before the camera is believed to have moved
STILL: NDArray[np.float64] = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


class Camera:
    """Remembers the small picture before and its corners."""

    def __init__(self) -> None:
        self._before: NDArray[np.uint8] = np.zeros((0, 0), np.uint8)

    def motion(self, luma: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return (2,3), the similarity that takes the last picture's pixels to this one's (H,W).

        Shi-Tomasi corners, pyramidal Lucas-Kanade, RANSAC. Where too few corners agree, or the picture's size
        has changed, the camera is taken to stand still.
        """
        import cv2

        height, width = luma.shape
        scale = min(WIDTH / width, 1.0)
        size = round(width * scale), max(round(height * scale), 1)
        small = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
        before, self._before = self._before, small
        if before.shape != small.shape:
            return STILL
        corners = cv2.goodFeaturesToTrack(before, CORNERS, 0.01, 8)
        if corners is None or len(corners) < LEAST:
            return STILL
        there, status, _ = cv2.calcOpticalFlowPyrLK(before, small, corners, None)
        kept = status.ravel() == 1
        if kept.sum() < LEAST:
            return STILL
        affine, inliers = cv2.estimateAffinePartial2D(corners[kept], there[kept], ransacReprojThreshold=1.0)
        if affine is None or inliers.sum() < max(LEAST, 0.5 * len(inliers)):
            return STILL
        affine[:, 2] /= (size[0] / width, size[1] / height)
        motion: NDArray[np.float64] = affine
        return motion

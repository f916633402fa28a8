"""Heat map: how long things have stood where, in cells of the picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.detections import Detections
from streamer.analytics.anchors import Anchor, anchors

__all__ = ["HeatMap"]

CELLS = 96  # along the longer side of a picture
LONGEST = 2.0  # seconds that one frame stands for at most


class HeatMap:
    """Seconds that anchors of detections have been near each cell, in one stream."""

    def __init__(self, size: tuple[int, int], *, half_life: float = 0.0, anchor: Anchor = "feet") -> None:
        """Of a picture of ``size`` (width, height); half is forgotten in ``half_life`` seconds, 0: never."""
        self.size = size
        self.half_life = half_life
        self.anchor: Anchor = anchor
        self.step = max(size) / CELLS  # pixels of a cell
        columns, rows = (max(round(side / self.step), 1) for side in size)
        self.seconds: NDArray[np.float32] = np.zeros((rows, columns), np.float32)
        self._pts = float("nan")

    def update(self, detections: Detections, pts: float) -> None:
        """Add what stands where until the next frame; a detection is spread over the cells around it."""
        import cv2

        dt = min(max(pts - self._pts, 0.0), LONGEST) if self._pts == self._pts else 0.0
        self._pts = pts
        if self.half_life:
            self.seconds *= np.float32(0.5 ** (dt / self.half_life))
        if not len(detections) or not dt:
            return
        cells = (anchors(detections.boxes, self.anchor) / self.step).astype(np.intp)
        rows, columns = self.seconds.shape
        new = np.zeros_like(self.seconds)
        np.add.at(new, (np.clip(cells[:, 1], 0, rows - 1), np.clip(cells[:, 0], 0, columns - 1)), dt)
        self.seconds += cv2.GaussianBlur(new, (0, 0), 1.5, borderType=cv2.BORDER_REFLECT)

"""Masks: the pixels of every detected instance, tinted, with a contour that has no steps."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.masks import bitmap
from streamer.frame import Frame
from streamer.overlay.canvas import Canvas
from streamer.overlay.palette import PALETTE, colour_indices
from streamer.overlay.style import style_for

__all__ = ["masks"]

TINT = 0.45  # opacity inside; the contour is opaque


def masks(canvas: Canvas, frame: Frame) -> None:
    """Tint each instance's pixels inside its box, small ones over large ones."""
    found = frame.detections
    if not len(found.masks):
        return
    window = style_for(canvas.size).contour
    opacity = _opacity(window)
    colours = colour_indices(found).tolist()
    areas = (found.boxes[:, 2] - found.boxes[:, 0]) * (found.boxes[:, 3] - found.boxes[:, 1])
    for row in (-areas).argsort(kind="stable").tolist():
        left, top, inside = bitmap(found.masks, row, found.boxes[row], canvas.size)
        if not inside.size:
            continue
        counts = cv2.boxFilter(inside, -1, (window, window), normalize=False, borderType=cv2.BORDER_CONSTANT)
        canvas.blend((left, top), cv2.LUT(counts, opacity), PALETTE[colours[row]])


@lru_cache
def _opacity(window: int) -> NDArray[np.uint8]:
    """Weight by how many pixels of a window are mask: 0 for none, contour half way, tint when full."""
    share = np.arange(256) / window**2
    rise = np.clip((share - 0.1) / 0.35, 0, 1)
    fall = 1 - (1 - TINT) * np.clip((share - 0.7) / 0.25, 0, 1)
    return np.rint(255 * rise * fall).astype(np.uint8)

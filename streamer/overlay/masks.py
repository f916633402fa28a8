"""Masks: the pixels of every detected instance, tinted, with a contour that has no steps."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.detections import Detections
from engines.masks import bitmap
from streamer.frame import Frame
from streamer.overlay.canvas import Canvas
from streamer.overlay.palette import PALETTE, Rgb, colour_indices
from streamer.overlay.style import style_for

__all__ = ["masks"]

TINT = 0.45  # opacity inside; the contour is opaque
COARSE = 5  # pixels of the contour's window from which masks are made at half size


def masks(canvas: Canvas, frame: Frame) -> None:
    """Tint each instance's pixels inside its box, small ones over large ones.

    On large 4:2:0 pictures, whose contours are wider than a chroma sample, masks are made at half size.
    """
    found = frame.detections
    if not len(found.masks):
        return
    window = style_for(canvas.size).contour
    colours = [PALETTE[number] for number in colour_indices(found)]
    areas = (found.boxes[:, 2] - found.boxes[:, 0]) * (found.boxes[:, 3] - found.boxes[:, 1])
    order = (-areas).argsort(kind="stable").tolist()
    if canvas.subsampling == (2, 2) and window >= COARSE:
        _coarse(canvas, found, order, colours)
        return
    opacity = _opacity(window)
    for row in order:
        left, top, inside = bitmap(found.masks, row, found.boxes[row], canvas.size)
        if not inside.size:
            continue
        counts = cv2.boxFilter(inside, -1, (window, window), normalize=False, borderType=cv2.BORDER_CONSTANT)
        canvas.blend((left, top), cv2.LUT(counts, opacity), colours[row])


def _coarse(canvas: Canvas, found: Detections, order: list[int], colours: list[Rgb]) -> None:
    """Tint by samples of the chroma planes: one is inside where the middle of its four pixels is.

    Grids are laid on whole samples, as the outlines of boxes are.
    """
    window = (style_for(canvas.size).contour + 1) // 2 | 1
    kept = cv2.bitwise_not(_opacity(window)).ravel()
    regions = np.rint(found.masks.regions / 2).astype(np.intp)
    limit = np.array([-(-canvas.size[0] // 2), -(-canvas.size[1] // 2)])
    edges = np.ceil(found.boxes / 2 - 0.5).astype(np.intp)
    low = np.maximum(np.maximum(edges[:, :2], regions[:, :2]), 0)
    high = np.minimum(np.minimum(edges[:, 2:], regions[:, 2:]), limit)
    origins, crops = regions.tolist(), np.concatenate([low, high], 1).tolist()
    for row in order:
        (x1, y1, x2, y2), (left, top, right, bottom) = origins[row], crops[row]
        if left >= right or top >= bottom:
            continue
        logits = cv2.resize(found.masks.grids[row], (x2 - x1, y2 - y1), interpolation=cv2.INTER_LINEAR)
        inside = (logits[top - y1 : bottom - y1, left - x1 : right - x1] > 0).view(np.uint8)
        counts = cv2.boxFilter(inside, -1, (window, window), normalize=False, borderType=cv2.BORDER_CONSTANT)
        canvas.blend_samples((left, top), cv2.LUT(counts, kept), colours[row])


@lru_cache
def _opacity(window: int) -> NDArray[np.uint8]:
    """Weight by how many pixels of a window are mask: 0 for none, contour half way, tint when full."""
    share = np.arange(256) / window**2
    rise = np.clip((share - 0.1) / 0.35, 0, 1)
    fall = 1 - (1 - TINT) * np.clip((share - 0.7) / 0.25, 0, 1)
    return np.rint(255 * rise * fall).astype(np.uint8)

"""Boxes: the outline of every detection."""

from __future__ import annotations

from streamer.frame import Frame
from streamer.overlay.canvas import Canvas
from streamer.overlay.palette import PALETTE, colour_indices
from streamer.overlay.style import style_for

__all__ = ["boxes"]


def boxes(canvas: Canvas, frame: Frame) -> None:
    """Draw each detection's box, small ones over large ones."""
    found = frame.detections
    if not len(found):
        return
    width = style_for(canvas.size).line
    corners, colours = found.boxes.tolist(), colour_indices(found)
    areas = (found.boxes[:, 2] - found.boxes[:, 0]) * (found.boxes[:, 3] - found.boxes[:, 1])
    for row in (-areas).argsort(kind="stable").tolist():
        canvas.outline(corners[row], PALETTE[colours[row]], width)

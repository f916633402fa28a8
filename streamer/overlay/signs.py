"""Signs: the lines and zones that are watched, with what they have counted."""

from __future__ import annotations

import numpy as np

from streamer.analytics.watch import Sign
from streamer.frame import Frame
from streamer.overlay.canvas import Canvas
from streamer.overlay.palette import WHITE, Rgb
from streamer.overlay.space import Rect
from streamer.overlay.sprite import kind_of, tag
from streamer.overlay.style import style_for

__all__ = ["signs"]

LINE: Rgb = (245, 186, 38)
ZONE: Rgb = (4, 196, 240)
ARROW = 14.0  # pixels, towards where "in" is


def signs(canvas: Canvas, frame: Frame) -> None:
    """Draw outlines and what they say, at a line's start or a zone's middle; a line's tick leads "in"."""
    style = style_for(canvas.size)
    for sign in frame.signs:
        colour = LINE if len(sign.points) == 2 else ZONE
        ring = np.array(sign.points, np.float32)
        starts, ends = (ring[:1], ring[1:]) if len(ring) == 2 else (ring, np.roll(ring, -1, axis=0))
        canvas.lines(starts, ends, [colour] * len(starts), style.line)
        if len(ring) == 2:
            _tick(canvas, sign, style.line)
        measures = (style.text, style.padding, style.radius)
        sprite = tag(sign.text, colour, measures, kind_of(frame.planes))
        x, y = ring[0] if len(ring) == 2 else ring.mean(axis=0)
        rect = min(_places(canvas, (int(x), int(y)), sprite.size), key=canvas.space.taken)
        canvas.paste((rect[0], rect[1]), sprite)
        canvas.space.claim(rect)


def _places(canvas: Canvas, at: tuple[int, int], size: tuple[int, int]) -> list[Rect]:
    """Where a tag may lie, best first: at its place, then over or under it, where zones share a middle."""
    (width, height), lowest = size, max(canvas.size[1] - size[1], 0)
    left = min(max(at[0], 0), max(canvas.size[0] - width, 0))
    own = min(max(at[1], 0), lowest)
    tops = [min(max(own + step * height, 0), lowest) for step in (0, 1, -1, 2, -2)]
    return [(left, top, left + width, top + height) for top in tops]


def _tick(canvas: Canvas, sign: Sign, width: int) -> None:
    start, end = np.array(sign.points, np.float32)
    way = end - start
    across = np.array([-way[1], way[0]], np.float32) / max(float(np.hypot(*way)), 1.0)
    middle = (start + end) / 2
    tip = middle + ARROW * across
    canvas.line((float(middle[0]), float(middle[1])), (float(tip[0]), float(tip[1])), WHITE, width)

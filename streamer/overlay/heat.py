"""Heat: where detections have stood for long, from blue over yellow to red."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.analytics.heatmap import HeatMap
from streamer.frame import Frame, Matrix
from streamer.overlay.canvas import Canvas
from streamer.overlay.palette import Rgb
from streamer.overlay.sprite import Kind, Sprite, kind_of
from streamer.planes import from_rgb

__all__ = ["Heat"]

Table = NDArray[np.uint8]

AGAIN = 0.25  # seconds of the stream after which the colours are made anew
OPACITY = 0.6  # of the hottest
STOPS: tuple[Rgb, ...] = ((20, 40, 200), (20, 160, 200), (120, 210, 80), (250, 220, 40), (230, 30, 20))


class Heat:
    """An overlay that remembers where the detections of one stream have been."""

    def __init__(self, half_life: float) -> None:
        self._half_life = half_life
        self._map = HeatMap((1, 1))
        self._sprite: Sprite | None = None
        self._made = float("nan")  # pts

    def __call__(self, canvas: Canvas, frame: Frame) -> None:
        """Lay the colours on the picture; where nobody has been it stays as it is."""
        if self._map.size != frame.size:
            self._map, self._sprite = HeatMap(frame.size, half_life=self._half_life), None
        self._map.update(frame.detections, frame.pts)
        if self._sprite is None or not 0 <= frame.pts - self._made < AGAIN:
            self._sprite, self._made = _coloured(self._map, kind_of(frame.planes)), frame.pts
        if self._map.seconds.any():
            canvas.paste((0, 0), self._sprite)


def _coloured(heat: HeatMap, kind: Kind) -> Sprite:
    width, height = (side + side % 2 for side in heat.size)
    share = np.sqrt(heat.seconds / max(float(heat.seconds.max()), 1e-6))
    small = np.rint(255 * share).astype(np.uint8)
    (sx, sy), matrix, full_range = kind
    tables, clear = _tables(matrix, full_range)
    fine = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    coarse = cv2.resize(small, (width // sx, height // sy), interpolation=cv2.INTER_LINEAR)
    levels = (fine, coarse, coarse)
    y, u, v = (cv2.LUT(level, table) for level, table in zip(levels, tables, strict=True))
    through, through_chroma = cv2.LUT(fine, clear), cv2.LUT(coarse, clear)
    return Sprite((width, height), (y, u, v), (through, through_chroma, through_chroma))


@lru_cache
def _tables(matrix: Matrix, full_range: bool) -> tuple[tuple[Table, Table, Table], Table]:
    """From heat 0..255 to Y, U and V weighted by their opacity, and to what is let through."""
    at = np.linspace(0, 255, len(STOPS))
    rgb = np.stack([np.interp(np.arange(256), at, part) for part in zip(*STOPS, strict=True)], axis=1)
    dots = from_rgb(np.rint(rgb)[None].astype(np.uint8), matrix=matrix, full_range=full_range)
    opacity = OPACITY * np.clip((np.arange(256) - 12) / 100, 0, 1)
    y, u, v = (np.rint(plane[0] * opacity).astype(np.uint8) for plane in (dots.y, dots.u, dots.v))
    return (y, u, v), np.rint(255 * (1 - opacity)).astype(np.uint8)

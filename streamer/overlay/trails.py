"""Trails: the way each track has come, and where tracks that are not seen are thought to be."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from streamer.frame import Frame
from streamer.overlay.canvas import Canvas
from streamer.overlay.palette import PALETTE, Rgb, colour_indices
from streamer.overlay.style import style_for

__all__ = ["Trails", "lost"]

POINTS = 64  # of a trail at most: one more as soon as it is a few pixels off
APART = 4.0  # pixels between two of them
DASH = 8.0  # pixels


class Trails:
    """An overlay that remembers where the feet of each track of one stream have been for some seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ways: dict[int, deque[tuple[float, float, float]]] = {}  # id -> pts, x, y

    def __call__(self, canvas: Canvas, frame: Frame) -> None:
        """Draw each way in its track's colour, newest last."""
        self._remember(frame)
        style, starts, ends, colours = style_for(canvas.size), [], [], []
        for number, way in self._ways.items():
            points = [(x, y) for _, x, y in way]
            starts += points[:-1]
            ends += points[1:]
            colours += [PALETTE[number % len(PALETTE)]] * (len(points) - 1)
        if starts:
            canvas.lines(np.array(starts, np.float32), np.array(ends, np.float32), colours, style.line)

    def _remember(self, frame: Frame) -> None:
        found = frame.detections
        rows = np.flatnonzero(found.ids >= 0)
        feet = np.stack([(found.boxes[rows, 0] + found.boxes[rows, 2]) / 2, found.boxes[rows, 3]], axis=1)
        for number, (x, y) in zip(found.ids[rows].tolist(), feet.tolist(), strict=True):
            way = self._ways.setdefault(number, deque(maxlen=POINTS))
            if not way or abs(way[-1][1] - x) + abs(way[-1][2] - y) > APART:
                way.append((frame.pts, x, y))
        for number, way in list(self._ways.items()):
            while way and not 0 <= frame.pts - way[0][0] <= self._seconds:
                way.popleft()
            if not way:
                del self._ways[number]


def lost(canvas: Canvas, frame: Frame) -> None:
    """Draw the boxes of lost tracks in dashes."""
    colours = colour_indices(frame.lost)
    width = style_for(canvas.size).line
    for (x1, y1, x2, y2), colour in zip(frame.lost.boxes.tolist(), colours, strict=True):
        corners = ((x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1))
        for start, end in pairwise(corners):
            _dashes(canvas, start, end, PALETTE[colour], width)


def _dashes(
    canvas: Canvas, start: tuple[float, float], end: tuple[float, float], rgb: Rgb, width: int
) -> None:
    begin, way = np.array(start, np.float32), np.array(end, np.float32) - np.array(start, np.float32)
    count = max(int(np.hypot(*way) / DASH / 2), 1)
    shares = np.arange(count, dtype=np.float32)[:, None] / count
    starts: NDArray[np.float32] = (begin + shares * way).astype(np.float32)
    ends: NDArray[np.float32] = (starts + way / count / 2).astype(np.float32)
    canvas.lines(starts, ends, [rgb] * count, width)

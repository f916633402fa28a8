"""Boxes: one outline each, in its colour, small ones on top."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from engines.detections import Detections
from streamer.frame import Frame, Planes
from streamer.overlay import Canvas
from streamer.overlay.boxes import boxes
from streamer.overlay.palette import PALETTE

Noise = Callable[..., Planes]


def drawn(noise: Noise, rows: Detections) -> Canvas:
    planes = noise((320, 180))
    canvas = Canvas(planes)
    boxes(canvas, Frame("s", 0, 0.0, planes, detections=rows))
    return canvas


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_small_box_lies_over_a_large_one(noise: Noise, order: list[int]) -> None:
    rows = Detections.of([[40, 40, 240, 140], [80, 20, 120, 80]], [0.9, 0.2], [2, 3])
    canvas = drawn(noise, rows[np.array(order)])
    assert canvas.planes.u[39, 79] == canvas.yuv(PALETTE[3])[1]  # where the two outlines cross
    assert canvas.planes.u[39, 100] == canvas.yuv(PALETTE[2])[1]
    assert canvas.planes.u[19, 100] == canvas.yuv(PALETTE[3])[1]


def test_line_grows_with_the_picture(noise: Noise) -> None:
    widths = []
    for size in ((320, 180), (1920, 1080), (3840, 2160)):
        planes = noise(size)
        rows = Detections.of([[100, 100, size[0] - 100, size[1] - 40]], [0.9], [0])
        canvas = Canvas(planes)
        boxes(canvas, Frame("s", 0, 0.0, planes, detections=rows))
        widths.append(int((planes.u[120, :110] == canvas.yuv(PALETTE[0])[1]).sum()))
    assert widths == sorted(set(widths))

"""Hud: a line in the corner that is inside the picture and keeps labels away."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from streamer.frame import Frame, Planes
from streamer.overlay import Canvas
from streamer.overlay.hud import Hud

Noise = Callable[..., Planes]


@pytest.mark.parametrize("size", [(320, 180), (321, 181), (1920, 1080), (64, 48)])
def test_panel_is_in_the_corner_and_claimed(noise: Noise, size: tuple[int, int]) -> None:
    before, planes = noise(size, (2, 2)), noise(size, (2, 2))
    canvas = Canvas(planes)
    Hud(lambda frame: f"{frame.stream} #{frame.index}")(canvas, Frame("cam", 12, 0.0, planes))
    rows, columns = np.nonzero(planes.y != before.y)
    assert rows.min() < 20
    assert columns.min() < 20
    assert rows.max() < size[1] * 0.5
    assert canvas.space.taken((int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())))
    letters = planes.y[rows.min() : rows.max(), columns.min() : columns.max()]
    assert letters.max() > 200 > 90 > np.median(letters)


def test_no_text_draws_nothing(noise: Noise) -> None:
    planes = noise((320, 180))
    canvas = Canvas(planes, shared=True)
    Hud(lambda frame: "")(canvas, Frame("cam", 0, 0.0, planes))
    assert canvas.is_untouched


def test_panel_width_holds_still_while_digits_change(noise: Noise) -> None:
    widths = set()
    for text in ("29.1 fps 11 ms", "29.7 fps 14 ms", "31.4 fps 17 ms"):
        before, planes = noise((320, 180)), noise((320, 180))
        Hud(lambda frame, text=text: text)(Canvas(planes), Frame("cam", 0, 0.0, planes))
        widths.add(int(np.nonzero((planes.y != before.y).any(axis=0))[0].max()))
    assert len(widths) <= 2


def test_a_line_too_long_for_a_narrow_picture_is_written_smaller(noise: Noise) -> None:
    text = "front door  00:22.38  30 fps  69 ms"
    before, planes = noise((180, 320)), noise((180, 320))
    Hud(lambda frame: text)(Canvas(planes), Frame("cam", 0, 0.0, planes))
    letters = np.nonzero((planes.y > 200).any(axis=0))[0]
    assert letters.min() < 20
    assert letters.max() < 180 - 4
    assert np.array_equal(planes.y[:, 179], before.y[:, 179])

"""Heat: the picture is tinted where somebody has stood, up to now, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from engines.detections import EMPTY, Detections
from streamer.frame import Frame, Planes
from streamer.overlay import Canvas
from streamer.overlay.heat import Heat

Noise = Callable[..., Planes]


@pytest.mark.parametrize("step", [0.1, 0.5])
def test_what_is_shown_is_what_has_been_up_to_now(noise: Noise, step: float) -> None:
    """A short stay on the left, then a long one on the right, which becomes the hotter one."""
    heat, before = Heat(600.0), noise((320, 180), (2, 2))
    for pts in np.arange(0, 8, step):
        x = 80 if pts < 2 else 240
        rows = Detections.of([[x - 10, 40, x + 10, 120]], [0.9], [0])
        canvas = Canvas(noise((320, 180), (2, 2)))
        heat(canvas, Frame("s", 0, float(pts), canvas.planes, detections=rows))
    red = canvas.planes.v.astype(int) - before.v
    assert red[60, 120] > 40 > red[60, 40]
    assert canvas.planes.u[60, 40] != before.u[60, 40]
    for part in (np.s_[:90], np.s_[150:], np.s_[:, :50], np.s_[:, 110:210], np.s_[:, 270:]):
        assert np.array_equal(canvas.planes.y[part], before.y[part])


def test_where_nobody_has_been_the_picture_is_as_it_was(noise: Noise) -> None:
    heat = Heat(600.0)
    for pts in (0.0, 1.0):
        canvas = Canvas(noise((320, 180), (2, 2)), shared=True)
        heat(canvas, Frame("s", 0, pts, noise((320, 180), (2, 2)), detections=EMPTY))
        assert canvas.is_untouched

"""Heat maps: seconds, whatever the frame rate, and half of them forgotten in time."""

from __future__ import annotations

import numpy as np
import pytest

from engines.detections import Detections
from streamer.analytics import HeatMap

STANDING = Detections.of([[300, 100, 340, 200]], [0.9], [0])


@pytest.mark.parametrize("fps", [5, 30])
def test_seconds_are_counted_where_the_feet_are(fps: int) -> None:
    heat = HeatMap((640, 360))
    for index in range(4 * fps + 1):
        heat.update(STANDING, index / fps)
    assert heat.seconds.sum() == pytest.approx(4, rel=1e-3)
    row, column = np.unravel_index(heat.seconds.argmax(), heat.seconds.shape)
    assert (column + 0.5) * heat.step == pytest.approx(320, abs=heat.step)
    assert (row + 0.5) * heat.step == pytest.approx(200, abs=heat.step)


def test_half_is_forgotten_after_the_half_life() -> None:
    heat = HeatMap((640, 360), half_life=10)
    for index in range(100):
        heat.update(STANDING, index / 10)
    before = heat.seconds.sum()
    for index in range(100, 200):
        heat.update(STANDING[:0], index / 10)
    assert heat.seconds.sum() == pytest.approx(before / 2, rel=0.01)


def test_a_pause_or_a_jump_back_counts_little() -> None:
    heat = HeatMap((640, 360))
    for pts in (0.0, 100.0, 50.0):
        heat.update(STANDING, pts)
    assert heat.seconds.sum() == pytest.approx(2)

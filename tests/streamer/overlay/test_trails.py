"""Trails: the way that a track has come, for as long as was asked, and lost tracks as dashed boxes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from engines.detections import EMPTY, Detections
from streamer.frame import Frame, Planes
from streamer.overlay import Canvas
from streamer.overlay.palette import PALETTE
from streamer.overlay.trails import Trails, lost

Noise = Callable[..., Planes]

COMING = [(0.0, 40), (1.0, 100), (2.0, 160), (3.0, 220)]  # pts, x of the feet


def walked(noise: Noise, steps: list[tuple[float, int | None]], track: int = 3) -> Canvas:
    """What is drawn in the last of these frames of somebody whose feet are at y = 120, None: not seen."""
    trails = Trails(2.0)
    for pts, x in steps:
        canvas = Canvas(noise((320, 180)), shared=True)
        rows = EMPTY
        if x is not None:
            rows = Detections.of([[x - 10, 40, x + 10, 120]], [0.9], [0], ids=np.array([track]))
        trails(canvas, Frame("s", 0, pts, canvas._planes, detections=rows))
    return canvas


def test_a_trail_leads_from_where_the_feet_were_to_where_they_are(noise: Noise) -> None:
    canvas, before = walked(noise, COMING), noise((320, 180))
    colour = canvas.yuv(PALETTE[3])[1]
    assert (canvas.planes.u[119:121, 105:215] == colour).all(), "of the last two seconds"
    untouched = np.ones(before.u.shape, bool)
    untouched[117:123, 98:222] = False
    assert np.array_equal(canvas.planes.u[untouched], before.u[untouched])


@pytest.mark.parametrize(
    ("steps", "track"),
    [
        pytest.param(COMING, -1, id="no track"),
        pytest.param([*COMING, (5.1, None)], 3, id="gone for longer than a trail lasts"),
        pytest.param([*COMING, (0.5, 60)], 3, id="a clock that went back"),
        pytest.param([(0.0, 100), (0.1, 102), (0.2, 99)], 3, id="stands still"),
    ],
)
def test_no_trail(noise: Noise, steps: list[tuple[float, int | None]], track: int) -> None:
    assert walked(noise, steps, track).is_untouched


def test_a_lost_track_is_a_dashed_box(noise: Noise) -> None:
    before, canvas = noise((320, 180)), Canvas(noise((320, 180)))
    gone = Detections.of([[40, 40, 140, 120]], [0.9], [0], ids=np.array([5]))
    lost(canvas, Frame("s", 0, 0.0, canvas.planes, lost=gone))
    inked = np.abs(canvas.planes.u.astype(int) - canvas.yuv(PALETTE[5])[1]) < 12
    across, down = (
        (inked[39:41, 40:140], inked[119:121, 40:140]),
        (inked[40:120, 39:41], inked[40:120, 139:141]),
    )
    sides = [side.any(axis=0) for side in across] + [side.any(axis=1) for side in down]
    for side, dashes in zip(sides, (6, 6, 5, 5), strict=True):
        assert 0.35 < side.mean() < 0.65
        assert np.count_nonzero(np.diff(side.astype(int)) == 1) in (dashes, dashes - 1)
    for part in (np.s_[45:115, 45:135], np.s_[:35], np.s_[125:], np.s_[:, :35], np.s_[:, 145:]):
        assert np.array_equal(canvas.planes.u[part], before.u[part])

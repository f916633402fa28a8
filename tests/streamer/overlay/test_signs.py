"""Signs: what lines and zones have counted can be read, of each of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from engines.detections import Detections
from streamer.analytics import Line, LineCounter
from streamer.analytics.watch import Sign
from streamer.frame import Frame, Planes
from streamer.overlay import Canvas
from streamer.overlay.signs import ARROW, signs
from streamer.overlay.signs import ZONE as ZONE_COLOUR

SIZE = (320, 180)
ZONE = ((100.0, 60.0), (200.0, 60.0), (200.0, 120.0), (100.0, 120.0))
CORNER = ((300.0, 170.0), (319.0, 170.0), (319.0, 179.0), (300.0, 179.0))
LINE = ((0.0, 0.0), (100.0, 0.0))


@pytest.mark.parametrize("points", [ZONE, CORNER, LINE])
@pytest.mark.parametrize("count", [2, 3])
def test_tags_of_one_place_lie_beside_each_other_inside_the_picture(
    noise: Callable[..., Planes], points: tuple[tuple[float, float], ...], count: int
) -> None:
    def taken(number: int) -> int:
        planes = noise(SIZE, (2, 2))
        canvas = Canvas(planes)
        told = tuple(Sign(points, "yard 3") for _ in range(number))
        signs(canvas, Frame("cam", 0, 0.0, planes, signs=told))
        return canvas.space.taken((0, 0, *SIZE))

    assert taken(count) > 0.75 * count * taken(1)


@pytest.mark.parametrize("end", [(160.0, 30.0), (240.0, 90.0), (110.0, 140.0)])
def test_the_tick_of_a_line_leads_to_where_in_is(
    noise: Callable[..., Planes], end: tuple[float, float]
) -> None:
    start, planes = (160.0, 90.0), noise(SIZE)
    signs(Canvas(planes), Frame("cam", 0, 0.0, planes, signs=(Sign((start, end), "door"),)))
    middle = np.add(start, end) / 2
    way = np.argwhere(planes.y > 225).mean(axis=0)[::-1] + 0.5 - middle  # to the middle of the white tick
    assert np.hypot(*way) == pytest.approx(ARROW / 2, abs=1)
    counter = LineCounter(Line("door", start, end))
    for pts, (x, y) in enumerate((middle - way, middle + way)):
        counter.update(Detections.of([[x - 2, y - 4, x + 2, y]], [0.9], [0], ids=np.array([1])), float(pts))
    assert counter.counts == {"in": 1}


def test_a_zone_is_outlined_all_around_and_named_in_its_middle(noise: Callable[..., Planes]) -> None:
    planes = noise(SIZE)
    canvas, corners = Canvas(planes), ((20.0, 20.0), (300.0, 20.0), (300.0, 160.0), (20.0, 160.0))
    signs(canvas, Frame("cam", 0, 0.0, planes, signs=(Sign(corners, "hall 3"),)))
    for x, y in ((160, 20), (300, 90), (160, 160), (20, 90)):
        around = planes.u[y - 1 : y + 1, x - 1 : x + 1].astype(int)
        assert np.abs(around - canvas.yuv(ZONE_COLOUR)[1]).max() < 12
    assert canvas.space.taken((160, 92, 176, 96)) == 4
    assert not canvas.space.taken((0, 0, 156, 180))

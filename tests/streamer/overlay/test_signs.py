"""Signs: what lines and zones have counted can be read, of each of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from streamer.analytics.watch import Sign
from streamer.frame import Frame, Planes
from streamer.overlay import Canvas
from streamer.overlay.signs import signs

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

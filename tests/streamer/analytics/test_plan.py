"""Plan: points in shares or pixels, and what cannot be a line, a zone or a ground."""

from __future__ import annotations

import pytest

from engines.errors import InputError
from streamer.analytics.plan import LinePlan, Plan, SpeedPlan, ZonePlan

SIZE = (640, 360)
METRES = ((0, 0), (0, 9), (9, 9), (9, 0))


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        (((0.5, 1.0), (0.5, 0.0)), ((320, 360), (320, 0))),
        (((-0.05, 0.5), (1.0, 0.5)), ((-32, 180), (640, 180))),
        (((-1, -1), (0, 0)), ((-640, -360), (0, 0))),
        (((-50, 0.5), (200, 0.5)), ((-50, 0.5), (200, 0.5))),
        (((0, 0), (3, 0)), ((0, 0), (3, 0))),
    ],
    ids=["shares", "a share outside", "all outside", "pixels", "few pixels"],
)
def test_points_are_shares_unless_one_is_above_1(points: tuple, expected: tuple) -> None:
    assert Plan((LinePlan("a", points),)).lines[0].line(SIZE, ()).end == pytest.approx(expected[1])
    assert LinePlan("a", points).line(SIZE, ()).start == pytest.approx(expected[0])


def test_classes_are_named_or_numbered() -> None:
    names, classes, corners = ("person", "car"), ("car", "0"), ((0, 0), (0, 1), (1, 1), (1, 0))
    line = LinePlan("a", ((0, 0), (1, 1)), classes=classes)
    assert line.line(SIZE, names).classes == (1, 0)
    assert ZonePlan("a", corners, classes=classes).zone(SIZE, names).classes == (1, 0)
    assert SpeedPlan("a", corners, METRES, classes=classes).ground(SIZE, names).classes == (1, 0)
    with pytest.raises(InputError, match="a: classes: no class '2'"):
        Plan((LinePlan("a", line.points, classes=("2",)),)).check(("person", "car"))


LINES = {
    "one point": (((0, 0),), "line a: 1 points, would be two that differ"),
    "twice one point": (((0, 0), (0, 0)), "line a: 2 points, would be two that differ"),
    "two points and one of them again": (((0, 0), (1, 1), (0, 0)), "line a: 3 points, would be two that"),
    "a share above 1": (
        ((0.5, 1.02), (0.5, 0)),
        r"line a: points: 1.02 pixels, as 1.02 is above 1; 3 or more would be right, or shares up to 1",
    ),
    "pixels that are no shares": (((-50, 1), (0, 1)), "line a: points: -50, a share from -1 to 1 would be"),
}
ZONES = {
    "a share above 1": (((0, 0), (1.01, 0), (1.01, 1), (0, 1)), "zone a: points: 1 pixels, as 1.01 is above"),
    "a flat one": (((0, 0.5), (0.5, 0.5), (1, 0.5)), "zone a: points: all on one line"),
}


@pytest.mark.parametrize(("points", "sentence"), LINES.values(), ids=LINES.keys())
def test_what_is_no_line_is_refused(points: tuple, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Plan((LinePlan("a", points),))


@pytest.mark.parametrize(("points", "sentence"), ZONES.values(), ids=ZONES.keys())
def test_what_is_no_zone_is_refused(points: tuple, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Plan(zones=(ZonePlan("a", points),))


def test_a_ground_of_a_pixel_is_refused() -> None:
    with pytest.raises(InputError, match=r"speed a: points: 1 pixels, as 1.1 is above 1"):
        Plan(speeds=(SpeedPlan("a", ((0.1, 1.1), (0.1, 0.1), (1.1, 0.1), (1.1, 1.1)), METRES),))


def test_streams_that_are_not_there_are_named() -> None:
    plan = Plan(
        (LinePlan("a", ((0, 0), (1, 1)), streams=("door", "dor")),),
        (ZonePlan("b", ((0, 0), (1, 1), (0, 1)), streams=("roof",)),),
        (SpeedPlan("c", ((0, 0), (0, 1), (1, 1), (1, 0)), METRES),),
    )
    assert plan.strangers(("door", "gate")) == [
        "analytics: a: streams: no stream 'dor' so far, did you mean 'door'?",
        "analytics: b: streams: no stream 'roof' so far, would be of door, gate",
    ]

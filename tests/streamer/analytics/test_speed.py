"""Speeds over the ground, told from a picture in perspective."""

from __future__ import annotations

import numpy as np
import pytest

from engines.detections import Detections
from engines.errors import InputError
from streamer.analytics import Event, Ground, SpeedMeter
from streamer.analytics.plan import Plan, SpeedPlan
from streamer.analytics.speed import homography

ROAD = ((200.0, 400.0), (280.0, 100.0), (360.0, 100.0), (440.0, 400.0))  # far things are small
METRES = ((0.0, 0.0), (0.0, 60.0), (7.0, 60.0), (7.0, 0.0))


def pixel(metres: tuple[float, float]) -> tuple[float, float]:
    x, y, w = np.linalg.inv(homography(ROAD, METRES)) @ [*metres, 1]
    return x / w, y / w


def car(metres: tuple[float, float], track: int = 1) -> Detections:
    x, y = pixel(metres)
    return Detections.of([[x - 10, y - 20, x + 10, y]], [0.9], [0], ids=np.array([track]))


def drive(
    meter: SpeedMeter, speed: float, seconds: float, fps: float = 25, noise: float = 0.0, start: float = 2.0
) -> list[Event]:
    random, events = np.random.default_rng(1), []
    for index in range(int(seconds * fps)):
        pts = index / fps
        found = car((3.5 + random.normal(0, noise), start + speed * pts + random.normal(0, noise)))
        events += meter.update(found, pts)
    return events


def test_homography_takes_corner_to_corner() -> None:
    matrix = homography(ROAD, METRES)
    for point, place in zip(ROAD, METRES, strict=True):
        x, y, w = matrix @ [*point, 1]
        assert (x / w, y / w) == pytest.approx(place, abs=1e-6)


@pytest.mark.parametrize("fps", [5, 25, 60])
@pytest.mark.parametrize("speed", [0.0, 1.4, 13.9, 25.0])
def test_a_steady_speed_is_measured_whatever_the_frame_rate(fps: float, speed: float) -> None:
    meter = SpeedMeter(Ground("road", ROAD, METRES))
    drive(meter, speed, 2.0, fps)
    assert meter.speeds[1] == pytest.approx(speed, abs=0.05)


def test_jitter_of_boxes_averages_out() -> None:
    meter = SpeedMeter(Ground("road", ROAD, METRES))
    drive(meter, 10.0, 3.0, noise=0.1)
    assert meter.speeds[1] == pytest.approx(10, abs=0.4)


def test_no_speed_is_told_too_early_or_off_the_ground() -> None:
    meter = SpeedMeter(Ground("road", ROAD, METRES))
    drive(meter, 10.0, 0.4)
    assert meter.speeds == {}
    meter = SpeedMeter(Ground("road", ROAD, METRES))
    drive(meter, 20.0, 4.0)
    assert meter.speeds == {}


def test_an_alert_needs_the_speed_for_as_long_as_was_asked_and_ends() -> None:
    ground = Ground("road", ROAD, METRES, limit=8.0, seconds=1.0)
    meter, events, at = SpeedMeter(ground), [], 1.0
    for index in range(150):
        pts = index / 25
        at += (10.0 if index < 100 else 2.0) / 25
        events += meter.update(car((3.5, at)), pts)
    assert [(event.kind, event.what, event.track) for event in events] == [
        ("speed", "begin", 1),
        ("speed", "end", 1),
    ]
    assert 1.5 <= events[0].pts <= 1.6
    assert events[0].value == pytest.approx(10, abs=0.1)
    short, told = SpeedMeter(ground), []
    for index in range(100):
        told += short.update(car((3.5, 1 + 10 * min(index / 25, 1.2))), index / 25)
    assert told == []


@pytest.mark.parametrize("away", [2.0, 100.0])
def test_an_alert_ends_with_who_leaves_the_ground(away: float) -> None:
    meter = SpeedMeter(Ground("road", ROAD, METRES, limit=8.0))
    assert [event.what for event in drive(meter, 10.0, 1.6)] == ["begin"]
    events = meter.update(car((3.5, 3.0), track=2), 1.6 + away)
    assert [(event.what, event.track, event.label) for event in events] == [("end", 1, 0)]
    assert meter.update(car((3.5, 3.0), track=2), 1.7 + away) == []


@pytest.mark.parametrize(
    ("points", "metres", "sentence"),
    [
        (ROAD[:3], METRES, "speed road: 3 points and 4 places in metres, would be four of each"),
        (ROAD, ((0, 0), (1, 0), (2, 0), (0, 5)), "speed road: points or metres: not the corners, in turn"),
        ((ROAD[0], ROAD[2], ROAD[1], ROAD[3]), METRES, "not the corners, in turn"),
    ],
)
def test_points_that_are_no_ground_are_refused(points: tuple, metres: tuple, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Plan(speeds=(SpeedPlan("road", points, metres),))


@pytest.mark.parametrize("turn", [1, -1], ids=["one way round", "the other"])
def test_a_ground_may_be_small_and_told_either_way_round(turn: int) -> None:
    corners = ((0.2, 0.2), (0.2, 0.6), (0.5, 0.6), (0.5, 0.2))[::turn]
    assert Plan(speeds=(SpeedPlan("yard", corners, corners),)).speeds

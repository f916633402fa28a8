"""Zones: who comes, who leaves, how long and how many."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from engines.detections import EMPTY, Detections
from streamer.analytics import Event, Zone, ZoneCounter
from streamer.analytics.anchors import ANCHORS, Anchor, anchors
from streamer.analytics.zones import inside
from streamer.trackers import TRACKERS, open_tracker

FPS = 20.0
SQUARE = ((200, 100), (400, 100), (400, 300), (200, 300))


def person(x: float, y: float = 200) -> list[float]:
    return [x - 20, y - 120, x + 20, y]


def seen(*people: tuple[int, float]) -> Detections:
    """Return one box for each (track, x)."""
    ids = np.array([track for track, _ in people], np.int64)
    return Detections.of([person(x) for _, x in people], [0.9] * len(ids), [0] * len(ids), ids=ids)


def told(events: list[Event]) -> list[tuple[str, str, int]]:
    return [(event.kind, event.what, event.track) for event in events]


def test_inside_equals_opencv() -> None:
    random = np.random.default_rng(0)
    for corners in (3, 4, 7):
        polygon = random.uniform(0, 100, (corners, 2))
        points = random.uniform(-10, 110, (300, 2))
        outline = polygon.astype(np.float32)
        known = [cv2.pointPolygonTest(outline, (float(x), float(y)), measureDist=True) for x, y in points]
        sure = np.abs(known) > 0.01
        assert np.array_equal(inside(points, polygon)[sure], np.array(known)[sure] > 0)


def test_anchors_are_the_points_of_their_names() -> None:
    points = {anchor: anchors(np.array([[10, 20, 30, 60]], np.float32), anchor)[0] for anchor in ANCHORS}
    known = {"feet": (20, 60), "centre": (20, 40), "head": (20, 20), "left": (10, 40), "right": (30, 40)}
    assert points == {anchor: pytest.approx(point, abs=0.05) for anchor, point in known.items()}


@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize(
    "box",
    [(100, 200, 160, 360), (100, 0, 160, 50), (0, 100, 50, 200), (600, 100, 640, 200), (0, 0, 640, 360)],
    ids=["bottom", "top", "left", "right", "whole picture"],
)
def test_who_touches_the_edge_of_the_picture_is_in_a_zone_of_all_of_it(
    anchor: Anchor, box: tuple[float, ...]
) -> None:
    zone = ZoneCounter(Zone("all", ((0, 0), (640, 0), (640, 360), (0, 360)), anchor=anchor))
    zone.update(Detections.of([box], [0.9], [0], ids=np.array([1])), 0.0)
    assert zone.occupancy == 1


@pytest.mark.parametrize("y", [99.98, 100.0, 100.01, 100.02])
@pytest.mark.parametrize("height", [0.001, 60])
def test_who_stands_between_two_zones_is_in_one_of_them(y: float, height: float) -> None:
    rows = Detections.of([[10, y - height, 30, y]], [0.9], [0], ids=np.array([1]))
    zones = [
        ZoneCounter(Zone("half", ((0, top), (200, top), (200, top + 100), (0, top + 100))))
        for top in (0, 100)
    ]
    for zone in zones:
        zone.update(rows, 0.0)
    assert sum(zone.occupancy for zone in zones) == 1


def test_coming_dwelling_and_leaving_are_told() -> None:
    zone = ZoneCounter(Zone("hall", SQUARE, dwell=3.0))
    assert zone.update(seen((1, 100), (2, 300)), 0.0)[0].track == 2
    assert told(zone.update(seen((1, 250), (2, 300)), 1.0)) == [("zone", "in", 1)]
    assert zone.occupancy == 2
    assert zone.dwelling(1.5) == {1: 0.5, 2: 1.5}
    assert told(zone.update(seen((1, 250), (2, 300)), 3.5)) == [("dwell", "begin", 2)]
    events = zone.update(seen((1, 450), (2, 300)), 3.75)
    assert told(events) == [("zone", "out", 1)]
    assert events[0].value == pytest.approx(2.75)
    assert events[0].count == zone.occupancy == 1
    assert told(zone.update(seen((2, 300)), 9.0)) == []


def test_edge_is_left_only_beyond_the_margin() -> None:
    zone = ZoneCounter(Zone("hall", SQUARE, margin=0.1))
    for index, x in enumerate((150, 205, 195, 202, 190, 201, 198)):
        zone.update(seen((1, x)), index / FPS)
    assert zone.counts == {"in": 1}
    zone.update(seen((1, 180)), 1.0)
    assert zone.counts == {"in": 1, "out": 1}


def test_who_leaves_has_left_though_another_stands_on_the_edge() -> None:
    zone = ZoneCounter(Zone("hall", SQUARE))
    zone.update(seen((1, 205), (2, 300)), 0.0)
    assert told(zone.update(seen((1, 198), (2, 600)), 0.1)) == [("zone", "out", 2)]


def test_who_is_not_seen_for_long_has_left_when_last_seen() -> None:
    zone = ZoneCounter(Zone("hall", SQUARE, gone=2.0))
    zone.update(seen((1, 300)), 0.0)
    zone.update(seen((1, 300)), 4.0)
    assert zone.update(EMPTY, 5.9) == []
    [event] = zone.update(EMPTY, 6.1)
    assert (event.what, event.value, event.count) == ("out", 4.0, 0)


def test_who_is_away_does_not_dwell_until_seen_again() -> None:
    zone = ZoneCounter(Zone("hall", SQUARE, gone=3.0, dwell=5.0))
    zone.update(seen((1, 300), (2, 250)), 0.0)
    zone.update(seen((1, 300), (2, 250)), 4.0)
    assert told(zone.update(EMPTY, 5.5)) == []
    assert told(zone.update(seen((1, 300)), 6.5)) == [("dwell", "begin", 1)]
    assert told(zone.update(seen((1, 300)), 8.0)) == [("zone", "out", 2)]


@pytest.mark.parametrize("gone", [2.0, 200.0])
@pytest.mark.parametrize("pause", [10.0, 100.0, 1000.0])
def test_who_is_replaced_after_a_pause_has_left(gone: float, pause: float) -> None:
    zone = ZoneCounter(Zone("hall", SQUARE, gone=gone))
    zone.update(seen((1, 250), (2, 300)), 0.0)
    for step in range(3):
        events = zone.update(seen((3, 250), (4, 300)), pause + step)
        stayed = 2 if pause > gone else 4
        assert [event.count for event in events[-1:]] == [stayed] * (step == 0)
        assert zone.occupancy == zone.counts["in"] - zone.counts["out"] == stayed
    zone.update(EMPTY, pause + 2 * gone + 10)
    assert zone.occupancy == 0
    assert zone.counts == {"in": 4, "out": 4}


def test_who_is_seen_again_after_long_beside_someone_new_has_stayed() -> None:
    zone = ZoneCounter(Zone("hall", SQUARE))
    zone.update(seen((1, 250), (2, 300)), 0.0)
    assert told(zone.update(seen((2, 300), (3, 250)), 100.0)) == [("zone", "out", 1), ("zone", "in", 3)]
    assert zone.dwelling(100.0) == {2: 100.0, 3: 0.0}


def test_crowd_is_an_alert_once_it_lasts() -> None:
    zone = ZoneCounter(Zone("hall", SQUARE, crowd=2, crowd_seconds=1.0))
    two, one = seen((1, 250), (2, 300)), seen((1, 250), (2, 450))
    alerts = []
    for pts, found in ((0.0, two), (0.5, one), (1.0, two), (1.5, two), (2.0, two), (2.5, two), (3.0, one)):
        alerts += [(event.what, pts) for event in zone.update(found, pts) if event.kind == "alert"]
    assert alerts == [("begin", 2.0), ("end", 3.0)]


@pytest.mark.parametrize("name", TRACKERS)
@pytest.mark.parametrize("missing", [0.0, 0.15, 0.3])
@pytest.mark.parametrize("seed", [0, 1])
def test_flickering_detections_count_as_the_truth(name: str, missing: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    zone, tracker = ZoneCounter(Zone("hall", SQUARE)), open_tracker(name)
    steps, apart, people = int(4 * FPS), int(3 * FPS), 8
    for index in range(apart * people + steps + int(3 * FPS)):
        rows = []
        for who in range(people):
            at = index - who * apart
            if 0 <= at < steps and random.random() >= missing:
                x = 60 + 480 * at / (steps - 1)
                rows.append(np.array(person(x if who % 2 else 600 - x)) + random.normal(0, 1.5, 4))
        found = Detections.of(rows, random.uniform(0.5, 0.9, len(rows)), [0] * len(rows))
        zone.update(tracker.update(found, index / FPS), index / FPS)
    assert zone.counts == {"in": people, "out": people}
    assert zone.occupancy == 0


@pytest.mark.parametrize("name", TRACKERS)
def test_standing_on_the_edge_for_a_minute_counts_once(name: str) -> None:
    random = np.random.default_rng(6)
    zone, tracker = ZoneCounter(Zone("hall", SQUARE)), open_tracker(name)
    x = np.concatenate([np.linspace(100, 200, 40), np.full(1200, 200.0), np.linspace(200, 100, 40)])
    for index, place in enumerate(x + random.normal(0, 1.3, len(x))):
        found = Detections.of([person(place)], [0.8], [0])
        zone.update(tracker.update(found, index / FPS), index / FPS)
    assert zone.counts == {"in": 1, "out": 1}

"""Lines: the constructed truth is counted, whatever flickers, jitters or stands about."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.detections import EMPTY, Detections
from streamer.analytics import Line, LineCounter
from streamer.trackers import TRACKERS, open_tracker

FPS = 20.0
UPRIGHT = Line("door", (300, 400), (300, 0))  # looking up: left to right is "in"


def person(x: float, y: float = 200) -> list[float]:
    return [x - 20, y - 120, x + 20, y]


def count(line: Line, way: list[tuple[float, float]], track: int = 1) -> dict[str, int]:
    counter = LineCounter(line)
    for index, (x, y) in enumerate(way):
        found = Detections.of([person(x, y)], [0.9], [0], ids=np.array([track]))
        counter.update(found, index / FPS)
    return dict(counter.counts)


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ([(250, 200), (350, 200)], {"in": 1}),
        ([(350, 200), (250, 200)], {"out": 1}),
        ([(250, 200), (350, 200), (250, 200)], {"in": 1, "out": 1}),
        ([(250, 200), (299, 200), (301, 200), (299, 200), (250, 200)], {}),
        ([(250, 200), (303, 200), (297, 200), (303, 200), (350, 200)], {"in": 1}),
        ([(302, 200), (350, 200)], {}),
        ([(250, 500), (350, 500)], {}),
        ([(250, -20), (350, -20)], {}),
        ([(250, 200), (250, 600), (350, 600), (350, 200)], {}),
        ([(250, 390), (350, 430)], {}),
        ([(250, 390), (350, 405)], {"in": 1}),
    ],
    ids=[
        "across", "back", "to and fro", "only up to it", "slowly across", "came up on it",
        "beside its start", "beside its end", "around its end", "just past its end", "just before its end",
    ],
)  # fmt: skip
def test_crossing_is_counted_by_its_way(way: list[tuple[float, float]], expected: dict[str, int]) -> None:
    assert count(UPRIGHT, way) == expected


def test_who_stands_on_the_line_for_minutes_while_others_come_is_counted() -> None:
    counter = LineCounter(UPRIGHT)
    for second in range(200):
        x = 250 if second == 0 else 300 if second < 199 else 350
        found = Detections.of([person(x), person(50)], [0.9] * 2, [0, 0], ids=np.array([1, 2 + second // 10]))
        counter.update(found, float(second))
    assert counter.counts == {"in": 1}


@pytest.mark.parametrize("anchor", ["feet", "centre", "head"])
def test_anchor_decides_what_crosses(anchor: str) -> None:
    level = Line("level", (0, 200), (600, 200), anchor=anchor)  # type: ignore[arg-type]
    low = {"feet": 200, "centre": 260, "head": 320}[anchor]
    assert count(level, [(300, low - 30), (300, low + 30)]) == {"in": 1}
    assert count(level, [(300, low + 14), (300, low + 60)]) == {}


def test_no_track_no_count() -> None:
    assert count(UPRIGHT, [(250, 200), (350, 200)], track=-1) == {}


def test_classes_that_are_not_meant_do_not_count() -> None:
    counter = LineCounter(Line("cars", (300, 400), (300, 0), classes=(2,)))
    for index, x in enumerate((250, 350)):
        rows = Detections.of([person(x), person(x, 300)], [0.9, 0.9], [0, 2], ids=np.array([1, 2]))
        events = counter.update(rows, index / FPS)
    assert dict(counter.by_class) == {("in", 2): 1}
    assert [(event.what, event.track, event.label) for event in events] == [("in", 2, 2)]


def passages(people: int, random: np.random.Generator) -> list[NDArray[np.float64]]:
    """Feet of people who pass the line one after the other or side by side, each frame (N,2), NaN: away."""
    frames = np.full((int(people * 2 * FPS + 6 * FPS), people, 2), np.nan)
    for who in range(people):
        begin, steps = int(who * 2 * FPS), int(4 * FPS)
        x = np.linspace(80, 520, steps) if who % 2 else np.linspace(520, 80, steps)
        frames[begin : begin + steps, who] = np.stack([x, np.full(steps, 140 + 170 * (who % 2))], axis=1)
    return list(frames + random.normal(0, 1.5, frames.shape))


@pytest.mark.parametrize("name", TRACKERS)
@pytest.mark.parametrize("missing", [0.0, 0.15, 0.3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_flickering_detections_count_as_the_truth(name: str, missing: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    counter, tracker = LineCounter(UPRIGHT), open_tracker(name)
    for index, feet in enumerate(passages(10, random)):
        kept = feet[~np.isnan(feet[:, 0]) & (random.random(len(feet)) >= missing)]
        boxes = [person(x, y) for x, y in kept]
        found = Detections.of(boxes, random.uniform(0.5, 0.9, len(boxes)), [0] * len(boxes))
        counter.update(tracker.update(found, index / FPS), index / FPS)
    assert counter.counts == {"in": 5, "out": 5}


@pytest.mark.parametrize("name", TRACKERS)
def test_standing_on_the_line_for_a_minute_counts_once(name: str) -> None:
    random = np.random.default_rng(6)
    counter, tracker = LineCounter(UPRIGHT), open_tracker(name)
    x = np.concatenate([np.linspace(100, 300, 60), np.full(1200, 300.0), np.linspace(300, 500, 60)])
    for index, place in enumerate(x + random.normal(0, 1.3, len(x))):
        box = np.array(person(place)) + random.normal(0, 1, 4)
        found = Detections.of([box], [0.8], [0]) if random.random() > 0.1 else EMPTY
        counter.update(tracker.update(found, index / FPS), index / FPS)
    assert counter.counts == {"in": 1}

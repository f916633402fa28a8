"""Masks and poses in association: who has the same box is told apart by what fills it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from engines.detections import Detections, Masks
from streamer.trackers import TRACKERS, open_tracker
from streamer.trackers.shapes import Shapes

RISING = np.where(np.abs(np.subtract.outer(np.arange(20)[::-1], np.arange(20))) < 4, 1.0, -1.0)
FALLING = RISING[:, ::-1]
WAVING = np.array([[0.5, 0.1, 1], [0.1, 0.1, 1], [0.9, 0.1, 1], [0.5, 0.9, 1]], np.float32)
BOWING = np.array([[0.1, 0.5, 1], [0.2, 0.9, 1], [0.1, 0.8, 1], [0.9, 0.9, 1]], np.float32)


Make = Callable[[list[list[float]], list[int]], Detections]


def masked(boxes: list[list[float]], kinds: list[int]) -> Detections:
    """Bars that fill their boxes from corner to corner, rising (0) or falling (1)."""
    places = np.array(boxes, np.float32)
    grids = tuple((RISING, FALLING)[kind].astype(np.float32) for kind in kinds)
    return Detections.of(boxes, [0.9] * len(boxes), [0] * len(boxes), masks=Masks(grids, places))


def posed(boxes: list[list[float]], kinds: list[int]) -> Detections:
    places = np.array(boxes, np.float32)
    points = np.array([(WAVING, BOWING)[kind] for kind in kinds])
    points[..., :2] = places[:, None, :2] + points[..., :2] * (places[:, 2:] - places[:, :2])[:, None]
    return Detections.of(boxes, [0.9] * len(boxes), [0] * len(boxes), keypoints=points)


def part_again(text: str, make: Make, seed: int) -> bool:
    """Two meet, stand as one box for a second, and go back the way they came: are they who they were?"""
    tracker, random = open_tracker(text), np.random.default_rng(seed)
    first: list[int] = []
    for index in range(80):
        apart = 4.0 * max(30 - index, 0, index - 50)
        boxes = [[100 - apart, 50, 200 - apart, 150], [100 + apart, 50, 200 + apart, 150]]
        noisy = (np.array(boxes) + random.normal(0, 3, (2, 4))).tolist()
        kinds = [0, 1] if index % 2 else [1, 0]
        found = tracker.update(make([noisy[kind] for kind in kinds], kinds), index / 20)
        last = found.ids[np.argsort(kinds)].tolist()
        first = first or last
    return last == first


@pytest.mark.parametrize("name", TRACKERS)
@pytest.mark.parametrize("make", [masked, posed])
def test_two_who_stand_in_one_box_are_told_apart_by_what_fills_it(name: str, make: Make) -> None:
    assert all(part_again(name, make, seed) for seed in range(6))
    assert not all(part_again(f"{name},shape=0", make, seed) for seed in range(6))


def test_who_moves_his_arms_is_who_he_was() -> None:
    tracker = open_tracker("sort,iou=0.6")
    ids = [
        tracker.update(posed([[0, 0, 80, 200]], [index // 3 % 2]), index / 10).ids[0] for index in range(20)
    ]
    assert set(ids) == {1}


@pytest.mark.parametrize(
    ("make", "least", "most"), [(masked, 0.8, 0.35), (posed, 0.95, 0.5)], ids=["masks", "poses"]
)
def test_likeness_is_high_for_the_same_and_low_for_another(make: Make, least: float, most: float) -> None:
    shapes, rows = Shapes(), np.arange(2)
    shapes.grow(2)
    boxes = [[10, 10, 90, 130], [12, 8, 92, 128]]
    shapes.see(rows, make(boxes, [0, 1]))
    found = make([[30, 20, 110, 140], [31, 19, 111, 139]], [0, 1])
    like = shapes.likeness(rows, found.boxes, found, np.ones((2, 2), bool))
    assert min(like[0, 0], like[1, 1]) > least
    assert max(like[0, 1], like[1, 0]) < most
    assert shapes.likeness(rows, found.boxes, found, np.zeros((2, 2), bool)).tolist() == [[1, 1], [1, 1]]


def test_what_is_not_known_speaks_neither_for_nor_against() -> None:
    shapes, rows = Shapes(), np.arange(1)
    shapes.grow(1)
    for found in (masked([[0, 0, 9, 9]], [0]), posed([[0, 0, 9, 9]], [0])):
        assert shapes.likeness(rows, found.boxes, found, np.ones((1, 1), bool)).tolist() == [[1]]

"""Which detection counts as which object's."""

from __future__ import annotations

import numpy as np
import pytest

from engines.detections import Detections
from trainers.confusion import confusion
from trainers.data.batch import Sample

A, B, FAR = [0, 0, 10, 10], [20, 0, 40, 10], [60, 60, 80, 80]


@pytest.mark.parametrize(
    ("found", "table"),
    [
        pytest.param(([A, B], [0.9, 0.8], [0, 1]), [[1, 0, 0], [0, 1, 0], [0, 0, 0]], id="right"),
        pytest.param(
            ([A, B], [0.9, 0.8], [1, 1]), [[0, 1, 0], [0, 1, 0], [0, 0, 0]], id="one-taken-for-other"
        ),
        pytest.param(
            ([A, FAR], [0.9, 0.8], [0, 0]), [[1, 0, 0], [0, 0, 1], [1, 0, 0]], id="missed-and-false"
        ),
        pytest.param(([A, A], [0.5, 0.9], [1, 0]), [[1, 0, 0], [0, 0, 1], [0, 1, 0]], id="twice"),
        pytest.param(([A], [0.2], [0]), [[0, 0, 1], [0, 0, 1], [0, 0, 0]], id="not-sure"),
        pytest.param((np.zeros((0, 4)), [], []), [[0, 0, 1], [0, 0, 1], [0, 0, 0]], id="nothing"),
    ],
)
def test_every_object_and_detection_is_counted_once(found, table: list[list[int]]) -> None:
    sample = Sample(np.zeros((100, 100, 3), np.uint8), np.array([A, B], np.float32), np.array([0, 1]))
    assert confusion([sample], [Detections.of(*found)], 2) == tuple(map(tuple, table))


def test_a_picture_without_objects_has_only_false_ones() -> None:
    empty = Sample(np.zeros((9, 9, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    assert confusion([empty], [Detections.of([A], [0.9], [0])], 1) == ((0, 0), (1, 0))

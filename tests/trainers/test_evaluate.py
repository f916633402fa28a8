"""Average precision on cases whose answer is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from engines.detections import EMPTY, Detections
from trainers.data.batch import Sample
from trainers.evaluate import Predict, measure

CLASSES = ("person", "car", "ball")
TRUTH = np.array([[10, 10, 50, 50], [60, 10, 90, 40]], np.float32)
SAMPLES = [
    Sample(np.full((100, 100, 3), shade, np.uint8), TRUTH + shade, np.array([0, 1])) for shade in (0, 4)
]


def answering(answer: Detections) -> Predict:
    """Predict the answer, moved as the truth of each picture is."""

    def predict(images: Sequence[np.ndarray]) -> list[Detections]:
        return [
            Detections.of(answer.boxes + image[0, 0, 0], answer.scores, answer.classes) for image in images
        ]

    return predict


@pytest.mark.parametrize(
    ("answer", "ap", "ap50"),
    [
        pytest.param(Detections.of(TRUTH, [0.9, 0.8], [0, 1]), 1.0, 1.0, id="all-found"),
        pytest.param(EMPTY, 0.0, 0.0, id="nothing-found"),
        pytest.param(Detections.of(TRUTH, [0.9, 0.8], [1, 0]), 0.0, 0.0, id="classes-swapped"),
        pytest.param(Detections.of(TRUTH[:1], [0.9], [0]), 0.5, 0.5, id="one-class-of-two"),
        pytest.param(
            Detections.of(np.vstack([TRUTH, TRUTH]), [0.9, 0.8, 0.3, 0.2], [0, 1, 0, 1]),
            1.0,
            1.0,
            id="doubles-below",
        ),
        pytest.param(Detections.of([[10, 10, 50, 34]], [0.9], [0]), 0.15, 0.5, id="iou-of-.6-counts-to-.6"),
    ],
)
def test_average_precision_of_known_answers(answer: Detections, ap: float, ap50: float) -> None:
    report = measure(answering(answer), SAMPLES, CLASSES)
    assert report.ap == pytest.approx(ap, abs=0.005)
    assert report.ap50 == pytest.approx(ap50, abs=0.005)
    assert report.pictures == 2


def test_each_class_has_its_own_figures() -> None:
    report = measure(answering(Detections.of(TRUTH[:1], [0.9], [0])), SAMPLES, CLASSES)
    assert report.classes["person"] == pytest.approx((1.0, 1.0))
    assert report.classes["car"] == (0.0, 0.0)

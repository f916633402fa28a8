"""What a model is measured on: scenes, or one person in each picture; PCK by hand."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from engines.detections import Detections
from engines.errors import InputError
from trainers import evaluate, exam
from trainers.data.batch import Sample
from trainers.data.crops import people
from trainers.data.scenes import render_scenes


@pytest.mark.parametrize(("off", "share"), [(0.05, 1.0), (0.15, 0.0)])
def test_pck_counts_points_within_a_tenth_of_the_longer_side(
    off: float, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = people(render_scenes(6, 70, 320, fixed=(320, 180), task="pose"), (48, 64), 4)
    truth = iter(samples)

    @contextlib.contextmanager
    def opened(model: Any) -> Iterator[Any]:
        def predict(images: Any) -> list[Detections]:
            sample = next(truth)
            points = sample.keypoints.copy()
            points[..., 0] += off * (sample.boxes[0, 2:] - sample.boxes[0, :2]).max()
            return [Detections.of(sample.boxes, np.ones(1), np.zeros(1), keypoints=points)]

        yield predict, ("person",)

    monkeypatch.setattr(exam, "opened", opened)
    assert exam.pck("any", samples) == share


def test_scenes_come_with_what_the_model_gives() -> None:
    (sample, *_) = exam.rendered("tiny-yolo", 2, 80, held_out=True)
    assert sample.image.shape == (360, 640, 3)
    assert not len(sample.masks)
    assert not sample.keypoints.size


@pytest.fixture
def knowing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let a model of these classes find a person, a car and a ball where a person and a ball are."""
    boxes = np.array([[10, 10, 50, 50], [60, 10, 90, 40], [60, 60, 80, 80]], np.float32)
    sample = Sample(np.zeros((100, 100, 3), np.uint8), boxes[[0, 2]], np.array([0, 2]))

    def given(*names: str) -> None:
        @contextlib.contextmanager
        def opened(model: Any) -> Iterator[Any]:
            said = [names.index(name) for name in ("person", "car", "sports ball") if name in names]
            found = Detections.of(boxes[: len(said)], np.ones(len(said)), said)
            yield lambda images: [found], names

        monkeypatch.setattr(evaluate, "opened", opened)
        monkeypatch.setattr(exam, "classes_of", lambda model: names)
        monkeypatch.setattr(exam, "rendered", lambda *how, held_out: [sample])
        monkeypatch.setattr(exam, "_one_person", lambda model: None)

    return given


def test_scenes_measure_the_classes_that_a_model_shares_by_name(knowing: Callable[..., None]) -> None:
    knowing("bicycle", "sports ball", "person", "car")
    report = exam.examine("any", 1, "val", held_out=False)
    assert list(report.classes) == ["person", "car", "sports ball"]
    assert report.classes["person"] == report.classes["sports ball"] == pytest.approx((1.0, 1.0))


def test_a_model_of_one_class_is_measured_on_that_alone(knowing: Callable[..., None]) -> None:
    knowing("person")
    report = exam.examine("any", 1, "val", held_out=False)
    assert report.classes == {"person": pytest.approx((1.0, 1.0))}
    assert report.confusion == ((1, 0), (0, 0))


def test_a_model_of_none_of_the_scenes_classes_is_refused(knowing: Callable[..., None]) -> None:
    knowing("face")
    with pytest.raises(
        InputError, match=r"its classes, face, are none of the scenes': person, car, ball; --d"
    ):
        exam.examine("any", 1, "val", held_out=False)

"""What a model is measured on: scenes, or one person in each picture; PCK by hand."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from engines.detections import Detections
from trainers import exam
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

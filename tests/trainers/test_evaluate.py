"""Average precision on cases whose answer is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

import engines
from engines.detections import EMPTY, Detections, Masks
from engines.scenes import Scene
from engines.spec import Task
from trainers.data.batch import Crowds, Sample
from trainers.data.scenes import scene_sample
from trainers.evaluate import Predict, measure, opened

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


@pytest.mark.parametrize("answer", [EMPTY, Detections.of(TRUTH, [0.9, 0.8], [0, 1])], ids=["nothing", "all"])
def test_what_no_picture_has_is_not_measured(answer: Detections) -> None:
    report = measure(answering(answer), SAMPLES, CLASSES)
    assert np.isnan(report.classes["ball"]).all()
    assert report.ap == pytest.approx(float(len(answer) > 0))


CROWD = np.array([[60, 60, 100, 100]], np.float32)


def filled(boxes: np.ndarray) -> Masks:
    return Masks(tuple(np.ones((4, 4), np.float32) for _ in boxes), boxes)


def posed(boxes: np.ndarray) -> np.ndarray:
    """All joints of each box in its middle."""
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    seen = np.full((len(boxes), 1), 2)
    return np.repeat(np.hstack([middles, seen])[:, None], 17, axis=1).astype(np.float32)


@pytest.mark.parametrize("task", ["detect", "segment", "pose"])
def test_what_is_found_in_a_crowd_is_not_wrong(task: Task) -> None:
    """Twice within the crowd, before the object itself: an AP of a third if it counted."""
    boxes = np.vstack([[[62, 62, 80, 98], [80, 62, 98, 98]], TRUTH[:1]]).astype(np.float32)
    sample = replace(SAMPLES[0], boxes=boxes[2:], classes=np.array([0]), crowds=Crowds(CROWD, np.array([0])))
    found = Detections.of(boxes, [0.9, 0.8, 0.7], [0, 0, 0])
    if task == "segment":
        sample = replace(sample, masks=filled(boxes[2:]), crowds=replace(sample.crowds, masks=filled(CROWD)))
        found = replace(found, masks=filled(boxes))
    if task == "pose":
        sample = replace(sample, keypoints=posed(boxes[2:]))
        found = replace(found, keypoints=posed(boxes))
    report = measure(lambda images: [found], [sample], CLASSES)
    assert report.ap == pytest.approx(1.0)
    assert [ap for ap, _ in report.parts.values()] == [pytest.approx(1.0)] * (task != "detect")
    assert report.confusion[3][0] == 0


def test_keypoints_are_measured_by_the_labelled_area() -> None:
    points = posed(TRUTH[:1])
    sample = replace(SAMPLES[0], boxes=TRUTH[:1], classes=np.array([0]), keypoints=points)
    found = Detections.of(TRUTH[:1], [0.9], [0], keypoints=points + np.float32(3))
    large, small = (
        measure(lambda images: [found], [replace(sample, areas=np.array([area], np.float32))], CLASSES)
        for area in (1600, 200)
    )
    assert large.parts["keypoints"][0] > small.parts["keypoints"][0]


def rendered(task: Task) -> list[Sample]:
    return [scene_sample(Scene((320, 180), 30.0, seed), 40, 320, task) for seed in range(3)]


def knowing(samples: list[Sample], drift: float) -> Predict:
    """Predict the truth of the pictures in turn, masks and keypoints moved to the right by pixels."""
    turn = iter(samples)

    def predict(_: Sequence[np.ndarray]) -> list[Detections]:
        sample = next(turn)
        move = np.array([drift, 0, drift, 0], np.float32)
        keypoints = sample.keypoints + np.array([drift, 0, 0], np.float32)
        return [
            Detections.of(
                sample.boxes,
                np.ones(len(sample.boxes)),
                sample.classes,
                masks=replace(sample.masks, regions=sample.masks.regions + move),
                **({"keypoints": keypoints} if len(keypoints) else {}),
            )
        ]

    return predict


@pytest.mark.parametrize(("task", "part"), [("segment", "masks"), ("pose", "keypoints")])
@pytest.mark.parametrize(("drift", "low", "high"), [(0.0, 0.999, 1.0), (40.0, 0.0, 0.3)])
def test_masks_and_keypoints_have_their_own_precision(
    task: Task, part: str, drift: float, low: float, high: float
) -> None:
    samples = rendered(task)
    report = measure(knowing(samples, drift), samples, CLASSES)
    assert report.ap == pytest.approx(1.0)
    assert list(report.parts) == [part]
    assert low <= report.parts[part][1] <= high


def test_what_gives_no_masks_has_none_right() -> None:
    samples = rendered("segment")
    plain = [replace(sample, masks=Masks()) for sample in samples]
    report = measure(knowing(plain, 0.0), samples, CLASSES)
    assert report.ap == pytest.approx(1.0)
    assert report.parts["masks"] == (0.0, 0.0)


@pytest.mark.parametrize(("model", "iou"), [("tiny-yolo", 0.6), ("tiny-pose-topdown", 1.0)])
def test_a_file_that_needs_no_suppression_gets_none(
    model: str, iou: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    load = engines.load
    monkeypatch.setattr(engines, "load", lambda *how: asked.append(how) or load(*how))
    with opened(model):
        pass
    assert [(name, options.iou) for name, options in asked] == [(model, iou)]

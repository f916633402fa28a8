"""Every shipped model, loaded by its name, finds what held-out scenes show; masks and joints fit."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from numpy.typing import NDArray

import engines
from engines import shipped
from engines.cascade import predict
from engines.detections import Detections
from engines.masks import bitmap
from engines.scenes import Scene
from engines.suppress import iou_matrix

SIZE = (640, 360)
PICTURES = 8


Seen = list[tuple[Detections, Detections]]


def looked_at(name: str) -> Seen:
    """Truth and detections of a few held-out scenes; a model of joints alone looks where tiny-yolo finds."""
    seen = []
    with contextlib.ExitStack() as stack:
        models = [stack.enter_context(contextlib.closing(engines.load(name)))]
        if models[0].spec.layout == "heatmaps":
            models.insert(0, stack.enter_context(contextlib.closing(engines.load("tiny-yolo"))))
        for number in range(PICTURES):
            picture, truth = Scene(SIZE, seed=4_100_000 + number, held_out=True).render(41 * number)
            found = models[0].predict([picture])[0]
            if len(models) == 2:
                found = predict((models[0], models[1]), picture, classes=(0,))
            seen.append((truth, found))
    return seen


@pytest.fixture(scope="module", params=shipped.names())
def seen(request: pytest.FixtureRequest) -> Seen:
    return looked_at(request.param)


def pairs(seen: Seen) -> list[tuple[Detections, int, Detections, int]]:
    """Objects with what was found there: the same class, boxes that overlap by half."""
    matched = []
    for truth, found in seen:
        if not len(truth) or not len(found):
            continue
        same = iou_matrix(truth.boxes, found.boxes) * (truth.classes[:, None] == found.classes)
        matched += [
            (truth, row, found, int(same[row].argmax()))
            for row in range(len(truth))
            if same[row].max() >= 0.5
        ]
    return matched


def drawn(detections: Detections, row: int) -> NDArray[np.bool_]:
    canvas = np.zeros((SIZE[1], SIZE[0]), np.bool_)
    left, top, pixels = bitmap(detections.masks, row, detections.boxes[row], SIZE)
    canvas[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return canvas


def test_most_objects_are_found_and_most_boxes_are_objects(seen: Seen) -> None:
    objects, boxes, hits = sum(len(t) for t, _ in seen), sum(len(f) for _, f in seen), len(pairs(seen))
    assert objects > 30
    assert hits / objects > 0.7
    assert hits / boxes > 0.65


def test_masks_lie_on_their_objects(seen: Seen) -> None:
    if not any(len(found.masks) for _, found in seen):
        return
    overlaps = []
    for truth, row, found, other in pairs(seen):
        a, b = drawn(truth, row), drawn(found, other)
        overlaps.append((a & b).sum() / (a | b).sum())
    assert np.median(overlaps) > 0.6


def test_joints_lie_on_people(seen: Seen) -> None:
    if not any(found.keypoints.shape[1] for _, found in seen):
        return
    near = []
    for truth, row, found, other in pairs(seen):
        points, box = truth.keypoints[row], truth.boxes[row]
        known = points[:, 2] > 0
        away = np.linalg.norm(points[known, :2] - found.keypoints[other][known, :2], axis=1)
        near += (away < 0.1 * (box[2:] - box[:2]).max()).tolist()
    assert np.mean(near) > 0.6


def test_a_model_of_one_person_finds_one_in_every_picture() -> None:
    with engines.load("tiny-pose-topdown") as model:
        (found,) = model.predict([np.full((128, 96, 3), 114, np.uint8)])
    assert len(found) == 1
    assert found.scores[0] < 0.25

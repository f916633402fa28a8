"""The shipped model finds what it claims to find, in looks and seeds that its training never had."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import engines
from engines.detections import Detections
from engines.scenes import CLASSES, Scene
from engines.suppress import iou_matrix

PICTURES = 60
FLOORS = [
    ("person", 0.81, 0.84),
    ("car", 0.85, 0.77),
    ("ball", 0.71, 0.83),
]  # recall, precision: measured - .1


@pytest.fixture(scope="module")
def model() -> Iterator[engines.Model]:
    loaded = engines.load("tiny-yolo", engines.Options(backend="openvino"))
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def pairs(model: engines.Model) -> list[tuple[Detections, Detections]]:
    """Truth and detections of held-out scenes at the model's own threshold."""
    found = []
    for number in range(PICTURES):
        picture, truth = Scene((640, 360), seed=4_000_000 + number, held_out=True).render(37 * number)
        found.append((truth, model.predict([picture])[0]))
    return found


def matched(truth: Detections, found: Detections) -> tuple[int, int]:
    """Return how many objects have a box of IoU .5 or more, and how many boxes have an object."""
    if not len(truth) or not len(found):
        return 0, 0
    same = (iou_matrix(truth.boxes, found.boxes) >= 0.5) & (truth.classes[:, None] == found.classes)
    return int(same.any(axis=1).sum()), int(same.any(axis=0).sum())


@pytest.mark.parametrize(("name", "recall", "precision"), FLOORS)
def test_objects_of_a_class_are_found_and_boxes_are_right(
    pairs: list[tuple[Detections, Detections]], name: str, recall: float, precision: float
) -> None:
    kind = CLASSES.index(name)
    mine = [(truth[truth.classes == kind], found[found.classes == kind]) for truth, found in pairs]
    hits = np.sum([matched(truth, found) for truth, found in mine], axis=0)
    objects, boxes = (sum(len(pair[side]) for pair in mine) for side in (0, 1))
    assert objects > 50
    assert hits[0] / objects >= recall
    assert hits[1] / boxes >= precision


def test_the_file_says_what_it_is(model: engines.Model) -> None:
    assert model.spec.name == "tiny-yolo"
    assert model.spec.classes == CLASSES
    assert model.spec.task == "detect"
    assert model.spec.layout == "dense"


def test_an_empty_street_is_empty(model: engines.Model) -> None:
    picture, _ = Scene((640, 360), seed=77, held_out=True, count=0).render(0)
    assert len(model.predict([picture])[0]) == 0

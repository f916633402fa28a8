"""Cascades: a second model on what the first has found, joined as what it gives asks for."""

from __future__ import annotations

import numpy as np
import pytest

from engines.cascade import joined, parts, role, together
from engines.detections import Detections, Masks
from engines.errors import InputError
from engines.spec import ModelSpec

STREET = ModelSpec("street", "detect", "yolox", ("person", "car"), (64, 64))
JOINTS = ModelSpec("joints", "pose", "simcc", ("person",), (48, 64), keypoints=("a", "b"), skeleton=((0, 1),))
FACES = ModelSpec("faces", "detect", "ultraface", ("face",), (32, 32))
STRETCHED = ModelSpec("stretched", "detect", "ultraface", ("face",), (64, 48), "stretch")
BRANDS = ModelSpec("brands", "classify", "classifier", ("fast", "car"), (32, 32), "stretch")
VECTORS = ModelSpec("vectors", "embed", "embedding", (), (32, 32), "stretch")
FOUND = Detections.of([[10, 20, 30, 60], [50, 20, 90, 40], [12, 20, 32, 60]], [0.9, 0.8, 0.7], [0, 1, 0])

PARTS = {
    "as it is, from even pixels on": (FACES, [11, 21, 31, 61], 0, [10, 20, 32, 62]),
    "fractions are covered": (FACES, [10.5, 20.5, 29.5, 59.5], 0, [10, 20, 30, 60]),
    "as told": (FACES, [20, 20, 40, 60], 1.5, [14, 10, 46, 70]),
    "a person and what is around": (JOINTS, [40, 20, 64, 52], 0, [36, 16, 68, 56]),
    "the proportions of the input": (JOINTS, [40, 20, 50, 60], 0, [26, 14, 64, 66]),
    "not stretched": (STRETCHED, [40, 20, 60, 60], 0, [22, 20, 78, 60]),
    "a class of all of it": (BRANDS, [40, 20, 60, 60], 0, [40, 20, 60, 60]),
    "not beyond the picture": (JOINTS, [0, 0, 30, 40], 0, [0, 0, 34, 46]),
    "never nothing": (FACES, [99, 79, 99, 79], 0, [98, 78, 100, 80]),
}


@pytest.mark.parametrize(("spec", "box", "margin", "rect"), PARTS.values(), ids=PARTS.keys())
def test_parts_are_what_the_second_model_wants_to_see(
    spec: ModelSpec, box: list[float], margin: float, rect: list[int]
) -> None:
    assert parts(np.array([box], np.float32), (100, 80), spec, margin).tolist() == [rect]


def test_the_role_of_a_model_is_what_it_gives() -> None:
    assert [role(spec) for spec in (JOINTS, FACES, BRANDS, VECTORS)] == [
        "joints",
        "things",
        "class",
        "embedding",
    ]
    with pytest.raises(InputError, match="then: cut gives masks"):
        role(ModelSpec("cut", "segment", "yolact", ("person",), (32, 32)))


def test_two_specs_become_one() -> None:
    assert together(STREET, FACES).classes == ("person", "car", "face")
    assert together(STREET, BRANDS).classes == ("person", "car", "fast")
    assert together(STREET, VECTORS).classes == STREET.classes
    both = together(STREET, JOINTS)
    assert (both.classes, both.keypoints, both.skeleton) == (STREET.classes, ("a", "b"), ((0, 1),))


def test_joints_move_to_their_person_and_others_have_none() -> None:
    rows = np.array([0, 2])
    rects = parts(FOUND.boxes[rows], (100, 80), JOINTS)
    one = Detections.of(
        [[0, 0, 9, 9]], [0.5], [0], keypoints=np.array([[[1, 2, 0.9], [3, 4, 0.8]]], np.float32)
    )
    given = [one, Detections.of([], [], [], keypoints=np.zeros((0, 2, 3), np.float32))]
    points = joined(FOUND, rows, rects, given, (STREET, JOINTS)).keypoints
    left, top = rects[0, :2]
    np.testing.assert_allclose(points[0], [[left + 1, top + 2, 0.9], [left + 3, top + 4, 0.8]])
    assert not points[1:].any()


def test_a_class_of_the_part_becomes_the_rows_own() -> None:
    given = [Detections.of([[0, 0, 9, 9]], [0.6], [0])]
    found = joined(FOUND, np.array([1]), np.array([[50, 20, 90, 40]]), given, (STREET, BRANDS))
    assert found.classes.tolist() == [0, 2, 0]
    np.testing.assert_allclose(found.scores, FOUND.scores)


def test_vectors_lie_with_their_rows() -> None:
    found = joined(
        FOUND, np.array([2]), np.zeros((1, 4), np.intp), np.ones((1, 3), np.float32), (STREET, VECTORS)
    )
    assert found.embeddings.tolist() == [[0, 0, 0], [0, 0, 0], [1, 1, 1]]
    assert found[np.array([2, 0])].embeddings.tolist() == [[1, 1, 1], [0, 0, 0]]


def test_things_in_parts_are_rows_of_their_own_once_each() -> None:
    """The two persons overlap, and so the face of one is seen in both parts."""
    masks = Masks((np.ones((1, 1), np.float32),) * 3, FOUND.boxes)
    whole = Detections.of(FOUND.boxes, FOUND.scores, FOUND.classes, masks=masks)
    rows, rects = np.array([0, 2]), np.array([[10, 20, 30, 60], [12, 20, 32, 60]])
    given = [
        Detections.of([[5, 2, 15, 12]], [0.8], [0]),
        Detections.of([[3, 2, 13, 12], [2, 30, 8, 36]], [0.9, 0.6], [0, 0]),
    ]
    found = joined(whole, rows, rects, given, (STREET, FACES))
    assert found.classes.tolist() == [0, 1, 0, 2, 2]
    assert found.boxes[3:].tolist() == [[15, 22, 25, 32], [14, 50, 20, 56]]
    np.testing.assert_allclose(found.scores[3:], [0.9, 0.6])
    assert len(found.masks) == 5

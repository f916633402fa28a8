"""Parity: what counts as the same detections."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engines.parity import Difference, compare, pictures


def candidates(*rows: tuple[float, float]) -> dict[str, np.ndarray]:
    """Boxes of 10x10 at x, with their scores, best first."""
    boxes = np.array([[x, 0, x + 10, 10] for _, x in rows], np.float32)
    return {"boxes": boxes, "scores": np.array([score for score, _ in rows], np.float32)}


SIZE = (128, 32)
REFERENCE = candidates((0.9, 0), (0.8, 50), (0.05, 90))

CASES = {
    "the same": (REFERENCE, 0.0, 1.0, True),
    "scores a little lower": (candidates((0.88, 0), (0.75, 50), (0.05, 90)), 0.05, 1.0, True),
    "near equals swapped": (candidates((0.85, 50), (0.84, 0), (0.05, 90)), 0.05, 1.0, True),
    "one is lost": (candidates((0.9, 0), (0.3, 50), (0.05, 90)), 0.5, 1.0, False),
    "one lies elsewhere": (candidates((0.9, 0), (0.8, 55), (0.05, 90)), 0.0, 1 / 3, False),
    "what is too faint to show": (candidates((0.9, 0), (0.8, 50), (0.05, 20)), 0.0, 1.0, True),
}


@pytest.mark.parametrize(("other", "score", "iou", "small"), CASES.values(), ids=CASES.keys())
def test_the_difference_is_the_worst_of_scores_and_boxes(
    other: dict[str, np.ndarray], score: float, iou: float, small: bool
) -> None:
    seen = compare([REFERENCE, REFERENCE], [REFERENCE, other], SIZE)
    assert (seen.score, seen.iou) == pytest.approx((score, iou), abs=1e-6)
    assert seen.small is small


# Cells of 2 pixels: the first mask is the lower part of its box, the second the upper part.
LOWER = np.where(np.arange(16)[:, None] < 3, -1, 1) * np.ones((16, 64), np.float32)
MASKS = REFERENCE | {
    "coefficients": np.array([[3, 0], [0, 2], [1, 1]], np.float32),
    "prototypes": np.stack([LOWER, -LOWER]),
}
CORNERS = np.array([[[0, 0, 0]], [[50, 0, 0]], [[90, 0, 0]]], np.float32)
JOINTS = REFERENCE | {
    "keypoints": CORNERS + np.array([[1, 1, 0.9], [9, 1, 0.8], [5, 9, 0.9], [3, 3, 0.1]], np.float32)
}
UNSEEN = np.zeros((4, 3), np.float32)
UNSEEN[3, 0] = 90


def swapped(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The first two candidates in each other's places."""
    rows = {name: values[[1, 0, 2]] for name, values in tensors.items() if name != "prototypes"}
    return tensors | rows | {"scores": tensors["scores"]}


PARTS = {
    "masks swapped with their boxes": (MASKS, swapped(MASKS), 1.0, 0.0, True),
    "edges of masks a pixel away": (MASKS, {"prototypes": MASKS["prototypes"] + 0.6}, 100 / 120, 0.0, True),
    "masks of other rows": (MASKS, {"coefficients": MASKS["coefficients"][[1, 0, 2]]}, 0.0, 0.0, False),
    "no masks": (MASKS, {"prototypes": -np.ones_like(MASKS["prototypes"])}, 0.0, 0.0, False),
    "joints swapped with their boxes": (JOINTS, swapped(JOINTS), 1.0, 0.0, True),
    "joints a pixel away": (JOINTS, {"keypoints": JOINTS["keypoints"] + [1, 0, 0]}, 1.0, 1 / 200**0.5, True),
    "a joint that is not seen": (JOINTS, {"keypoints": JOINTS["keypoints"] + UNSEEN}, 1.0, 0.0, True),
    "joints at the left edge": (
        JOINTS,
        {"keypoints": JOINTS["keypoints"] * [0, 1, 1]},
        1.0,
        (15 / 200**0.5 + 3) / 6,
        False,
    ),
}


@pytest.mark.parametrize(
    ("reference", "change", "masks", "keypoints", "small"), PARTS.values(), ids=PARTS.keys()
)
def test_masks_and_joints_are_compared_where_the_boxes_lie(
    reference: dict[str, np.ndarray],
    change: dict[str, np.ndarray],
    masks: float,
    keypoints: float,
    small: bool,
) -> None:
    seen = compare([reference, reference], [reference, reference | change], SIZE)
    assert (seen.score, seen.iou) == pytest.approx((0, 1), abs=1e-6)
    assert (seen.masks, seen.keypoints) == pytest.approx((masks, keypoints), abs=1e-6)
    assert seen.small is small


FURTHER: dict[str, dict[str, float]] = {  # than the same arithmetic, than the same detections
    "score": {"none": 0.02, "small": 0.2},
    "iou": {"none": 0.97, "small": 0.7},
    "masks": {"none": 0.9, "small": 0.7},
    "keypoints": {"none": 0.03, "small": 0.2},
}


@pytest.mark.parametrize("verdict", ["none", "small"])
@pytest.mark.parametrize("measure", FURTHER)
def test_each_measure_alone_can_refuse(measure: str, verdict: str) -> None:
    same = Difference(0.0, 1.0)
    assert getattr(same, verdict)
    assert not getattr(replace(same, **{measure: FURTHER[measure][verdict]}), verdict)


BROKEN = [(MASKS, name) for name in MASKS] + [(JOINTS, "keypoints")]
BROKEN += [({"embeddings": np.array([0.6, 0.8], np.float32)}, "embeddings")]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(("reference", "name"), BROKEN, ids=[name for _, name in BROKEN])
def test_what_is_no_number_is_never_the_same(
    reference: dict[str, np.ndarray], name: str, value: float
) -> None:
    broken = reference | {name: reference[name].copy()}
    broken[name][-1] = value
    for pair in ((reference, broken), (broken, reference)):
        seen = compare([pair[0]], [pair[1]], SIZE)
        assert seen.score == np.inf
        assert not seen.small


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (640, 384)])
def test_pictures_are_of_any_size_and_no_two_alike(size: tuple[int, int]) -> None:
    seen = pictures(size, 3)
    assert {(image.shape, str(image.dtype)) for image in seen} == {((size[1], size[0], 3), "uint8")}
    assert not np.array_equal(seen[0], seen[1])

"""Parity: what counts as the same detections."""

from __future__ import annotations

import numpy as np
import pytest

from engines.parity import compare, pictures


def candidates(*rows: tuple[float, float]) -> dict[str, np.ndarray]:
    """Boxes of 10x10 at x, with their scores, best first."""
    boxes = np.array([[x, 0, x + 10, 10] for _, x in rows], np.float32)
    return {"boxes": boxes, "scores": np.array([score for score, _ in rows], np.float32)}


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
    seen = compare([REFERENCE, REFERENCE], [REFERENCE, other])
    assert (seen.score, seen.iou) == pytest.approx((score, iou), abs=1e-6)
    assert seen.small is small


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (640, 384)])
def test_pictures_are_of_any_size_and_no_two_alike(size: tuple[int, int]) -> None:
    seen = pictures(size, 3)
    assert {(image.shape, str(image.dtype)) for image in seen} == {((size[1], size[0], 3), "uint8")}
    assert not np.array_equal(seen[0], seen[1])

"""Detections: rows of equal number, chosen by numpy's rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engines.detections import EMPTY, Detections, Masks

FOUND = Detections.of(
    [[0, 0, 1, 1], [1, 1, 2, 2], [2, 2, 3, 3]],
    [0.9, 0.5, 0.1],
    [0, 1, 0],
    keypoints=np.arange(18, dtype=np.float32).reshape(3, 2, 3),
    masks=Masks(tuple(np.full((2, 2), row, np.float32) for row in range(3)), np.eye(3, 4, dtype=np.float32)),
)


@pytest.mark.parametrize(
    ("index", "rows"),
    [
        (FOUND.scores > 0.3, [0, 1]),
        (np.array([2, 0]), [2, 0]),
        (slice(1, None), [1, 2]),
        (np.zeros(3, bool), []),
        (1, [1]),
        (np.int64(-1), [2]),
        ([0, 2], [0, 2]),
        ([], []),
    ],
    ids=["boolean", "numbers", "slice", "nothing", "one", "the last", "list", "empty list"],
)
def test_an_index_chooses_rows_of_every_array(index: object, rows: list[int]) -> None:
    seen = FOUND[index]  # type: ignore[index]
    assert len(seen) == len(rows)
    for name in ("boxes", "scores", "classes", "ids", "keypoints"):
        np.testing.assert_array_equal(getattr(seen, name), getattr(FOUND, name)[rows])
    assert [grid[0, 0] for grid in seen.masks.grids] == rows
    np.testing.assert_array_equal(seen.masks.regions, FOUND.masks.regions[rows])


@pytest.mark.parametrize("index", [3, -4, True, None, (0, 1), "person", FOUND.boxes > 0, np.zeros(2, bool)])
def test_what_selects_no_rows_is_an_index_error(index: object) -> None:
    with pytest.raises(IndexError, match=r".{20}"):
        FOUND[index]  # type: ignore[index]


def test_a_loop_gives_one_row_after_the_other() -> None:
    assert [one.scores.tolist() for one in FOUND] == FOUND.scores[:, None].tolist()
    assert list(EMPTY) == []


def test_nothing_is_of_the_same_form() -> None:
    assert (len(EMPTY), EMPTY.boxes.shape, EMPTY.keypoints.shape, len(EMPTY.masks)) == (
        0,
        (0, 4),
        (0, 0, 3),
        0,
    )


@pytest.mark.parametrize(
    "other",
    [
        {"scores": [0.9]},
        {"classes": [0]},
        {"masks": FOUND.masks},
        {"embeddings": np.ones((3, 8), np.float32)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_rows_of_different_number_are_a_defect(other: dict[str, Any]) -> None:
    rows: dict[str, Any] = {"boxes": [[0, 0, 1, 1], [1, 1, 2, 2]], "scores": [0.9, 0.8], "classes": [0, 1]}
    assert len(Detections.of(**rows)) == 2
    with pytest.raises(ValueError, match="rows differ: boxes 2"):
        Detections.of(**rows | other)


def test_ids_are_given_without_touching_the_rest() -> None:
    seen = FOUND.with_ids(np.array([5, 6, 7]))
    assert seen.ids.tolist() == [5, 6, 7]
    assert FOUND.ids.tolist() == [-1, -1, -1]
    assert seen.boxes is FOUND.boxes


def test_what_is_printed_says_what_is_there() -> None:
    assert (repr(FOUND), repr(EMPTY)) == ("Detections(3, keypoints=2, masks)", "Detections(0)")
    assert repr(FOUND.masks) == "Masks(3)"

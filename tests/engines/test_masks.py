"""Masks: full-size pixels from small grids, and COCO's run-length code."""

from __future__ import annotations

import numpy as np
import pytest

from engines.detections import Masks
from engines.masks import bitmap, rle

SIZE = (40, 30)


def exact(pixels: np.ndarray, left: int, top: int) -> Masks:
    """A mask of whole pixels at (left, top)."""
    height, width = pixels.shape
    region = np.array([[left, top, left + width, top + height]], np.float32)
    return Masks((np.where(pixels, 1, -1).astype(np.float32),), region)


def full(masks: Masks, box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    left, top, pixels = bitmap(masks, 0, box, size)
    whole = np.zeros((size[1], size[0]), np.uint8)
    whole[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return whole


def test_a_bitmap_of_whole_pixels_comes_back_as_it_was() -> None:
    pixels = np.random.default_rng(0).random((9, 13)) > 0.5
    left, top, seen = bitmap(exact(pixels, 5, 7), 0, np.array([5, 7, 18, 16], np.float32), SIZE)
    assert (left, top) == (5, 7)
    assert seen.dtype == np.uint8
    np.testing.assert_array_equal(seen, pixels)


def test_a_coarse_grid_is_interpolated_linearly_between_cell_centres() -> None:
    """A ramp of logits from -3 to 5 over 8 px cells is 0 at x = 3/8 of the way between the two centres."""
    masks = Masks((np.array([[-3.0, 5.0]], np.float32),), np.array([[0, 0, 16, 8]], np.float32))
    _, _, seen = bitmap(masks, 0, np.array([0, 0, 16, 8], np.float32), SIZE)
    np.testing.assert_array_equal(seen, np.tile(np.arange(16) + 0.5 > 4 + 8 * 3 / 8, (8, 1)))


@pytest.mark.parametrize(
    ("box", "where"),
    [
        ((10, 10, 20, 20), (10, 10, 10, 10)),
        ((10.4, 10.4, 20.4, 20.4), (10, 10, 10, 10)),
        ((10.6, 10.6, 20.6, 20.6), (11, 11, 10, 10)),
        ((-5, -5, 5, 5), (0, 0, 5, 5)),
        ((35, 25, 60, 60), (35, 25, 5, 5)),
        ((50, 50, 60, 60), (50, 50, 0, 0)),
        ((12, 12, 12, 12), (12, 12, 0, 0)),
    ],
)
def test_pixels_lie_inside_the_box_clipped_to_the_picture(
    box: tuple[float, ...], where: tuple[int, ...]
) -> None:
    masks = Masks((np.ones((4, 4), np.float32),), np.array([[-10, -10, 70, 70]], np.float32))
    left, top, seen = bitmap(masks, 0, np.array(box, np.float32), SIZE)
    assert (left, top, seen.shape[1], seen.shape[0]) == where
    assert seen.all()


def test_a_grid_of_many_cells_is_interpolated_like_a_line() -> None:
    grid = np.array([[1, -2, 3, -1, 2]], np.float32)
    masks = Masks((grid,), np.array([[0, 0, 40, 8]], np.float32))
    _, _, seen = bitmap(masks, 0, np.array([0, 0, 40, 8], np.float32), SIZE)
    logits = np.interp(np.arange(40) + 0.5, np.arange(5) * 8 + 4, grid[0])
    np.testing.assert_array_equal(seen, np.tile(logits > 0, (8, 1)))


NOISE = np.random.default_rng(1).random((30, 40)) > 0.5
CASES = {
    "nothing inside": (np.zeros((5, 5), bool), 3, 4),
    "one pixel": (np.ones((1, 1), bool), 20, 10),
    "first pixel of the picture": (np.ones((1, 1), bool), 0, 0),
    "last pixel of the picture": (np.ones((1, 1), bool), 39, 29),
    "whole picture": (np.ones((30, 40), bool), 0, 0),
    "full-height columns join into one run": (np.ones((30, 6), bool), 5, 0),
    "noise over the whole picture": (NOISE, 0, 0),
    "noise in a corner": (NOISE[:7, :9], 31, 23),
    "checkerboard": (np.indices((10, 10)).sum(0) % 2 == 0, 2, 2),
}


@pytest.mark.parametrize(("pixels", "left", "top"), CASES.values(), ids=CASES.keys())
def test_rle_equals_pycocotools(pixels: np.ndarray, left: int, top: int) -> None:
    oracle = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    box = np.array([left, top, left + pixels.shape[1], top + pixels.shape[0]], np.float32)
    masks = exact(pixels, left, top)
    expected = oracle.encode(np.asfortranarray(full(masks, box, SIZE)))
    seen = rle(masks, 0, box, SIZE)
    assert seen == {"size": [30, 40], "counts": expected["counts"].decode()}


def test_rle_of_a_large_picture_has_runs_of_many_digits() -> None:
    oracle = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    pixels = np.random.default_rng(2).random((300, 200)) > 0.02
    masks, box = exact(pixels, 3000, 1500), np.array([3000, 1500, 3200, 1800], np.float32)
    expected = oracle.encode(np.asfortranarray(full(masks, box, (3840, 2160))))
    assert rle(masks, 0, box, (3840, 2160))["counts"] == expected["counts"].decode()

"""Outlines: the masks of training are, pixel by pixel, those that COCO's tools measure with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask

from engines.detections import Masks
from engines.masks import bitmap
from tests.trainers.data.test_readers import coco
from trainers.data.coco import read_coco
from trainers.data.outlines import painted, traced
from trainers.data.pictures import Pictures

WIDTH, HEIGHT = 60, 40


def whole(masks: Masks, box: tuple[float, ...] = (0, 0, WIDTH, HEIGHT)) -> np.ndarray:
    left, top, pixels = bitmap(masks, 0, np.array(box, np.float32), (WIDTH, HEIGHT))
    picture = np.zeros((HEIGHT, WIDTH), np.uint8)
    picture[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return picture


def shares(*polygons: list[tuple[float, float]]) -> tuple[np.ndarray, ...]:
    return tuple(np.array(part, np.float32) / (WIDTH, HEIGHT) for part in polygons)


@pytest.mark.parametrize("density", [0.02, 0.3, 0.7, 0.98])
def test_a_bitmap_that_is_traced_is_painted_as_it_was(density: float) -> None:
    random = np.random.default_rng(1)
    for _ in range(10):
        pixels = (random.random((HEIGHT, WIDTH)) < density).astype(np.uint8)
        assert np.array_equal(whole(painted((traced(pixels),), (HEIGHT, WIDTH))), pixels)
    assert traced(np.zeros((HEIGHT, WIDTH), np.uint8)) == ()


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("corners", [3, 5, 12])
def test_polygons_are_painted_as_pycocotools_does(parts: int, corners: int) -> None:
    random = np.random.default_rng(2)
    for _ in range(20):
        polygons = [random.uniform(0, (WIDTH, HEIGHT), (corners, 2)).round(2) for _ in range(parts)]
        flat = [each.ravel().tolist() for each in polygons]
        known = mask.decode(mask.merge(mask.frPyObjects(flat, HEIGHT, WIDTH)))
        assert np.array_equal(whole(painted((shares(*polygons),), (HEIGHT, WIDTH))), known)


@pytest.mark.parametrize("box", [(10, 10, 20, 20), (5, 0, 50, 40), (-5, -5, 70, 70)])
def test_a_box_larger_than_its_outline_adds_nothing(box: tuple[float, ...]) -> None:
    square = shares([(10, 10), (20, 10), (20, 20), (10, 20)])
    assert whole(painted((square,), (HEIGHT, WIDTH)), box).sum() == 100


def test_what_is_too_thin_for_a_pixel_has_none() -> None:
    masks = painted((shares([(5, 5), (9, 9)]), shares([(8, 8), (8.1, 8), (8.1, 30)])), (HEIGHT, WIDTH))
    assert whole(masks).sum() == whole(masks[1:]).sum() == 0


def test_no_objects_have_no_masks() -> None:
    masks = painted((), (HEIGHT, WIDTH))
    assert (masks.grids, masks.regions.shape) == ((), (0, 4))


def test_the_hole_of_a_packed_outline_is_read(tmp_path: Path) -> None:
    ring = np.zeros((20, 40), np.uint8, order="F")
    ring[5:15, 10:30] = 1
    ring[8:12, 15:25] = 0
    path = coco(tmp_path, segmentation={"size": [20, 40], "counts": mask.encode(ring)["counts"].decode()})
    sample = Pictures(read_coco(tmp_path, path)[0], 640, "segment")[0]
    left, top, pixels = bitmap(sample.masks, 0, sample.boxes[0], (40, 20))
    assert (left, top) == (10, 5)
    assert np.array_equal(pixels, ring[5:15, 10:30])

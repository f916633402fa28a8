"""Masks: tinted inside, a contour at the edge, nothing beyond the box."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.detections import Detections, Masks
from streamer.frame import Frame, Planes
from streamer.overlay import Canvas
from streamer.overlay.masks import TINT, masks
from streamer.overlay.palette import PALETTE

Noise = Callable[..., Planes]
Decode = Callable[[Planes], NDArray[np.float64]]


def exact(boxes: list[list[int]], classes: list[int], inset: int = 10) -> Detections:
    """Detections whose masks are filled rectangles, ``inset`` pixels inside their boxes."""
    grids = []
    for x1, y1, x2, y2 in boxes:
        grid = np.full((y2 - y1, x2 - x1), -1, np.float32)
        grid[inset : y2 - y1 - inset, inset : x2 - x1 - inset] = 1
        grids.append(grid)
    regions = np.array(boxes, np.float32)
    return Detections.of(boxes, [0.9] * len(boxes), classes, masks=Masks(tuple(grids), regions))


@pytest.mark.parametrize("subsampling", [(2, 2), (2, 1), (1, 1)])
@pytest.mark.parametrize(
    ("size", "box"), [((320, 180), [60, 30, 160, 130]), ((321, 181), [61, 33, 162, 135])]
)
def test_inside_is_the_rgb_blend_and_outside_the_box_nothing_changes(
    noise: Noise, decode: Decode, subsampling: tuple[int, int], size: tuple[int, int], box: list[int]
) -> None:
    before, planes = noise(size, subsampling), noise(size, subsampling)
    masks(Canvas(planes), Frame("s", 0, 0.0, planes, detections=exact([box], [1])))
    inner = (slice(box[1] + 16, box[3] - 16), slice(box[0] + 16, box[2] - 16))
    expected = decode(before)[inner] * (1 - TINT) + np.array(PALETTE[1]) * TINT
    assert np.abs(decode(planes)[inner] - expected).max() < 4
    outside = np.ones(planes.y.shape, bool)
    outside[box[1] : box[3], box[0] : box[2]] = False
    assert np.array_equal(planes.y[outside], before.y[outside])
    (sx, sy), clear = subsampling, np.ones(planes.u.shape, bool)
    clear[box[1] // sy : -(-box[3] // sy), box[0] // sx : -(-box[2] // sx)] = False
    assert np.array_equal(planes.u[clear], before.u[clear])


@pytest.mark.parametrize("size", [(320, 180), (1920, 1080), (3840, 2160)])
def test_edge_is_the_full_colour(noise: Noise, size: tuple[int, int]) -> None:
    planes = noise(size)
    canvas = Canvas(planes)
    masks(canvas, Frame("s", 0, 0.0, planes, detections=exact([[60, 30, 160, 130]], [1])))
    luma = canvas.yuv(PALETTE[1])[0]
    assert np.abs(planes.y[60:100, 70].astype(int) - luma).max() <= 1  # first column of the mask
    assert np.abs(planes.y[119, 90:130].astype(int) - luma).max() <= 1  # last row


def test_small_mask_lies_over_a_large_one(noise: Noise) -> None:
    both = exact([[100, 60, 140, 100], [20, 20, 220, 160]], [2, 3], inset=0)
    turned = both[np.array([1, 0])]
    results = []
    for rows in (both, turned):
        planes = noise((320, 180))
        masks(Canvas(planes), Frame("s", 0, 0.0, planes, detections=rows))
        results.append(planes)
    assert np.array_equal(results[0].y, results[1].y)
    canvas = Canvas(results[0])
    assert abs(int(results[0].u[60, 120]) - canvas.yuv(PALETTE[2])[1]) <= 1  # its contour is on top


@pytest.mark.parametrize(
    "box", [[-40, -40, -10, -10], [400, 300, 500, 350], [310, 170, 340, 200], [50, 50, 50, 50]]
)
def test_mask_at_or_beyond_the_edge_is_clipped(noise: Noise, box: list[int]) -> None:
    before, planes = noise((321, 181), (2, 2)), noise((321, 181), (2, 2))
    region = np.array([[0, 0, 321, 181]], np.float32)
    rows = Detections.of([box], [0.9], [0], masks=Masks((np.ones((4, 4), np.float32),), region))
    masks(Canvas(planes), Frame("s", 0, 0.0, planes, detections=rows))
    assert np.array_equal(planes.y[:165, :300], before.y[:165, :300])
    assert np.array_equal(planes.y, before.y) is (box[0] != 310)

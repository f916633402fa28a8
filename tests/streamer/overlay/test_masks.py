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


@pytest.mark.parametrize(("size", "share"), [((320, 180), 1.0), ((1920, 1080), 0.8), ((3840, 2160), 0.85)])
def test_edge_is_the_full_colour(noise: Noise, size: tuple[int, int], share: float) -> None:
    """In large pictures nearly so: a contour is smoothed over two chroma samples."""
    planes, before = noise(size, (2, 2)), noise(size, (2, 2)).y.astype(int)
    canvas = Canvas(planes)
    masks(canvas, Frame("s", 0, 0.0, planes, detections=exact([[60, 30, 160, 130]], [1])))
    luma = canvas.yuv(PALETTE[1])[0]
    for edge in ((slice(60, 100), 70), (119, slice(90, 130))):  # first column of the mask, last row
        left = np.abs(planes.y[edge].astype(int) - luma)
        assert (left <= (1 - share) * np.abs(before[edge] - luma) + 1).all()


def test_half_size_agrees_with_full_size(noise: Noise, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tinted in one is in the other, but for a pixel around the contour."""
    size = (1921, 1081)
    y, x = np.mgrid[-1:1:40j, -1:1:24j]
    grid = (1 - x**2 - y**2 + 0.2 * np.sin(8 * x)).astype(np.float32)
    boxes = np.array(
        [[101.3, 53.7, 333.1, 640.2], [-40, 700, 200, 1200], [1700.5, -9, 1960, 400]], np.float32
    )
    found = Detections.of(
        boxes, [0.9] * 3, [0, 1, 2], masks=Masks((grid,) * 3, boxes + np.float32([-8, -8, 8, 8]))
    )
    drawn = []
    for coarse in (5, 99):
        monkeypatch.setattr("streamer.overlay.masks.COARSE", coarse)
        planes = noise(size, (2, 2))
        masks(Canvas(planes), Frame("s", 0, 0.0, planes, detections=found))
        drawn.append(planes)
    for half, full, plain in zip(
        *((planes.y, planes.u, planes.v) for planes in (*drawn, noise(size, (2, 2)))), strict=True
    ):
        changed = full != plain
        assert changed.mean() > 0.08
        off = np.abs(half.astype(int) - full.astype(int)) > 3
        assert off[changed].mean() < 0.06, "around the contour"
        assert (half != plain)[~changed].mean() < 0.003


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


def of_region(box: list[int], region: list[int]) -> Detections:
    """A detection whose mask fills its region."""
    grids, regions = (np.ones((4, 4), np.float32),), np.array([region], np.float32)
    return Detections.of([box], [0.9], [0], masks=Masks(grids, regions))


@pytest.mark.parametrize("size", [(321, 181), (1921, 1081)])
@pytest.mark.parametrize("box", [[-40, -40, -10, -10], [330, 190, 400, 250], [310, 170, 340, 200], [50] * 4])
def test_mask_at_or_beyond_the_edge_is_clipped(noise: Noise, size: tuple[int, int], box: list[int]) -> None:
    before, planes = noise(size, (2, 2)), noise(size, (2, 2))
    if box[0] > 0:  # told as in the smaller picture
        box = (np.array(box) + np.tile(np.array(size) - (321, 181), 2)).tolist()
    masks(Canvas(planes), Frame("s", 0, 0.0, planes, detections=of_region(box, [0, 0, *size])))
    assert np.array_equal(planes.y[:-16, :-21], before.y[:-16, :-21])
    assert np.array_equal(planes.y, before.y) is (box[0] != size[0] - 11)


@pytest.mark.parametrize(
    ("size", "wide"), [((320, 180), "grid"), ((1920, 1080), "grid"), ((1920, 1080), "box")]
)
def test_mask_ends_where_its_box_does(noise: Noise, size: tuple[int, int], wide: str) -> None:
    """At half size also where its grid does."""
    before, planes = noise(size, (2, 2)), noise(size, (2, 2))
    inner, whole = [60, 40, 160, 120], [0, 0, *size]
    found = of_region(inner, whole) if wide == "grid" else of_region(whole, inner)
    masks(Canvas(planes), Frame("s", 0, 0.0, planes, detections=found))
    for plane, old, scale in ((planes.y, before.y, 1), (planes.u, before.u, 2), (planes.v, before.v, 2)):
        rows, columns = np.nonzero(plane != old)
        extent = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        assert (extent * scale).tolist() == inner

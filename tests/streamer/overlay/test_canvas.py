"""Canvas: the colour that was asked for, where it was asked for, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from streamer.frame import Matrix, Planes
from streamer.overlay import Canvas
from streamer.overlay.sprite import Sprite, kind_of, panel, tag

Noise = Callable[..., Planes]
Decode = Callable[[Planes], NDArray[np.float64]]

SUBSAMPLINGS = [(2, 2), (2, 1), (1, 1)]
COLOURS = [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255), (4, 196, 240), (245, 186, 38)]
ROUNDING = 1.8  # half a step of Y and of Cb or Cr, as they add up in R, G or B
ORANGE = (245, 120, 20)


def copied(planes: Planes) -> Planes:
    return replace(planes, y=planes.y.copy(), u=planes.u.copy(), v=planes.v.copy())


def drawn_whole(before: Planes, weight: NDArray[np.float64], yuv: tuple[int, int, int]) -> list[np.ndarray]:
    """Mix at full resolution in float, then average chroma over what each sample covers: slow and plain."""
    (width, height), (sx, sy) = before.size, before.subsampling
    luma = before.y.astype(float)
    result = [luma + (yuv[0] - luma) * weight]
    for plane, value in ((before.u, yuv[1]), (before.v, yuv[2])):
        whole = np.repeat(np.repeat(plane.astype(float), sy, 0), sx, 1)[:height, :width]
        mixed = whole + (value - whole) * weight
        rows, columns = np.indices(mixed.shape)
        cells = np.zeros((*plane.shape, 2))
        np.add.at(cells, (rows // sy, columns // sx), np.stack([mixed, np.ones_like(mixed)], axis=-1))
        result.append(cells[..., 0] / cells[..., 1])
    return result


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_filled_rectangle_has_the_asked_rgb(
    noise: Noise, decode: Decode, subsampling: tuple[int, int], matrix: Matrix, full_range: bool
) -> None:
    for rgb in COLOURS:
        canvas = Canvas(noise((32, 20), subsampling, matrix, full_range))
        canvas.fill((8, 4, 24, 16), rgb)
        inside = decode(canvas.planes)[4:16, 8:24]
        assert np.abs(inside - rgb).max() < ROUNDING, rgb


@pytest.mark.parametrize("size", [(32, 20), (33, 21)])
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("alpha", [1.0, 0.3])
@pytest.mark.parametrize(
    "rect",
    [
        pytest.param((8, 4, 24, 16), id="on the chroma grid"),
        pytest.param((7, 5, 24, 16), id="left and top off the grid"),
        pytest.param((8, 4, 23, 13), id="right and bottom off the grid"),
        pytest.param((9, 9, 10, 10), id="one pixel"),
        pytest.param((-5, -5, 40, 40), id="more than the picture"),
        pytest.param((31, 19, 50, 50), id="last corner"),
        pytest.param((12, 8, 12, 10), id="no pixel"),
    ],
)
def test_fill_mixes_each_chroma_sample_by_the_part_covered(
    noise: Noise,
    size: tuple[int, int],
    subsampling: tuple[int, int],
    alpha: float,
    rect: tuple[int, int, int, int],
) -> None:
    before = noise(size, subsampling)
    canvas = Canvas(copied(before))
    canvas.fill(rect, ORANGE, alpha)
    weight = np.zeros(before.y.shape)
    left, top, right, bottom = (max(edge, 0) for edge in rect)
    weight[top:bottom, left:right] = alpha
    expected = drawn_whole(before, weight, canvas.yuv(ORANGE))
    for plane, whole in zip((canvas.planes.y, canvas.planes.u, canvas.planes.v), expected, strict=True):
        assert np.abs(plane - whole).max() <= 1


@pytest.mark.parametrize("size", [(40, 30), (41, 31)])
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("origin", [(6, 4), (7, 5), (-3, -2), (25, 20)])
def test_blend_equals_mixing_at_full_resolution(
    noise: Noise, size: tuple[int, int], subsampling: tuple[int, int], origin: tuple[int, int]
) -> None:
    before = noise(size, subsampling)
    weight = np.random.default_rng(3).integers(0, 256, (13, 17)).astype(np.uint8)
    canvas = Canvas(copied(before))
    canvas.blend(origin, weight, ORANGE)
    frame = np.zeros((60, 80))
    frame[10 + origin[1] : 23 + origin[1], 10 + origin[0] : 27 + origin[0]] = weight / 255
    share = frame[10 : 10 + size[1], 10 : 10 + size[0]]
    expected = drawn_whole(before, share, canvas.yuv(ORANGE))
    for plane, whole in zip((canvas.planes.y, canvas.planes.u, canvas.planes.v), expected, strict=True):
        assert np.abs(plane - whole).max() <= 1.6  # the mix to 1, the averaged weight to half a step more


@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("full_range", [False, True])
def test_mask_blend_equals_an_rgb_blend(
    noise: Noise, decode: Decode, matrix: Matrix, full_range: bool
) -> None:
    before = noise((40, 30), (1, 1), matrix, full_range)
    mask = np.random.default_rng(5).integers(0, 2, (30, 40)).astype(np.uint8)
    canvas = Canvas(copied(before))
    canvas.blend((0, 0), mask * 115, ORANGE)
    alpha = (mask * 115 / 255)[..., None]
    expected = decode(before) * (1 - alpha) + np.array(ORANGE) * alpha
    assert np.abs(decode(canvas.planes) - expected).max() < 2 * ROUNDING
    assert np.array_equal(canvas.planes.y[mask == 0], before.y[mask == 0])


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("size", [(64, 48), (65, 49)])
def test_outline_is_one_colour_around_an_untouched_inside(
    noise: Noise, decode: Decode, size: tuple[int, int], subsampling: tuple[int, int]
) -> None:
    before = noise(size, subsampling)
    canvas = Canvas(copied(before))
    canvas.outline((20.4, 9.7, 43.1, 31.2), ORANGE, 2)
    changed = (np.abs(decode(canvas.planes) - ORANGE) < ROUNDING).all(axis=-1)
    ys, xs = np.nonzero(changed)
    found = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
    assert np.abs(np.array(found) - (18.4, 7.7, 45.1, 33.2)).max() <= 1.1  # on the grid: off by one at most
    left, top, right, bottom = found
    assert changed[top : top + 2, left:right].all()
    assert changed[bottom - 2 : bottom, left:right].all()
    assert changed[top:bottom, left : left + 2].all()
    assert changed[top:bottom, right - 2 : right].all()
    untouched = np.ones_like(changed)
    untouched[top:bottom, left:right] = False
    untouched[top + 2 : bottom - 2, left + 2 : right - 2] = True
    assert np.array_equal(decode(canvas.planes)[untouched], decode(before)[untouched])


@pytest.mark.parametrize(
    "box",
    [(-50, -50, -20, -20), (200, 200, 300, 300), (-9, -9, 200, 200), (0, 0, 65, 49), (63, 47, 65, 49)],
)
def test_outline_beyond_the_picture_never_wraps_around(noise: Noise, box: tuple[int, int, int, int]) -> None:
    before = noise((65, 49), (2, 2))
    canvas = Canvas(copied(before))
    canvas.outline(box, ORANGE, 2)
    inside = (slice(max(box[1], 0) + 4, min(box[3], 49) - 4), slice(max(box[0], 0) + 4, min(box[2], 65) - 4))
    assert np.array_equal(canvas.planes.y[inside], before.y[inside])
    assert np.array_equal(canvas.planes.y[12:36, 12:52], before.y[12:36, 12:52])


@pytest.mark.parametrize("box", [(-50, 10, -20, 30), (70, 10, 90, 30), (10, -50, 30, -20), (10, 70, 30, 90)])
def test_outline_of_a_box_beside_the_picture_leaves_nothing_in_it(
    noise: Noise, box: tuple[int, int, int, int]
) -> None:
    before = noise((64, 48), (2, 2))
    canvas = Canvas(copied(before))
    canvas.outline(box, ORANGE, 2)
    for plane, as_it_was in zip((canvas.planes.y, canvas.planes.u), (before.y, before.u), strict=True):
        assert np.array_equal(plane, as_it_was)


def black(size: tuple[int, int], subsampling: tuple[int, int]) -> Planes:
    (width, height), (sx, sy) = size, subsampling
    chroma = np.full((-(-height // sy), -(-width // sx)), 128, np.uint8)
    return Planes(np.zeros((height, width), np.uint8), chroma, chroma.copy(), "bt601", True)


def areas(canvas: Canvas, rgb: tuple[int, int, int]) -> list[float]:
    """How many luma pixels the colour covers in Y, U and V, part of a pixel counted as such."""
    yuv, (sx, sy) = canvas.yuv(rgb), canvas.subsampling
    planes = canvas.planes
    return [
        float(planes.y.astype(float).sum()) / yuv[0],
        float((planes.u.astype(float) - 128).sum()) / (yuv[1] - 128) * sx * sy,
        float((planes.v.astype(float) - 128).sum()) / (yuv[2] - 128) * sx * sy,
    ]


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("width", [4.0, 5.5, 7.5])
@pytest.mark.parametrize("end", [(110.0, 20.0), (20.0, 90.0), (101.3, 77.9), (40.2, 91.6)])
def test_line_covers_width_times_length_in_every_plane(
    subsampling: tuple[int, int], width: float, end: tuple[float, float]
) -> None:
    canvas = Canvas(black((128, 100), subsampling))
    canvas.line((20.0, 20.0), end, ORANGE, width)
    true = width * math.dist((20.0, 20.0), end)
    for area in areas(canvas, ORANGE):
        assert area == pytest.approx(true, rel=0.15)


@pytest.mark.parametrize("end", [(110.0, 20.0), (20.0, 90.0), (101.3, 77.9), (40.2, 91.6)])
def test_thin_line_is_as_thin_as_asked_in_luma(end: tuple[float, float]) -> None:
    canvas = Canvas(black((128, 100), (2, 2)))
    canvas.line((20.0, 20.0), end, ORANGE, 2.0)
    assert areas(canvas, ORANGE)[0] == pytest.approx(2.0 * math.dist((20.0, 20.0), end), rel=0.15)


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("radius", [2.2, 5.0, 12.0])
@pytest.mark.parametrize("centre", [(40.0, 30.0), (41.5, 30.25)])
def test_disc_covers_its_area_in_every_plane(
    subsampling: tuple[int, int], radius: float, centre: tuple[float, float]
) -> None:
    canvas = Canvas(black((80, 60), subsampling))
    canvas.discs(np.array([centre], np.float32), [ORANGE], radius)
    for area in areas(canvas, ORANGE):
        assert area == pytest.approx(math.pi * radius**2, rel=0.25)
    ys, xs = np.nonzero(canvas.planes.y)
    weights = canvas.planes.y[ys, xs]
    middle = (np.average(xs + 0.5, weights=weights), np.average(ys + 0.5, weights=weights))
    assert np.abs(np.array(middle) - centre).max() < 0.15


def test_circle_is_a_ring(noise: Noise) -> None:
    before = noise((100, 80), (2, 2))
    canvas = Canvas(copied(before))
    canvas.circle((50, 40), 20, ORANGE, 4)
    rows, columns = np.indices(before.y.shape)
    distance = np.hypot(columns + 0.5 - 50, rows + 0.5 - 40)
    assert (np.abs(canvas.planes.y[np.abs(distance - 20) < 1].astype(int) - canvas.yuv(ORANGE)[0]) <= 1).all()
    assert np.array_equal(canvas.planes.y[np.abs(distance - 20) > 4], before.y[np.abs(distance - 20) > 4])


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize(
    ("draw", "step", "strays"),
    [
        pytest.param(lambda c, x, y: c.fill((x - 6, y - 4, x + 9, y + 8), ORANGE, 0.5), 1, 0, id="fill"),
        pytest.param(
            lambda c, x, y: c.blend((x, y), np.full((9, 13), 99, np.uint8), ORANGE), 1, 0, id="blend"
        ),
        pytest.param(lambda c, x, y: c.text((x, y), "Ag", ORANGE, 9), 1, 0, id="text"),
        pytest.param(lambda c, x, y: c.paste((x, y), a_tag(c)), 1, 0, id="tag"),
        # OpenCV antialiases a few pixels differently where it clips.
        pytest.param(
            lambda c, x, y: c.discs(np.array([[x, y]], np.float32), [ORANGE], 7.0), 20, 9, id="disc"
        ),
        pytest.param(lambda c, x, y: c.line((x - 9, y - 9), (x + 9, y + 9), ORANGE, 3.0), 20, 9, id="line"),
    ],
)
def test_drawing_over_an_edge_is_the_crop_of_drawing_in_full(
    noise: Noise,
    subsampling: tuple[int, int],
    draw: Callable[[Canvas, int, int], None],
    step: int,
    strays: int,
) -> None:
    whole = noise((96, 96), subsampling)
    (sx, sy), margin = subsampling, 32
    for x, y in ((0, 0), (31, 0), (0, 31), (31, 31), (-8, 15), (15, -6), (34, 34)):
        part = Planes(
            whole.y[32:64, 32:64].copy(),
            whole.u[32 // sy : 64 // sy, 32 // sx : 64 // sx].copy(),
            whole.v[32 // sy : 64 // sy, 32 // sx : 64 // sx].copy(),
        )
        small, large = Canvas(part), Canvas(copied(whole))
        draw(small, x, y)
        draw(large, x + margin, y + margin)
        assert (np.abs(part.y.astype(int) - large.planes.y[32:64, 32:64]) > step).sum() <= strays
        crop = large.planes.u[32 // sy : 64 // sy, 32 // sx : 64 // sx]
        assert (np.abs(part.u.astype(int) - crop) > step).sum() <= strays


def a_tag(canvas: Canvas) -> Sprite:
    return tag("Ag", ORANGE, (8, 4, 3), kind_of(canvas.planes))


@pytest.mark.parametrize("height", [8, 12, 16, 27, 60])
def test_text_stands_on_its_base_line_as_tall_as_asked(height: int) -> None:
    canvas = Canvas(black((900, 200), (1, 1)))
    canvas.text((10, 120), "HEX", (255, 255, 255), height)
    rows = np.flatnonzero((canvas.planes.y > 127).any(axis=1))
    assert rows[-1] + 1 == 120
    assert abs(len(rows) - height) <= max(1, 0.04 * height)
    assert np.flatnonzero(canvas.planes.y.any(axis=0))[0] == 10


def test_panel_lets_the_picture_through_by_its_opacity(noise: Noise) -> None:
    before = noise((64, 48), (2, 2))
    canvas = Canvas(copied(before))
    canvas.paste((8, 6), panel((32, 20), ORANGE, 0.6, 4, kind_of(before)))
    inner = (slice(12, 20), slice(14, 34))
    expected = before.y[inner] * 0.4 + canvas.yuv(ORANGE)[0] * 0.6
    assert np.abs(canvas.planes.y[inner] - expected).max() <= 1.1
    assert canvas.planes.y[6, 8] == before.y[6, 8]  # the corner is cut round


def test_tag_pixels_are_its_colour_or_its_ink(decode: Decode) -> None:
    canvas = Canvas(black((200, 40), (2, 2)))
    sprite = tag("person 0.87", ORANGE, (10, 5, 3), kind_of(canvas.planes))
    canvas.paste((10, 8), sprite)
    rgb = decode(canvas.planes)
    width, height = sprite.size
    box = rgb[8 : 8 + height, 10 : 10 + width]
    assert np.abs(box[2:4, 4:-4] - ORANGE).max() < 2 * ROUNDING
    assert (canvas.planes.y[8 : 8 + height, 10 : 10 + width] < 30).any()  # black letters
    canvas.planes.y[8 : 8 + height, 10 : 10 + width] = 0
    assert not canvas.planes.y.any()


def test_shared_planes_are_copied_at_the_first_stroke(noise: Noise) -> None:
    given = noise((32, 20), (2, 2))
    for plane in (given.y, given.u, given.v):
        plane.flags.writeable = False
    untouched = copied(given)
    canvas = Canvas(given, shared=True)
    assert canvas.is_untouched
    canvas.fill((0, 0, 8, 8), ORANGE)
    assert not canvas.is_untouched
    assert canvas.planes.y[4, 4] == canvas.yuv(ORANGE)[0]
    assert np.array_equal(given.y, untouched.y)
    assert np.array_equal(canvas.planes.v[8:], given.v[8:])


def test_strokes_work_on_rows_that_are_strided(noise: Noise) -> None:
    tight = noise((32, 20), (1, 1))
    wide = [np.zeros((20, 64), np.uint8) for _ in range(3)]
    for plane, source in zip(wide, (tight.y, tight.u, tight.v), strict=True):
        plane[:, :32] = source
    strided = Planes(*(plane[:, :32] for plane in wide))
    for planes in (tight, strided):
        canvas = Canvas(planes)
        canvas.fill((2, 2, 9, 9), ORANGE, 0.4)
        canvas.line((3, 3), (28, 15), ORANGE, 3)
        canvas.text((4, 16), "Hi", ORANGE, 8)
    assert np.array_equal(strided.y, tight.y)
    assert np.array_equal(strided.v, tight.v)
    assert not wide[0][:, 32:].any()


def test_colour_agrees_with_opencv_where_opencv_knows_it() -> None:
    canvas = Canvas(Planes(*(np.zeros((2, 2), np.uint8) for _ in range(3)), "bt601", True))
    for rgb in COLOURS:
        y, cr, cb = cv2.cvtColor(np.array([[rgb]], np.uint8), cv2.COLOR_RGB2YCrCb)[0, 0].tolist()
        assert np.abs(np.array(canvas.yuv(rgb)) - (y, cb, cr)).max() <= 1

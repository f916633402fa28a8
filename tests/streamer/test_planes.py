"""Planes: colour exact on the small picture, memory shared where it can be and never where it must not."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from streamer import planes as pixels
from streamer.frame import Frame, Planes

# Y'CbCr to R'G'B' as the standards print it: Cr to R, Cb to G, Cr to G, Cb to B.
TEXTBOOK = {
    "bt601": (1.402, 0.344136, 0.714136, 1.772),
    "bt709": (1.5748, 0.187324, 0.468124, 1.8556),
    "bt2020": (1.4746, 0.164553, 0.571353, 1.8814),
}
SUBSAMPLINGS = [(1, 1), (2, 1), (2, 2)]


def bilinear(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale a plane in float64 with sample centres at halves, as cv2's INTER_LINEAR is defined."""
    for axis, length in ((0, size[1]), (1, size[0])):
        where = (np.arange(length) + 0.5) * plane.shape[axis] / length - 0.5
        where = where.clip(0, plane.shape[axis] - 1)
        low = np.floor(where).astype(int).clip(0, max(plane.shape[axis] - 2, 0))
        high = np.minimum(low + 1, plane.shape[axis] - 1)
        part = (where - low).reshape((-1, 1) if axis == 0 else (1, -1))
        plane = plane.take(low, axis) * (1 - part) + plane.take(high, axis) * part
    return plane


def reference(planes: Planes, size: tuple[int, int]) -> np.ndarray:
    """Convert the whole picture in float64 by the textbook, then scale it."""
    y, cb, cr = (bilinear(plane.astype(float), planes.size) for plane in (planes.y, planes.u, planes.v))
    y, cb, cr = y - (0 if planes.full_range else 16), cb - 128, cr - 128
    if not planes.full_range:
        y, cb, cr = y * 255 / 219, cb * 255 / 224, cr * 255 / 224
    red, green_b, green_r, blue = TEXTBOOK[planes.matrix]
    rgb = np.stack([y + red * cr, y - green_b * cb - green_r * cr, y + blue * cb], -1).clip(0, 255)
    return np.stack([bilinear(rgb[..., channel], size) for channel in range(3)], -1)


def smooth(width: int, height: int) -> np.ndarray:
    """A colourful picture without hard edges."""
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def filtered(graph: str) -> av.VideoFrame:
    with av.open(graph, format="lavfi") as container:
        return next(container.decode(video=0))


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", TEXTBOOK)
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_model_view_equals_full_conversion_then_scaling(subsampling, matrix, full_range):
    planes = pixels.from_rgb(smooth(642, 362), subsampling=subsampling, matrix=matrix, full_range=full_range)
    out = np.zeros((180, 320, 3), np.uint8)
    pixels.scale_rgb(planes, out)
    difference = np.abs(out - reference(planes, (320, 180)))
    # Y, U and V are rounded when scaled, RGB when converted: up to (1.16 + 2.16 + 1) / 2 levels of blue;
    # and the reference interpolates chroma twice.
    assert difference.max() <= 3
    assert difference.mean() < 0.6


@pytest.mark.parametrize("matrix", TEXTBOOK)
@pytest.mark.parametrize("full_range", [False, True])
def test_conversion_is_exact_to_rounding(matrix, full_range):
    values = np.arange(0, 256, 5, np.uint8)
    y, u, v = (np.ascontiguousarray(grid.reshape(52, -1)) for grid in np.meshgrid(values, values, values))
    planes = Planes(y, u, v, matrix, full_range)
    assert np.abs(pixels.to_rgb(planes) - reference(planes, planes.size)).max() < 0.7


def test_view_inside_a_larger_array_is_filled_and_nothing_else():
    planes = pixels.from_rgb(smooth(64, 48))
    whole = np.full((40, 50, 3), 7, np.uint8)
    pixels.scale_rgb(planes, whole[4:28, 9:41])
    alone = np.zeros((24, 32, 3), np.uint8)
    pixels.scale_rgb(planes, alone)
    assert (whole[4:28, 9:41] == alone).all()
    whole[4:28, 9:41] = 7
    assert (whole == 7).all()


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("size", [(321, 181), (320, 180), (1, 1), (3, 2)])
def test_chroma_of_odd_sizes_rounds_up(subsampling, size):
    planes = pixels.from_rgb(np.full((size[1], size[0], 3), (200, 60, 30), np.uint8), subsampling=subsampling)
    assert planes.size == size
    assert planes.u.shape == (-(-size[1] // subsampling[1]), -(-size[0] // subsampling[0]))
    assert np.abs(pixels.to_rgb(planes).astype(int) - (200, 60, 30)).max() <= 2


@pytest.mark.parametrize("size", [(3, 2), (2, 3), (3, 3)])
def test_a_chroma_sample_at_an_odd_edge_is_of_that_edge_alone(size):
    picture = np.full((size[1], size[0], 3), (200, 60, 30), np.uint8)
    picture[2:] = picture[:, 2:] = (30, 60, 200)
    edge = pixels.from_rgb(np.full((2, 2, 3), (30, 60, 200), np.uint8), subsampling=(2, 2))
    assert pixels.from_rgb(picture, subsampling=(2, 2)).u[-1, -1] == edge.u[0, 0]


def test_rgb_survives_the_way_through_444():
    rgb = np.random.default_rng(1).integers(0, 256, (67, 45, 3), dtype=np.uint8)
    assert np.abs(pixels.to_rgb(pixels.from_rgb(rgb)).astype(int) - rgb).max() <= 2


@pytest.mark.parametrize("size", [(64, 48), (33, 48), (64, 21), (33, 21), (1, 1)])
def test_bgr_becomes_what_the_standard_says(size: tuple[int, int]):
    """BT.601, limited range; chroma averages 2x2 pixels, of which those beyond an odd edge repeat it."""
    bgr = np.random.default_rng(5).integers(0, 256, (*size[::-1], 3)).astype(np.uint8)
    made = pixels.from_bgr(bgr)
    blue, green, red = np.moveaxis(
        np.pad(bgr, ((0, size[1] % 2), (0, size[0] % 2), (0, 0)), "edge") / 255, 2, 0
    )
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    planes = [16 + 219 * luma[: size[1], : size[0]]]
    for difference in ((blue - luma) / 1.772, (red - luma) / 1.402):
        tall, wide = difference.shape
        planes.append(128 + 224 * difference.reshape(tall // 2, 2, wide // 2, 2).mean((1, 3)))
    for plane, exact in zip((made.y, made.u, made.v), planes, strict=True):
        assert plane.shape == exact.shape
        assert np.abs(plane - exact).max() <= 1.1
    assert (made.matrix, made.full_range) == ("bt601", False)


@pytest.mark.parametrize(
    ("form", "kept", "full_range"),
    [
        ("yuv420p", (2, 2), False),
        ("yuv422p", (2, 1), False),
        ("yuv444p", (1, 1), False),
        ("yuvj420p", (2, 2), True),
        ("yuvj444p", (1, 1), True),
        ("yuva420p", (2, 2), False),
        ("nv12", (2, 2), False),
        ("p010le", (2, 2), False),
        ("yuv420p10le", (2, 2), False),
        ("yuv422p10le", (2, 1), False),
        ("yuv444p12le", (1, 1), False),
        ("yuv440p", (1, 1), False),
        ("yuv411p", (2, 1), False),
        ("yuv410p", (2, 2), False),
        ("uyvy422", (2, 1), False),
        ("gray", (1, 1), True),
        ("gray10le", (1, 1), True),
        ("rgb24", (1, 1), True),
        ("bgra", (1, 1), True),
        ("gbrp", (1, 1), True),
        ("gbrp10le", (1, 1), True),
    ],
)
def test_every_pixel_format_keeps_its_chroma_and_colour(form, kept, full_range):
    flat = "color=c=0xC83C1E:size=98x66,format=" + form
    frame = filtered(flat)
    planes = pixels.from_video_frame(frame)
    assert (planes.subsampling, planes.full_range, planes.size) == (kept, full_range, (98, 66))
    expected = (200, 60, 30)
    if form.startswith("gray"):
        expected = (round(0.299 * 200 + 0.587 * 60 + 0.114 * 30),) * 3
    assert np.abs(pixels.to_rgb(planes).astype(int) - expected).max() <= 3


def test_palette_pictures_show_their_palette():
    frame = filtered("testsrc2=size=98x66,format=pal8")
    expected = frame.to_ndarray(format="rgb24").astype(int)
    assert np.abs(pixels.to_rgb(pixels.from_video_frame(frame)) - expected).max() <= 2


@pytest.mark.parametrize(
    ("height", "tag", "matrix"),
    [
        (480, 2, "bt601"),
        (718, 2, "bt601"),
        (720, 2, "bt709"),
        (480, 1, "bt709"),
        (720, 5, "bt601"),
        (720, 6, "bt601"),
        (480, 9, "bt2020"),
    ],
)
def test_matrix_follows_the_tag_and_without_one_the_height(height, tag, matrix):
    frame = av.VideoFrame(64, height, "yuv420p")
    frame.colorspace = tag
    assert pixels.from_video_frame(frame).matrix == matrix


def test_converted_formats_keep_range_and_matrix():
    frame = filtered("testsrc2=size=64x48,format=yuv420p10le")
    frame.colorspace, frame.color_range = 9, 2
    planes = pixels.from_video_frame(frame)
    wide = frame.to_ndarray()[:48].astype(float) / 4
    assert (planes.matrix, planes.full_range) == ("bt2020", True)
    assert np.abs(planes.y - wide).max() <= 1


def test_decoded_planes_are_shared_and_cannot_be_written():
    frame = filtered("testsrc2=size=98x66")
    planes = pixels.from_video_frame(frame)
    assert planes.y.ctypes.data == frame.planes[0].buffer_ptr
    for plane in (planes.y, planes.u, planes.v):
        with pytest.raises(ValueError, match="read-only"):
            plane[0, 0] = 0


def test_planes_outlive_the_frame_they_came_from():
    frame = filtered("testsrc2=size=98x66")
    expected = frame.to_ndarray()[:66].copy()
    planes = pixels.from_video_frame(frame)
    del frame
    assert (planes.y == expected).all()


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_copy_is_equal_writable_and_apart(subsampling):
    planes = pixels.from_rgb(smooth(33, 21), subsampling=subsampling, matrix="bt709", full_range=False)
    twin = pixels.copy(planes)
    assert (twin.matrix, twin.full_range, twin.subsampling) == ("bt709", False, subsampling)
    for ours, theirs in ((twin.y, planes.y), (twin.u, planes.u), (twin.v, planes.v)):
        assert (ours == theirs).all()
        ours[:] = 1
        assert not (theirs == 1).all()


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda frame: pickle.loads(pickle.dumps(frame))])
def test_a_decoded_frame_leaves_its_process_with_its_pixels(twin):
    planes = pixels.from_video_frame(filtered("testsrc2=size=98x66"))
    other = twin(Frame("yard", 3, 0.1, planes))
    assert (other.stream, other.index, other.planes.matrix) == ("yard", 3, planes.matrix)
    assert (pixels.to_rgb(other.planes) == pixels.to_rgb(planes)).all()
    assert pixels.to_video_frame(other.planes).width == 98


@pytest.mark.parametrize(
    ("subsampling", "shown"),
    [((2, 2), "Planes(33x21 4:2:0 bt709 limited)"), ((2, 1), "Planes(33x21 4:2:2 bt709 limited)"),
     ((1, 1), "Planes(33x21 4:4:4 bt709 limited)")],
)  # fmt: skip
def test_planes_are_shown_without_their_pixels(subsampling, shown):
    rgb = smooth(33, 21)
    assert repr(pixels.from_rgb(rgb, subsampling=subsampling, matrix="bt709", full_range=False)) == shown


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize(("matrix", "full_range"), [("bt601", True), ("bt709", False), ("bt2020", False)])
def test_video_frame_carries_pixels_and_tags(subsampling, matrix, full_range):
    planes = pixels.from_rgb(smooth(33, 21), subsampling=subsampling, matrix=matrix, full_range=full_range)
    frame = pixels.to_video_frame(planes)
    assert frame is planes.owner
    again = pixels.from_video_frame(frame)
    assert (again.matrix, again.full_range, again.subsampling) == (matrix, full_range, subsampling)
    assert (again.y == planes.y).all()
    assert (again.v == planes.v).all()


@pytest.mark.parametrize("part", [(0, 2, 32, 20), (0, 0, 32, 18), (0, 0, 30, 20)], ids=str)
def test_video_frame_of_a_part_of_another_is_a_copy(part):
    planes = pixels.from_rgb(smooth(32, 20))
    cropped = pixels.crop(planes, part)
    frame = pixels.to_video_frame(cropped)
    assert frame is not planes.owner
    assert (frame.width, frame.height) == cropped.size
    assert (pixels.from_video_frame(frame).y == cropped.y).all()


@pytest.mark.parametrize(
    ("subsampling", "chroma"),
    [((1, 1), np.s_[4:9, 2:7]), ((2, 1), np.s_[4:9, 1:4]), ((2, 2), np.s_[2:5, 1:4])],
    ids=str,
)
def test_a_crop_is_a_view_with_all_the_chroma_that_it_needs(subsampling, chroma):
    planes = pixels.from_rgb(smooth(32, 20), subsampling=subsampling)
    part = pixels.crop(planes, (2, 4, 7, 9))
    assert (part.size, part.subsampling) == ((5, 5), subsampling)
    for plane, whole, place in (
        (part.y, planes.y, np.s_[4:9, 2:7]), (part.u, planes.u, chroma), (part.v, planes.v, chroma),
    ):  # fmt: skip
        assert np.shares_memory(plane, whole)
        assert np.array_equal(plane, whole[place])


# What EXIF's table says row 0 and column 0 of the stored picture are, as numpy operations.
SHOWN = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 3),
    7: lambda a: np.rot90(a.swapaxes(0, 1), 2),
    8: np.rot90,
}


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("orientation", SHOWN)
def test_orientation_turns_luma_and_chroma_alike(orientation, subsampling):
    planes = pixels.from_rgb(smooth(64, 48), subsampling=subsampling)
    turned = pixels.orient(planes, orientation)
    assert (turned.y == SHOWN[orientation](planes.y)).all()
    expected = SHOWN[orientation](pixels.to_rgb(planes)).astype(int)
    assert np.abs(pixels.to_rgb(turned) - expected).max() <= 2
    assert turned.subsampling == ((1, 1) if subsampling == (2, 1) and orientation > 4 else subsampling)


def test_scaling_keeps_subsampling_and_picture():
    planes = pixels.from_rgb(smooth(64, 48), subsampling=(2, 2))
    wide = pixels.scale(planes, (128, 48))
    assert (wide.size, wide.subsampling) == ((128, 48), (2, 2))
    expected = cv2.resize(pixels.to_rgb(planes), (128, 48)).astype(int)
    assert np.abs(pixels.to_rgb(wide) - expected).max() <= 3


def test_real_frames_look_as_a_full_conversion_says(data_dir: Path):
    with av.open(str(data_dir / "video" / "one-by-one-person-detection.mp4")) as container:
        planes = pixels.from_video_frame(next(container.decode(video=0)))
    out = np.zeros((180, 320, 3), np.uint8)
    pixels.scale_rgb(planes, out)
    difference = np.abs(out - reference(planes, (320, 180)))
    assert difference.mean() < 0.6
    assert (
        np.percentile(difference, 99) <= 2.5
    )  # beyond it: colours outside RGB, which the reference clips earlier


@pytest.mark.parametrize("size", [(1, 8), (8, 1), (1, 1)])
def test_pictures_one_pixel_wide_or_high_can_be_drawn_on_and_encoded(size):
    width, height = size
    chroma = np.full((-(-height // 2), -(-width // 2)), 90, np.uint8)
    shown = pixels.copy(Planes(np.full((height, width), 80, np.uint8), chroma, chroma))
    assert shown.size == size
    assert (pixels.to_video_frame(shown).width, pixels.to_video_frame(shown).height) == size

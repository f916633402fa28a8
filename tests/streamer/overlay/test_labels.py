"""Labels: what they say, that they stay inside, and that they stay off each other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from engines.detections import Detections
from engines.spec import ModelSpec
from streamer.frame import Frame, Planes
from streamer.overlay import Canvas
from streamer.overlay.labels import Labels, captions
from streamer.overlay.palette import PALETTE

Noise = Callable[..., Planes]

SPEC = ModelSpec("model", "detect", "layout", ("person", "car"), (320, 320))
SIZES = [(160, 90), (320, 180), (321, 181), (768, 432), (3840, 2160)]


def tagged(size: tuple[int, int], boxes: object, subsampling: tuple[int, int] = (2, 2)) -> np.ndarray:
    """Return which luma pixels the labels of these boxes cover."""
    (width, height), (sx, sy) = size, subsampling
    chroma = np.full((-(-height // sy), -(-width // sx)), 128, np.uint8)
    planes = Planes(np.full((height, width), 255, np.uint8), chroma, chroma.copy())  # white is 235 here
    n = len(np.reshape(boxes, (-1, 4)))
    rows = Detections.of(boxes, [0.5] * n, [0] * n)
    Labels(SPEC)(Canvas(planes), Frame("s", 0, 0.0, planes, detections=rows))
    return planes.y != 255


def test_caption_names_track_class_and_score() -> None:
    rows = Detections.of(np.zeros((4, 4)), [0.874, 1, 0.5, 0], [0, 1, 1, 9], ids=np.array([-1, -1, 7, 0]))
    assert captions(rows, SPEC.classes) == ["person 0.87", "car 1.00", "#7 car 0.50", "#0 9 0.00"]
    assert captions(rows, SPEC.classes, {7: 10.0})[2:] == ["#7 car 36 km/h", "#0 9 0.00"]


@pytest.mark.parametrize("subsampling", [(2, 2), (2, 1), (1, 1)])
@pytest.mark.parametrize("size", SIZES)
def test_tag_is_whole_wherever_the_box_lies(size: tuple[int, int], subsampling: tuple[int, int]) -> None:
    w, h = size
    free = int(tagged(size, [[w * 0.3, h * 0.5, w * 0.6, h * 0.9]], subsampling).sum())
    assert free > 0
    for x in (-5, 0, w // 2, w - 8, w + 3):
        for y in (-5, 0, 3, h // 2, h - 8, h + 3):
            assert tagged(size, [[x, y, x + 8, y + 8]], subsampling).sum() == free, (x, y)
    assert tagged(size, [[0, 0, w, h]], subsampling).sum() == free


@pytest.mark.parametrize(
    ("box", "left", "top", "bottom"),
    [
        pytest.param((100, 80, 180, 140), 98, None, 80, id="over the box"),
        pytest.param((101, 0, 181, 140), 98, 0, None, id="under its edge at the top of the picture"),
        pytest.param(
            (100, -9, 180, 140), 98, 0, None, id="at the top of the picture over a box that is beyond"
        ),
        pytest.param((-50, 80, 180, 140), 0, None, 80, id="from the edge of the picture on"),
    ],
)
def test_tag_lies_at_the_corner_of_its_box(
    box: tuple[int, ...], left: int, top: int | None, bottom: int | None
) -> None:
    rows, columns = np.nonzero(tagged((320, 180), [box]))
    assert columns.min() == left
    assert top in (None, rows.min())
    assert bottom in (None, rows.max() + 1)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_tags_of_boxes_on_one_spot_do_not_overlap(count: int) -> None:
    box = [300, 150, 420, 330]
    one = int(tagged((768, 432), [box]).sum())
    assert tagged((768, 432), [box] * count).sum() == count * one


def test_best_tag_is_whole_where_there_is_no_room_for_all(noise: Noise) -> None:
    planes = noise((320, 180), (1, 1))
    n = 60
    rows = Detections.of([[100, 60, 180, 120]] * n, np.linspace(0.3, 0.9, n), [0] * (n - 1) + [1])
    canvas = Canvas(planes)
    Labels(SPEC)(canvas, Frame("s", 0, 0.0, planes, detections=rows))
    alone = Canvas(noise((320, 180), (1, 1)))
    Labels(SPEC)(alone, Frame("s", 0, 0.0, planes, detections=rows[[n - 1]]))
    shows = alone.planes.u == alone.yuv(PALETTE[1])[1]
    assert shows.sum() > 100
    assert np.array_equal(canvas.planes.y[shows], alone.planes.y[shows])


def test_tag_is_clear_of_claimed_space(noise: Noise) -> None:
    planes = noise((320, 180), (2, 2))
    planes.y[...] = 255
    canvas = Canvas(planes)
    canvas.space.claim((0, 0, 320, 60))
    rows = Detections.of([[100, 50, 180, 120]], [0.9], [0])
    Labels(SPEC)(canvas, Frame("s", 0, 0.0, planes, detections=rows))
    assert (planes.y[:60] == 255).all()
    assert (planes.y != 255).any()

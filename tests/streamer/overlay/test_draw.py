"""Draw: a new frame with everything on it, the old one as it was, and no work where there is nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from engines.detections import Detections, Masks
from engines.spec import ModelSpec
from streamer import planes as native
from streamer.frame import Frame, Planes
from streamer.overlay import Canvas, draw, overlays
from streamer.overlay.palette import PALETTE

Noise = Callable[..., Planes]

SPEC = ModelSpec(
    "pose", "pose", "layout", ("person", "car"), (320, 320), keypoints=("a", "b"), skeleton=((0, 1),)
)


def everything(size: tuple[int, int]) -> Detections:
    w, h = size
    boxes = np.array([[0.1 * w, 0.2 * h, 0.4 * w, 0.9 * h], [0.5 * w, 0, w, h]], np.float32)
    keypoints = np.array([[[0.2 * w, 0.3 * h, 1], [0.3 * w, 0.8 * h, 1]]] * 2, np.float32)
    grids = Masks((np.ones((4, 4), np.float32),) * 2, boxes)
    return Detections.of(boxes, [0.9, 0.8], [0, 1], keypoints=keypoints, masks=grids)


@pytest.mark.parametrize("subsampling", [(2, 2), (2, 1), (1, 1)])
@pytest.mark.parametrize("size", [(320, 180), (321, 181), (33, 21), (2, 2), (1, 1)])
def test_input_frame_stays_as_it_was(
    noise: Noise, size: tuple[int, int], subsampling: tuple[int, int]
) -> None:
    given, twin = noise(size, subsampling), noise(size, subsampling)
    for plane in (given.y, given.u, given.v):
        plane.flags.writeable = False
    frame = Frame("s", 3, 0.1, given, detections=everything(size))
    result = draw(frame, overlays(SPEC, hud=lambda frame: "hud"))
    assert result is not frame
    assert frame.planes is given
    assert (result.stream, result.index, result.pts) == ("s", 3, 0.1)
    assert result.detections is frame.detections
    assert result.planes.subsampling == given.subsampling
    for name in ("y", "u", "v"):
        assert np.array_equal(getattr(given, name), getattr(twin, name))
        assert not np.shares_memory(getattr(given, name), getattr(result.planes, name))
    assert size[0] < 10 or not np.array_equal(result.planes.y, given.y)


@pytest.mark.parametrize("hud", [None, lambda frame: ""])
def test_nothing_to_draw_gives_the_frame_itself(noise: Noise, hud: Callable[[Frame], str] | None) -> None:
    frame = Frame("s", 0, 0.0, noise((320, 180), (2, 2)))
    assert draw(frame, overlays(SPEC, hud=hud)) is frame


def test_hud_is_drawn_without_detections(noise: Noise) -> None:
    frame = Frame("s", 0, 0.0, noise((320, 180), (2, 2)))
    assert draw(frame, overlays(SPEC, hud=lambda frame: "12 fps")) is not frame


def test_overlays_are_drawn_in_the_order_of_the_list(noise: Noise) -> None:
    def paint(rgb: tuple[int, int, int]) -> Callable[[Canvas, Frame], None]:
        return lambda canvas, frame: canvas.fill((0, 0, 9, 9), rgb)

    frame = Frame("s", 0, 0.0, noise((32, 20)))
    result = draw(frame, [paint((255, 0, 0)), paint((0, 0, 255))])
    assert int(result.planes.y[4, 4]) == Canvas(result.planes).yuv((0, 0, 255))[0]


def test_same_class_has_the_same_colour_in_every_frame(noise: Noise) -> None:
    for index, boxes in enumerate(([[40, 60, 100, 160]], [[200, 50, 300, 170]])):
        frame = Frame("s", index, 0.0, noise((320, 180)), detections=Detections.of(boxes, [0.5], [1]))
        planes = draw(frame, overlays(SPEC)).planes
        x1, _, _, y2 = boxes[0]
        left = (
            int(planes.y[y2 - 20, x1 - 1]),
            int(planes.u[y2 - 20, x1 - 1]),
            int(planes.v[y2 - 20, x1 - 1]),
        )
        assert left == Canvas(planes).yuv(PALETTE[1])


@pytest.mark.parametrize("name", ["one-by-one-person-detection.mp4", "derived/odd_size_321x181_yuv444.mp4"])
def test_drawing_leaves_what_the_decoder_predicts_from(data_dir: Path, name: str) -> None:
    def pictures(drawing: bool) -> list[int]:
        sums = []
        with av.open(str(data_dir / "video" / name)) as container:
            for index, picture in enumerate(container.decode(video=0)):
                planes = native.from_video_frame(picture)
                if drawing:
                    draw(Frame("s", index, 0.0, planes, detections=everything(planes.size)), overlays(SPEC))
                sums.append(hash((planes.y.tobytes(), planes.u.tobytes(), planes.v.tobytes())))
                if index == 20:
                    break
        return sums

    assert pictures(True) == pictures(False)

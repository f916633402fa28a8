"""Keypoints: what is seen is drawn, what is not seen is not, left and right keep their colours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from engines.detections import Detections
from engines.spec import ModelSpec
from streamer.frame import Frame, Planes
from streamer.overlay import Canvas
from streamer.overlay.keypoints import CENTRE, SIDES, Keypoints

Noise = Callable[..., Planes]

SPEC = ModelSpec(
    "pose",
    "pose",
    "layout",
    ("person",),
    (320, 320),
    keypoints=("left_hip", "left_knee", "right_hip", "right_knee"),
    skeleton=((0, 1), (2, 3), (0, 2)),
)
POINTS = [[60, 40, 0.9], [60, 140, 0.9], [200, 40, 0.9], [200, 140, 0.9]]


def drawn(noise: Noise, points: object, spec: ModelSpec = SPEC) -> Canvas:
    planes = noise((320, 180))
    keypoints = np.array([points], np.float32)
    rows = Detections.of([[0, 0, 320, 180]], [0.9], [0], keypoints=keypoints)
    canvas = Canvas(planes)
    Keypoints(spec)(canvas, Frame("s", 0, 0.0, planes, detections=rows))
    return canvas


def at(canvas: Canvas, x: int, y: int) -> tuple[int, int, int]:
    planes = canvas.planes
    return int(planes.y[y, x]), int(planes.u[y, x]), int(planes.v[y, x])


def test_limbs_take_the_colour_of_their_side(noise: Noise) -> None:
    canvas = drawn(noise, POINTS)
    assert at(canvas, 60, 90) == canvas.yuv(SIDES["left"])
    assert at(canvas, 200, 90) == canvas.yuv(SIDES["right"])
    assert at(canvas, 130, 40) == canvas.yuv(CENTRE)
    assert at(canvas, 60, 40) == canvas.yuv((255, 255, 255))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("unseen", [[60, 140, 0.5], [60, 140, 0.0], [np.nan, 140, 0.9], [60, np.inf, 0.9]])
def test_unseen_point_and_its_limb_are_left_out(noise: Noise, unseen: list[float]) -> None:
    before = noise((320, 180))
    canvas = drawn(noise, [POINTS[0], unseen, *POINTS[2:]])
    assert np.array_equal(canvas.planes.y[50:, :190], before.y[50:, :190])
    assert at(canvas, 200, 90) == canvas.yuv(SIDES["right"])


def test_points_without_sides_give_each_limb_its_own_colour(noise: Noise) -> None:
    spec = ModelSpec(
        "hand", "pose", "l", ("hand",), (320, 320), keypoints=tuple("abcd"), skeleton=((0, 1), (2, 3))
    )
    canvas = drawn(noise, POINTS, spec)
    assert at(canvas, 60, 90) != at(canvas, 200, 90)
    assert at(canvas, 60, 90) == at(drawn(noise, POINTS, spec), 60, 90)


def test_points_far_outside_draw_only_what_crosses_the_picture(noise: Noise) -> None:
    before = noise((320, 180))
    canvas = drawn(noise, [[-5000, 90, 1], [9000, 90, 1], [-900, -900, 1], [-800, 5000, 1]])
    assert at(canvas, 160, 90) == canvas.yuv(SIDES["left"])
    assert np.array_equal(canvas.planes.y[100:], before.y[100:])

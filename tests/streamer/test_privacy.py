"""Privacy: what is to be hidden is gone from every picture that leaves, and nothing else is touched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engines.classes import COCO_KEYPOINTS
from engines.detections import Detections
from engines.errors import InputError
from engines.spec import ModelSpec
from streamer.config import load
from streamer.frame import Frame
from streamer.inbox import Inbox
from streamer.pipeline import Pipeline
from streamer.planes import from_rgb, to_rgb
from streamer.privacy import How, Privacy, conceal, heads, privacy, read_privacy
from streamer.settings import gather, merge
from tests.streamer.test_tracking import Walker, synthetic

NOISE = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
POSE = ModelSpec("pose", "pose", "ultralytics", ("person",), (64, 64), keypoints=COCO_KEYPOINTS)
STREET = ModelSpec("street", "detect", "yolox", ("person", "car"), (64, 64))


@pytest.mark.parametrize("subsampling", [(2, 2), (2, 1), (1, 1)])
@pytest.mark.parametrize("how", ["blur", "pixelate", "fill"])
def test_detail_is_gone_inside_and_the_rest_is_as_it_was(how: How, subsampling: tuple[int, int]) -> None:
    planes = from_rgb(NOISE, subsampling=subsampling)
    before = [plane.copy() for plane in (planes.y, planes.u, planes.v)]
    shown = conceal(planes, np.array([[31, 21, 91, 81]], np.float32), how)
    for old, plane in zip(before, (planes.y, planes.u, planes.v), strict=True):
        assert np.array_equal(old, plane)
    inside = shown.y[22:80, 32:90].astype(int)
    assert len(np.unique(inside)) <= (36 if how == "pixelate" else 1 if how == "fill" else 200)
    assert np.abs(np.diff(inside, axis=1)).mean() < 6 < np.abs(np.diff(before[0].astype(int), axis=1)).mean()
    outside = np.ones(shown.y.shape, bool)
    outside[18:86, 28:96] = False
    assert np.array_equal(shown.y[outside], before[0][outside])


@pytest.mark.parametrize("box", [[-50, -50, 5, 5], [150, 110, 400, 400], [-9, -9, 999, 999], [50] * 4])
def test_boxes_at_and_beyond_the_edge_are_no_trouble(box: list[float]) -> None:
    boxes = np.array([box, [200, 20, 240, 60], [20, 20, 40, 40]], np.float32)
    shown = conceal(from_rgb(NOISE, subsampling=(2, 2)), boxes, "fill")
    assert shown.y.shape == (120, 160)
    assert (shown.y[20:40, 20:40] == 128).all()


def person(visible: tuple[int, ...]) -> Detections:
    """Someone of 80 x 240 pixels with the head around (100, 40), the shoulders below."""
    points = np.zeros((1, 17, 3), np.float32)
    places = [(100, 45), (94, 40), (106, 40), (86, 42), (114, 42), (75, 75), (125, 75)]
    for joint in visible:
        points[0, joint] = *places[joint], 1
    return Detections.of([[60, 10, 140, 250]], [0.9], [0], keypoints=points)


ALL = person((0, 1, 2, 3, 4, 5, 6))


@pytest.mark.parametrize(
    "found",
    [ALL, person((3,)), person((0, 5, 6)), person(()), Detections.of(ALL.boxes, ALL.scores, ALL.classes)],
    ids=["all", "an ear", "nose and shoulders", "nothing", "a track without keypoints"],
)
def test_a_head_is_found_by_what_is_seen_of_it(found: Detections) -> None:
    [(x1, y1, x2, y2)] = heads(found, POSE).tolist()
    assert x1 < 88
    assert 101 < x2 < 150
    assert 0 < y1 < 30
    assert 65 < y2 < 100


def test_a_model_of_faces_needs_no_shoulders() -> None:
    found, spec = person((0, 1, 2)), replace(POSE, keypoints=COCO_KEYPOINTS[:3])
    face = Detections.of(found.boxes, found.scores, found.classes, keypoints=found.keypoints[:, :3])
    [(x1, y1, x2, y2)] = heads(face, spec).tolist()
    assert x1 < 94 < 106 < x2
    assert y1 < 40 < 45 < y2


def staged(told: Privacy, spec: ModelSpec, frames: list[Frame]) -> list[Frame]:
    inbox: Inbox[Frame] = Inbox()
    lane = inbox.lane("a", capacity=len(frames))
    for frame in frames:
        lane.put(frame)
    lane.close()
    return list(privacy(told, spec)(inbox))


def test_a_place_stays_hidden_for_a_moment_after_the_detection_is_lost() -> None:
    box = Detections.of([[40, 30, 80, 90]], [0.9], [0])
    frames = [
        Frame("a", index, index / 10, from_rgb(NOISE), detections=box if index < 3 else box[:0])
        for index in range(12)
    ]
    shown = staged(Privacy("fill", hold=0.5), STREET, frames)
    assert [bool((frame.planes.y[40:80, 50:70] == 128).all()) for frame in shown] == [True] * 8 + [False] * 4


def test_what_moves_on_leaves_nothing_hidden_behind_it() -> None:
    frames = [
        Frame("a", index, index / 10, from_rgb(NOISE), detections=Detections.of(boxes, [0.9] * 2, [0] * 2))
        for index, boxes in enumerate(
            [[[10, 10, 60, 60], [90, 60, 140, 110]], [[20, 10, 70, 60], [90, 60, 140, 110]]]
        )
    ]
    shown = staged(Privacy("fill", margin=0), STREET, frames)
    assert [bool((frame.planes.y[10:60, 10:19] == 128).all()) for frame in shown] == [True, False]


def test_only_the_chosen_classes_are_hidden() -> None:
    both = Detections.of([[10, 10, 50, 50], [90, 60, 140, 110]], [0.9, 0.9], [0, 1])
    [shown] = staged(
        Privacy("fill", ("car",)), STREET, [Frame("a", 0, 0.0, from_rgb(NOISE), detections=both)]
    )
    assert (shown.planes.y[65:105, 95:135] == 128).all()
    assert not (shown.planes.y[15:45, 15:45] == 128).all()


@pytest.mark.parametrize("how", [{}, {"overlay": False}, {"every": 3, "track": "sort"}], ids=str)
def test_no_sink_and_no_caller_sees_what_is_hidden(how: dict[str, Any], tmp_path: Path) -> None:
    sinks = [str(tmp_path / "%06d.png"), str(tmp_path / "a.mp4")]
    settings = gather([synthetic(12)], "walker", sinks, hide="fill,margin=0", trails=0, **how)
    with Pipeline(settings, model=Walker(0.0)) as pipeline:
        shown = list(pipeline.frames())
    for frame in shown:
        assert (frame.planes.y[12:48, 12:20] == 128).all()
        picture = cv2.cvtColor(cv2.imread(str(tmp_path / f"{frame.index:06d}.png")), cv2.COLOR_BGR2RGB)
        hidden = picture[22:40, 13:19].reshape(-1, 3)
        assert np.ptp(hidden, axis=0).max() <= 2
        assert np.ptp(to_rgb(frame.planes)[:, 60:].reshape(-1, 3), axis=0).max() > 50


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("blurr", "hide: 'blurr', did you mean 'blur'?"),
        ("blur,clases=face", "hide: blur: unknown key 'clases', did you mean 'classes'?"),
        ("blur,margin=wide", "hide: blur: margin: 'wide', would be a number, like 0.1"),
    ],
)
def test_mistakes_are_told_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        read_privacy(text)
    assert str(caught.value) == sentence


def test_heads_need_keypoints_and_classes_must_be_known() -> None:
    with pytest.raises(InputError, match="hide: heads, but street gives no keypoints of a head"):
        privacy(Privacy(heads=1), STREET)
    with pytest.raises(InputError, match="classes: 'dog' is not in street"):
        privacy(Privacy(classes=("dog",)), STREET)


def test_the_file_says_the_same_as_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "street.yaml"
    path.write_text("sources: {a: x.mp4}\nmodel: m\nhide: {how: pixelate, classes: [face, 3], hold: 1}\n")
    assert merge([], "", [], path, {}).hide == read_privacy("pixelate,classes=face+3,hold=1")
    path.write_text("sources: {a: x.mp4}\nmodel: m\nhide: fill\n")
    assert merge([], "", [], path, {}).hide == Privacy("fill")
    path.write_text("sources: {a: x.mp4}\nmodel: m\nhide: {how: smear}\n")
    with pytest.raises(InputError, match=r"street.yaml:3: hide.how: 'smear', would be one of blur, pix"):
        load(path)

"""Outputs that are detections already: every producer's order of columns, its padding and its counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from engines.classes import COCO, COCO_KEYPOINTS
from engines.errors import InputError
from engines.masks import bitmap

SIZE = (128, 96)
CAT, DOG = ([10.0, 12, 50, 60], 0.9, 15), ([60.0, 20, 120, 90], 0.7, 16)
DOUBLE = ([11.0, 12, 50, 60], 0.6, 15)  # nothing is suppressed twice
THEIRS = {"names": repr(dict(enumerate(COCO))), "imgsz": "[96, 128]", "stride": "32"}

Run = Callable[..., Any]
Same = Callable[..., None]


def rows(*objects: Any, columns: str, count: int = 300, fill: float = 0) -> np.ndarray:
    """(count, len(columns)): b is the four of a box, s score, c class, i the picture's number, . anything."""
    table = np.full((count, len(columns.replace("b", "bbbb"))), fill, np.float32)
    for row, (box, score, label) in zip(table, objects, strict=False):
        values: list[float] = []
        for column in columns:
            values += {"b": box, "s": [score], "c": [label], "i": [0], ".": [7]}[column]
        row[:] = values
    return table


ULTRALYTICS = {
    "suppression inside": {"args": "{'nms': True}"},
    "no suppression needed": {"end2end": "True"},
}


@pytest.mark.parametrize("unknown", [(), ("output0",)], ids=["", "no axis told"])
@pytest.mark.parametrize("count", [300, 1000])
@pytest.mark.parametrize("words", ULTRALYTICS.values(), ids=ULTRALYTICS.keys())
def test_ultralytics_detections(
    words: dict, count: int, unknown: tuple[str, ...], run: Run, same: Same
) -> None:
    spec, found = run(
        {"output0": rows(CAT, DOG, DOUBLE, columns="bsc", count=count)[None]},
        SIZE,
        metadata=THEIRS | {"task": "detect"} | words,
        unknown=unknown,
    )
    assert (spec.layout, spec.classes) == ("ultralytics-end2end", COCO)
    same(found, [CAT, DOG, DOUBLE])


def test_ultralytics_segments(run: Run, same: Same) -> None:
    """Two prototypes, one positive on the left, one on the right; the second object wants the right."""
    table = np.zeros((1, 300, 8), np.float32)
    table[0, :, :6] = rows(CAT, DOG, columns="bsc")
    table[0, :2, 6:] = [[1, 0], [0, 1]]
    prototypes = np.full((1, 2, 24, 32), -1, np.float32)
    prototypes[0, 0, :, :8] = prototypes[0, 1, :, 24:] = 1
    spec, found = run(
        {"output0": table, "output1": prototypes},
        SIZE,
        metadata=THEIRS | {"task": "segment", "args": "{'nms': True}"},
    )
    assert (spec.layout, spec.task) == ("ultralytics-end2end", "segment")
    same(found, [CAT, DOG])
    left, _, pixels = bitmap(found.masks, 0, found.boxes[0], SIZE)
    assert pixels[:, : 30 - left].all()
    assert not pixels[:, 34 - left :].any()
    left, _, pixels = bitmap(found.masks, 1, found.boxes[1], SIZE)
    assert not pixels[:, : 94 - left].any()
    assert pixels[:, 98 - left :].all()


def test_a_card_need_not_say_that_rows_are_detections(run: Run, same: Same) -> None:
    table = rows((CAT[0], 0.9, 1), columns="bsc")[None]
    spec, found = run({"output0": table}, SIZE, card="layout: ultralytics-end2end\nclasses: [a, b]\n")
    assert (spec.task, spec.classes) == ("detect", ("a", "b"))
    same(found, [(CAT[0], 0.9, 1)])
    with pytest.raises(InputError, match="classes: the file does not tell them, a card must say"):
        run({"output0": table}, SIZE, card="layout: ultralytics-end2end\n")


def test_ultralytics_poses_of_two_values(run: Run, same: Same) -> None:
    person = ([10.0, 12, 50, 60], 0.9, 0)
    points = np.random.default_rng(0).uniform(10, 60, (4, 2))
    table = np.zeros((1, 300, 14), np.float32)
    table[0, :, :6] = rows(person, columns="bsc")
    table[0, 0, 6:] = points.ravel()
    words = {"task": "pose", "names": "{0: 'person'}", "kpt_shape": "[4, 2]", "args": "{'nms': True}"}
    spec, found = run({"output0": table}, SIZE, metadata=words)
    assert (spec.layout, len(spec.keypoints)) == ("ultralytics-end2end", 4)
    same(found, [person])
    np.testing.assert_allclose(found.keypoints[0, :, :2], points, atol=1e-3)
    np.testing.assert_allclose(found.keypoints[0, :, 2], 1)


def test_ultralytics_poses(run: Run, same: Same) -> None:
    person = ([10.0, 12, 50, 60], 0.9, 0)
    points = np.random.default_rng(0).uniform(10, 60, (17, 3))
    table = np.zeros((1, 300, 57), np.float32)
    table[0, :, :6] = rows(person, columns="bsc")
    table[0, 0, 6:] = points.ravel()
    words = {"task": "pose", "names": "{0: 'person'}", "kpt_shape": "[17, 3]", "imgsz": "[96, 128]"}
    spec, found = run({"output0": table}, SIZE, metadata=words)
    assert (spec.layout, spec.keypoints) == ("ultralytics-end2end", COCO_KEYPOINTS)
    same(found, [person])
    np.testing.assert_allclose(found.keypoints[0], points, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "columns", "layout"),
    [("output", "ibcs", "yolov7-end2end"), ("graph2_flat_predictions", "ibsc", "yolo-nas-flat")],
)
@pytest.mark.parametrize("count", [1, 2])
def test_flat_rows_of_any_number(
    name: str, columns: str, layout: str, count: int, run: Run, same: Same
) -> None:
    table = rows(*[CAT, DOG][:count], columns=columns, count=count)
    spec, found = run({name: table}, SIZE, open_length=True)
    assert spec.layout == layout
    same(found, [CAT, DOG][:count])


@pytest.mark.parametrize("labels", ["best", "all"])  # there is one of a place
@pytest.mark.parametrize("open_length", [True, False])
def test_mmdet(open_length: bool, labels: str, run: Run, same: Same) -> None:
    outputs = {
        "dets": rows(CAT, DOG, columns="bs", count=2)[None],
        "labels": np.array([[15, 16]], np.int64),
    }
    spec, found = run(outputs, SIZE, open_length=open_length, options={"labels": labels})
    assert (spec.layout, spec.colour, spec.mean[0]) == ("mmdet", "bgr", 103.53)
    same(found, [CAT, DOG])


def test_rtmo_still_suppresses(run: Run, same: Same) -> None:
    people = [(box, score, 0) for box, score, _ in (CAT, DOG, DOUBLE)]
    points = np.random.default_rng(0).uniform(10, 60, (1, 3, 17, 3)).astype(np.float32)
    table = rows(*people, columns="bs", count=3)[None]
    spec, found = run({"dets": table, "keypoints": points}, SIZE, open_length=True)
    assert (spec.layout, spec.resize, spec.scale) == ("rtmo", "letterbox-topleft", 1.0)
    same(found, people[:2])
    np.testing.assert_allclose(found.keypoints, points[0, :2], atol=1e-3)


def test_rtdetr_is_asked_for_the_inputs_size(run: Run, same: Same) -> None:
    shares = np.zeros((1, 300, 4), np.float32)
    shares[0, :2] = [np.array(box) / [128, 96, 128, 96] for box, _, _ in (CAT, DOG)]
    table = rows(CAT, DOG, columns="sc")
    outputs = {"labels": table[None, :, 1].astype(np.int64), "boxes": shares, "scores": table[None, :, 0]}
    spec, found = run(outputs, SIZE, sizes=True)
    assert (spec.layout, spec.resize, spec.classes) == ("rtdetr", "stretch", COCO)
    same(found, [CAT, DOG])


def test_detectionoutput_ends_at_a_negative_picture(run: Run, same: Same) -> None:
    table = np.zeros((1, 1, 200, 7), np.float32)
    for row, (box, score, label) in enumerate([CAT, DOG]):
        table[0, 0, row] = [0, label + 1, score, *(np.array(box) / [128, 96, 128, 96])]
    table[0, 0, 2] = [0, 0, 0.95, 0, 0, 1, 1]  # the background is no class
    table[0, 0, 3] = [-1, 3, 0.99, 0, 0, 1, 1]
    card = f"classes: [{', '.join(f'{name!r}' for name in COCO)}]\n"
    spec, found = run({"detection_out": table}, SIZE, card=card)
    assert (spec.layout, spec.resize) == ("detectionoutput", "stretch")
    same(found, [CAT, DOG])


def test_of_an_open_length_as_many_rows_leave_as_may_be_detected(run: Run) -> None:
    table = np.zeros((1000, 7), np.float32)
    for row in range(1000):
        x, y = row % 40 * 3, row // 40 * 3
        table[row] = [0, x, y, x + 2, y + 2, 0.9, 15]
    for most in (20, 1000):
        _, found = run({"flat_predictions": table}, SIZE, open_length=True, options={"max_det": most})
        assert len(found) == most

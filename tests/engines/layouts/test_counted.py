"""Detections in four tensors: EfficientNMS and YOLO-NAS in pixels, TensorFlow in shares of the input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from engines.classes import COCO_WITH_GAPS
from engines.errors import InputError

SIZE = (128, 96)
CAT, DOG = ([10.0, 12, 50, 60], 0.9, 15), ([60.0, 20, 120, 90], 0.7, 16)
DOUBLE = ([11.0, 12, 50, 60], 0.6, 15)  # nothing is suppressed twice
ASSUMED = "classes: the file does not tell them, COCO's 80 are assumed; a card can say others"

Run = Callable[..., Any]
Same = Callable[..., None]


def counted(prefix: str, objects: list[Any], count: int, rows: int = 100) -> dict[str, np.ndarray]:
    """The tensors of these objects, of which the first ``count`` are meant."""
    boxes, scores = np.zeros((1, rows, 4), np.float32), np.zeros((1, rows), np.float32)
    classes = np.zeros((1, rows), np.int32)
    for row, (box, score, label) in enumerate(objects):
        boxes[0, row], scores[0, row], classes[0, row] = box, score, label
    name = {"det": "num_dets", "pred": "num_predictions", "detection": "num_detections"}[prefix]
    return {
        name: np.array([[count]]),
        f"{prefix}_boxes": boxes,
        f"{prefix}_scores": scores,
        f"{prefix}_classes": classes,
    }


def in_shares(objects: list[Any], count: int, rows: int = 100) -> dict[str, np.ndarray]:
    """The same objects as TensorFlow would say them."""
    made = counted("detection", [(box, score, label + 1) for box, score, label in objects], count, rows)
    width, height = SIZE
    made["detection_boxes"] = made["detection_boxes"][..., [1, 0, 3, 2]] / np.array(
        [height, width, height, width], np.float32
    )
    return {name: values.astype(np.float32) for name, values in made.items()} | {
        "num_detections": np.array([count], np.float32)
    }


@pytest.mark.parametrize("open_length", [False, True])
@pytest.mark.parametrize("prefix", ["det", "pred"])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_rows_beyond_the_count_are_leftovers(
    prefix: str, count: int, open_length: bool, run: Run, same: Same
) -> None:
    made = counted(prefix, [CAT, DOG, DOUBLE], count)
    spec, found = run(made, SIZE, open_length=open_length)
    assert (spec.layout, spec.scale) == ("counted", 1 / 255)
    if count:
        same(found, [CAT, DOG][:count])
    else:
        assert len(found) == 0


@pytest.mark.parametrize("label", [-1, 80, 200])
def test_a_label_that_is_no_class_is_no_detection(label: int, run: Run, same: Same) -> None:
    _, found = run(counted("det", [(CAT[0], 0.9, label), DOG], 2), SIZE)
    same(found, [DOG])


def test_assumed_names_are_noted_and_a_card_ends_it(run: Run) -> None:
    spec, _ = run(counted("det", [CAT], 1), SIZE)
    assert spec.notes == (ASSUMED,)
    assert f"classes: shapes of the outputs (counted); {ASSUMED.partition(': ')[2]}" in spec.reasons
    spec, _ = run(counted("det", [CAT], 1), SIZE, card="classes: [a, b]\n")
    assert (spec.notes, spec.classes) == ((), ("a", "b"))


def test_a_network_that_takes_bytes_gets_them_as_they_are(run: Run) -> None:
    spec, found = run(counted("pred", [CAT], 1), SIZE, dtype="uint8")
    assert (spec.scale, len(found)) == (1.0, 1)


def test_tensorflow(run: Run, same: Same) -> None:
    made = in_shares([CAT, DOG, DOUBLE, (CAT[0], 0.8, -1)], 2) | {"raw_boxes": np.zeros((1, 9), np.float32)}
    spec, found = run(made, SIZE, order="nhwc", dtype="uint8")
    assert (spec.layout, spec.scale, spec.resize) == ("tensorflow", 1.0, "stretch")
    assert spec.classes == COCO_WITH_GAPS
    assert spec.notes[1] == "layout: what leaves as raw_boxes is not used"
    same(found, [CAT, DOG])


def test_names_of_two_conventions_are_decided_by_a_card(run: Run, same: Same) -> None:
    """TensorRT's samples give the tensors of its plug-in the names that TensorFlow's have."""
    made = counted("detection", [CAT, DOG], 2)
    with pytest.raises(
        InputError, match=r"could be of counted or tensorflow: .* must say 'layout: counted' or"
    ):
        run(made, SIZE)
    spec, found = run(made, SIZE, card="layout: counted\n")
    assert spec.layout == "counted"
    same(found, [CAT, DOG])
    made = in_shares([CAT, DOG], 2)
    made["num_detections"] = made["num_detections"][None]
    spec, found = run(made, SIZE, card="layout: tensorflow\n")
    assert spec.layout == "tensorflow"
    same(found, [CAT, DOG])

"""Transformers' queries: boxes from shares of the input, a sigmoid for each class, nothing suppressed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from engines.classes import COCO, COCO_WITH_GAPS
from engines.errors import InputError
from engines.masks import bitmap

SIZE = (128, 128)
CAT, DOG, DOUBLE = (
    ([10.0, 12, 50, 60], 0.9, 15),
    ([60.0, 20, 120, 90], 0.7, 16),
    ([11.0, 12, 50, 60], 0.6, 15),
)
PLACES = {3: DOG, 17: CAT, 60: DOUBLE}  # query -> object

Run = Callable[..., Any]
Same = Callable[..., None]


def queries(count: int, columns: int, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """cxcywh shares (1, count, 4), and logits (1, count, columns) of the objects."""
    boxes = np.full((1, count, 4), 0.5, np.float32)
    logits = np.full((1, count, columns), -9, np.float32)
    for place, (box, score, label) in PLACES.items():
        x1, y1, x2, y2 = np.array(box) / 128
        boxes[0, place] = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
        logits[0, place, first + label] = np.log(score / (1 - score))
    return boxes, logits


@pytest.mark.parametrize("open_length", [False, True])
def test_queries_that_are_chosen_and_sample_have_a_sigmoid_each(
    open_length: bool, run: Run, same: Same
) -> None:
    """RT-DETR and D-FINE as Hugging Face exports them."""
    boxes, logits = queries(300, 80)
    outputs = {"logits": logits, "pred_boxes": boxes}
    spec, found = run(outputs, SIZE, also=("TopK", "GridSample"), open_length=open_length)
    assert (spec.layout, spec.resize, spec.classes) == ("detr", "stretch", COCO)
    assert (spec.mean, spec.notes) == ((0, 0, 0), ())
    same(found, [CAT, DOG, DOUBLE])


EXCLUDING = {  # also in the graph
    "DETR": (),
    "a transformer as backbone": ("TopK", "GridSample", "Conv"),
}


@pytest.mark.parametrize("also", EXCLUDING.values(), ids=EXCLUDING.keys())
@pytest.mark.parametrize("columns", [3, 80, 92])
def test_queries_that_could_exclude_each_other_need_a_card(
    columns: int, also: tuple[str, ...], run: Run
) -> None:
    outputs = {"logits": np.zeros((1, 100, columns), np.float32), "pred_boxes": queries(100, 80)[0]}
    with pytest.raises(
        InputError, match=r"could be of detr or detr-softmax: .*'layout: detr' or 'layout: detr-s"
    ):
        run(outputs, SIZE, also=also)


@pytest.mark.parametrize("open_length", [False, True])
def test_classes_that_exclude_each_other(open_length: bool, run: Run, same: Same) -> None:
    """As of Table Transformer: of 125 queries all but two are sure of the last column, no object."""
    logits = np.full((1, 125, 3), -5, np.float32)
    logits[..., 2] = 6
    logits[0, 7], logits[0, 9] = np.log([0.9, 0.06, 0.04]), np.log([0.1, 0.7, 0.2])
    boxes = np.full((1, 125, 4), 0.5, np.float32)
    card = "layout: detr-softmax\nclasses: [table, column]\n"
    outputs = {"logits": logits, "pred_boxes": boxes}
    spec, found = run(outputs, SIZE, card=card, open_length=open_length)
    assert (spec.classes, spec.mean[0], spec.std[0]) == (("table", "column"), 0.485, 0.229)
    same(found, [([32, 32, 96, 96], 0.9, 0), ([32, 32, 96, 96], 0.7, 1)])


def test_the_first_detr_counts_from_an_id_that_nothing_carries(run: Run, same: Same) -> None:
    logits = np.full((1, 100, 92), -9, np.float32)
    logits[..., 91], logits[0, 5, 18], logits[0, 5, 91] = 9, np.log(9), 0
    boxes = np.full((1, 100, 4), 0.5, np.float32)
    spec, found = run({"logits": logits, "pred_boxes": boxes}, SIZE, card="layout: detr-softmax\n")
    assert spec.classes == COCO_WITH_GAPS
    assert spec.classes[found.classes[0]] == "dog"
    assert found.scores[0] == pytest.approx(0.9, abs=2e-3)


def test_other_tensors_of_queries_are_left_with_a_note(run: Run) -> None:
    boxes, logits = queries(300, 80)
    outputs = {"logits": logits, "pred_boxes": boxes, "last_hidden_state": boxes}
    spec, _ = run(outputs, SIZE, card="layout: detr\n")
    assert spec.notes == ("layout: what leaves as last_hidden_state is not used",)


@pytest.mark.parametrize(("columns", "first"), [(91, 1), (80, 0)], ids=["ids of COCO", "own classes"])
def test_rfdetr(columns: int, first: int, run: Run, same: Same) -> None:
    boxes, logits = queries(100, columns, first)
    spec, found = run({"dets": boxes, "labels": logits}, SIZE)
    assert (spec.layout, len(spec.classes), spec.mean[0]) == ("rf-detr", columns - first, 0.485)
    same(found, [CAT, DOG, DOUBLE])


def test_rfdetr_masks_belong_to_their_query(run: Run) -> None:
    """The dog's mask is the upper half of the picture, all others are empty."""
    boxes, logits = queries(100, 80)
    masks = np.full((1, 100, 32, 32), -5, np.float32)
    masks[0, 3, :16] = 5
    spec, found = run({"dets": boxes, "labels": logits, "masks": masks}, SIZE)
    assert spec.task == "segment"
    pixels = [bitmap(found.masks, row, found.boxes[row], SIZE)[2] for row in range(3)]
    assert [bool(grid.any()) for grid in pixels] == [False, True, False]
    assert pixels[1][:40].all()
    assert not pixels[1][48:].any()


@pytest.mark.parametrize("unknown", [(), ("output0",)], ids=["", "no axis told"])
def test_ultralytics_rtdetr_is_told_by_its_metadata(unknown: tuple[str, ...], run: Run, same: Same) -> None:
    boxes, _ = queries(300, 80)
    table = np.zeros((1, 300, 6), np.float32)
    table[..., :4] = boxes
    for place, (_, score, label) in PLACES.items():
        table[0, place, 4:] = score, label
    words = {
        "task": "detect",
        "names": repr(dict(enumerate(COCO))),
        "head": "RTDETRDecoder",
        "end2end": "True",
    }
    spec, found = run({"output0": table}, SIZE, metadata=words, unknown=unknown)
    assert (spec.layout, spec.resize) == ("ultralytics-rtdetr", "stretch")
    same(found, [CAT, DOG, DOUBLE])

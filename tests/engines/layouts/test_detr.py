"""Transformers' queries: boxes from shares of the input, a sigmoid for each class, nothing suppressed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from engines.classes import COCO
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


def test_hugging_face(run: Run, same: Same) -> None:
    boxes, logits = queries(300, 80)
    spec, found = run({"logits": logits, "pred_boxes": boxes}, SIZE)
    assert (spec.layout, spec.resize, spec.classes) == ("detr", "stretch", COCO)
    same(found, [CAT, DOG, DOUBLE])


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


def test_ultralytics_rtdetr_is_told_by_its_metadata(run: Run, same: Same) -> None:
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
    spec, found = run({"output0": table}, SIZE, metadata=words)
    assert (spec.layout, spec.resize) == ("ultralytics-rtdetr", "stretch")
    same(found, [CAT, DOG, DOUBLE])

"""Detections in other libraries' forms: these read of them what was found."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import engines
from engines.detections import EMPTY, Detections, Masks
from engines.errors import InputError

SIZE = (20, 10)
POINTS = np.array([[[2, 3, 1], [4, 5, 0.5]], [[12, 3, 1], [14, 5, 0]]], np.float32)
BOXES = np.array([[1, 2, 5, 6], [11.5, 2, 15.5, 9]], np.float32)
FILLED = Masks((np.ones((1, 1), np.float32), -np.ones((1, 1), np.float32)), BOXES.copy())


def two(**rest: object) -> Detections:
    return Detections.of(BOXES, [0.9, 0.5], [1, 7], **rest)


def test_coco_gets_corner_and_size_and_what_else_there_is() -> None:
    assert engines.to_coco(EMPTY, SIZE) == []
    first, second = engines.to_coco(two(), SIZE, image=3)
    assert first == {"image_id": 3, "category_id": 1, "score": pytest.approx(0.9), "bbox": [1, 2, 4, 4]}
    assert (second["category_id"], second["bbox"]) == (7, [11.5, 2, 4, 7])
    (only,) = engines.to_coco(two(keypoints=POINTS), SIZE, categories={7: 70})
    assert (only["category_id"], only["keypoints"]) == (70, [12, 3, 1, 14, 5, 0])


def test_pycocotools_reads_the_same_masks() -> None:
    mask = pytest.importorskip("pycocotools.mask")
    full, empty = engines.to_coco(two(masks=FILLED), SIZE)
    assert mask.area(full["segmentation"]) == 16
    assert mask.toBbox(full["segmentation"]).tolist() == full["bbox"]
    assert mask.area(empty["segmentation"]) == 0


def test_supervision_takes_rows_with_names_tracks_and_masks() -> None:
    pytest.importorskip("supervision")
    plain = engines.to_supervision(two(), SIZE)
    assert (plain.mask, plain.tracker_id, dict(plain.data)) == (None, None, {})
    ids = np.array([0, -1], np.int64)
    whole = engines.to_supervision(two(ids=ids, masks=FILLED, keypoints=POINTS), SIZE, ("a", "b"))
    sure = whole[whole.confidence > 0.6]
    assert sure.xyxy.tolist() == [[1, 2, 5, 6]]
    assert (sure.class_id.tolist(), sure.data["class_name"].tolist()) == ([1], ["b"])
    assert whole.data["class_name"].tolist() == ["b", "7"]
    assert whole.tracker_id.tolist() == [0, -1]
    assert whole.mask.shape == (2, 10, 20)
    assert sure.mask[0, 2:6, 1:5].all()
    assert whole.mask.sum() == 16
    assert sure.data["keypoints"].tolist() == POINTS[:1].tolist()
    assert engines.to_supervision(EMPTY, SIZE, ("a",)).is_empty()


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(InputError, match="supervision: not installed, pip install supervision"):
        engines.to_supervision(EMPTY, SIZE)

"""Pseudo-labels can be read and trained on."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

import engines
from engines.detections import Detections, Masks
from engines.errors import InputError
from trainers import label as labels
from trainers.data.coco import read_coco
from trainers.label import label

CLASSES = ("cat", "dog")


def answer(images: Sequence[np.ndarray]) -> list[Detections]:
    """A dog with a round mask and two keypoints, a cat that is little sure; nothing in a black picture."""
    if not images[0].any():
        return [Detections.of(np.zeros((0, 4)), [], [])]
    grid = np.array([[-1, 1, -1], [1, 1, 1], [-1, 1, -1]], np.float32)
    boxes = np.array([[10, 12, 50, 52], [60.5, 10, 200, 40]], np.float32)
    points = np.array([[[20, 30, 0.9], [40, 30, 0.1]]] * 2, np.float32)
    masks = Masks((grid, grid), boxes)
    return [Detections.of(boxes, [0.8, 0.3], [1, 0], masks=masks, keypoints=points)]


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, shade in (("a.png", 90), ("b.png", 0), ("c.png", 90)):
        cv2.imwrite(str(folder / name), np.full((60, 120, 3), shade, np.uint8))
    monkeypatch.setattr(labels, "_opened", lambda *_: (answer, CLASSES))
    return folder


def test_what_is_written_is_read_again(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.json"
    assert label("a.pt", pictures, out) == {"cat": 0, "dog": 2}
    records, classes = read_coco(pictures, out, keypoints=2)
    assert classes == CLASSES
    assert [len(record.boxes) for record in records] == [1, 0, 1]
    size = np.array([120, 60, 120, 60])
    assert records[0].boxes * size == pytest.approx(np.array([[10, 12, 50, 52]]))
    assert records[0].classes.tolist() == [1]
    assert records[0].keypoints[0] == pytest.approx(np.array([[20 / 120, 0.5, 2], [0, 0, 0]]))
    outline = np.concatenate(records[0].outlines[0]) * size[:2]
    assert len(outline) > 4
    assert (outline >= [9, 11]).all()
    assert (outline <= [51, 53]).all()


def test_less_sure_objects_are_clipped_to_the_picture(pictures: Path, tmp_path: Path) -> None:
    assert label("a.pt", pictures, tmp_path / "l.json", conf=0.2) == {"cat": 2, "dog": 2}
    records, _ = read_coco(pictures, tmp_path / "l.json")
    assert records[0].boxes[1, 2] == 1.0


def test_nothing_found_is_one_sentence(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"label: nothing scores 0.95 in 3 pictures, a smaller --conf"):
        label("a.pt", pictures, tmp_path / "l.json", conf=0.95)
    assert not (tmp_path / "l.json").exists()


@pytest.mark.parametrize(("model", "iou"), [("tiny-yolo", 0.6), ("tiny-pose-topdown", 1.0)])
def test_a_file_that_needs_no_suppression_gets_none(
    model: str, iou: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((60, 120, 3), 90, np.uint8))
    asked = []
    load = engines.load
    monkeypatch.setattr(engines, "load", lambda *how: asked.append(how) or load(*how))
    with contextlib.suppress(InputError):  # nothing is in the picture
        label(model, tmp_path, tmp_path / "labels.json")
    assert [(name, options.iou) for name, options in asked] == [(model, iou)]


def test_an_area_is_the_masks_or_of_a_person_what_people_fill_of_their_box() -> None:
    box = np.array([[10, 10, 30, 20]], np.float32)
    half, none = (np.array([row], np.float32) for row in ([1, -1], [-1, -1]))
    points = np.array([[[20, 15, 0.9]]], np.float32)
    areas = {
        "a box's": (200, {}),
        "a mask's": (100, {"masks": Masks((half,), box), "keypoints": points}),
        "no mask's": (0, {"masks": Masks((none,), box)}),
        "a person's": (106, {"keypoints": points}),
    }
    for name, (area, given) in areas.items():
        found = Detections.of(box, [0.9], [0], **given)
        assert labels._annotation(found, 0, (60, 40))["area"] == pytest.approx(area), name

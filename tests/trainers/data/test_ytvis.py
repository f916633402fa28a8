"""Labels of YouTube-VIS: frames with and without each object, and what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask

from engines.errors import InputError
from engines.masks import bitmap as whole
from trainers.data.pictures import Pictures
from trainers.data.ytvis import read_ytvis


def packed(x0: int, y0: int, x1: int, y1: int) -> dict[str, Any]:
    bitmap = np.zeros((40, 60), np.uint8, order="F")
    bitmap[y0:y1, x0:x1] = 1
    code = mask.encode(bitmap)
    return {"size": code["size"], "counts": code["counts"].decode()}


def written(folder: Path, **changes: Any) -> tuple[Path, Path]:
    """Two frames; a seal in both, a frog in the second only."""
    seal = {
        "id": 1,
        "video_id": 7,
        "category_id": 5,
        "bboxes": [[10, 10, 20, 10], [12, 10, 20, 10]],
        "segmentations": [packed(10, 10, 30, 20), packed(12, 10, 32, 20)],
    }
    frog = {
        "id": 2,
        "video_id": 7,
        "category_id": 3,
        "bboxes": [None, [40, 20, 10, 10]],
        "segmentations": [None, packed(40, 20, 50, 30)],
    }
    tree: dict[str, Any] = {
        "videos": [{"id": 7, "width": 60, "height": 40, "file_names": ["v/0.png", "v/1.png"]}],
        "annotations": [seal | changes, frog],
        "categories": [{"id": 5, "name": "seal"}, {"id": 3, "name": "frog"}],
    }
    (folder / "v").mkdir()
    for number in (0, 1):
        cv2.imwrite(str(folder / "v" / f"{number}.png"), np.full((40, 60, 3), 50, np.uint8))
    labels = folder / "train.json"
    labels.write_text(json.dumps(tree))
    return folder, labels


def test_each_frame_has_the_objects_seen_in_it(tmp_path: Path) -> None:
    (frames,), classes = read_ytvis(*written(tmp_path))
    assert classes == ("frog", "seal")
    assert [frame.classes.tolist() for frame in frames] == [[1], [1, 0]]
    samples = Pictures(frames, 100, "segment")
    assert samples[1].boxes == pytest.approx(np.array([[12, 10, 32, 20], [40, 20, 50, 30]]), abs=1e-4)
    left, top, pixels = whole(samples[1].masks, 1, np.array([0, 0, 60, 40], np.float32), (60, 40))
    assert (left, top, pixels.sum()) == (0, 0, 100)
    assert pixels[20:30, 40:50].all()


def test_classes_choose_what_is_kept(tmp_path: Path) -> None:
    (frames,), classes = read_ytvis(*written(tmp_path), ("seal",))
    assert classes == ("seal",)
    assert [frame.classes.tolist() for frame in frames] == [[0], [0]]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bboxes": [None]}, "annotation 1 of video 7: 1 bboxes, 2 are right, one for each frame"),
        ({"segmentations": None}, "annotation 1 of video 7: 0 segmentations, 2 are right"),
        (
            {"bboxes": [[10, 10, "20", 10], None]},
            r"annotation 1, frame 0 of video 7: bbox: .*, \[x, y, width",
        ),
        (
            {"segmentations": [None, 5]},
            "annotation 1, frame 1 of video 7: segmentation: 5, polygons or a run",
        ),
        ({"bboxes": "ab"}, "annotation 1: bboxes: 'ab', a list with an entry for each frame is right"),
        ({"video_id": 9}, "annotation 1: video_id 9 is none of its videos"),
        ({"category_id": 9}, "annotation 1: category_id 9 is none of its categories"),
        ({"bboxes": [None, [50, 10, 20, 10]]}, "annotation 1, frame 1 of video 7: bbox .* reaches outside"),
    ],
)
def test_mistakes_are_named_with_ids(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        read_ytvis(*written(tmp_path, **changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "video 7: id: 7 is there twice, once is right"),
        ({"id": 8, "width": None}, "video 8: width: none, a number of pixels"),
        (
            {"id": 8, "file_names": "v/0.png"},
            "video 8: file_names: 'v/0.png', a list of files' names is right",
        ),
    ],
)
def test_a_video_that_is_wrong_or_there_twice_is_named(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    folder, labels = written(tmp_path)
    tree = json.loads(labels.read_text())
    tree["videos"].append(tree["videos"][0] | changes)
    labels.write_text(json.dumps(tree))
    with pytest.raises(InputError, match=said):
        read_ytvis(folder, labels)

"""torchvision's own exports: tensors without names, in the order of their family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from engines.classes import COCO_KEYPOINTS
from engines.errors import InputError

SIZE = (128, 96)
CAT, DOG = ([10.0, 12, 50, 60], 0.9, 15), ([60.0, 20, 120, 90], 0.7, 16)
NOTE = "classes: the file does not tell them, COCO's 90 are assumed; a card can say others"

Run = Callable[..., Any]
Same = Callable[..., None]


@pytest.mark.parametrize("labels_last", [True, False], ids=["SSD and RetinaNet", "Faster R-CNN"])
@pytest.mark.parametrize("count", [2, 0])
def test_torchvision(labels_last: bool, count: int, run: Run, same: Same) -> None:
    """Label 18 of the ids with gaps is the dog, of which 16 is the number among the eighty."""
    boxes = np.array([CAT[0], DOG[0]], np.float32)[:count]
    scores, labels = np.array([0.9, 0.7], np.float32)[:count], np.array([17, 18])[:count]
    parts = {"12": scores, "34": labels} if labels_last else {"34": labels, "12": scores}
    spec, found = run({"11": boxes, **parts}, SIZE, order="chw", open_length=True)
    assert spec.layout == "torchvision"
    if count:
        same(found, [(CAT[0], 0.9, 16), (DOG[0], 0.7, 17)])
    assert [spec.classes[label] for label in found.classes] == ["cat", "dog"][:count]


def test_torchvision_keypoints(run: Run, same: Same) -> None:
    points = np.random.default_rng(0).uniform(10, 60, (1, 17, 3)).astype(np.float32)
    outputs = {
        "1": np.array([CAT[0]], np.float32),
        "2": np.array([1]),
        "3": np.array([0.9], np.float32),
        "4": points,
        "5": np.ones((1, 17), np.float32),
    }
    spec, found = run(outputs, SIZE, order="chw", open_length=True)
    assert (spec.layout, spec.task) == ("torchvision", "pose")
    same(found, [(CAT[0], 0.9, 0)])
    np.testing.assert_allclose(found.keypoints, points, atol=1e-3)


def found_one(label: int) -> dict[str, np.ndarray]:
    """One box of a label, as Faster R-CNN gives it."""
    return {
        "1": np.array([CAT[0]], np.float32),
        "2": np.array([label]),
        "3": np.array([0.9], np.float32),
    }


def test_keypoints_of_open_axes_are_seventeen(run: Run, same: Same) -> None:
    """So the real export has them; what is said of all other axes is nothing."""
    points = np.random.default_rng(0).uniform(10, 60, (1, 17, 3)).astype(np.float32)
    made = found_one(1) | {"4": points, "5": np.ones((1, 17), np.float32)}
    spec, found = run(made, SIZE, order="chw", open_length=True, unknown=("4", "5"))
    assert (spec.task, spec.keypoints, spec.notes) == ("pose", COCO_KEYPOINTS, ())
    same(found, [(CAT[0], 0.9, 0)])
    np.testing.assert_allclose(found.keypoints, points, atol=1e-3)


def test_masks_are_left_with_a_note(run: Run, same: Same) -> None:
    made = found_one(18) | {"4": np.zeros((1, 1, 96, 128), np.float32)}
    spec, found = run(made, SIZE, order="chw", open_length=True)
    assert spec.notes == (NOTE, "layout: what leaves as 4 is not used")
    same(found, [(CAT[0], 0.9, 17)])


@pytest.mark.parametrize("label", [0, 91])
def test_the_background_and_what_is_beyond_are_no_classes(label: int, run: Run) -> None:
    _, found = run(found_one(label), SIZE, order="chw", open_length=True)
    assert len(found) == 0


HEADS = {
    "Faster R-CNN": {"roi_heads.box_predictor.cls_score.bias": 3},
    "RetinaNet": {"head.classification_head.cls_logits.bias": 27, "head.regression_head.bbox_reg.bias": 36},
    "FCOS": {"head.classification_head.cls_logits.bias": 3, "head.regression_head.bbox_reg.bias": 4},
}


@pytest.mark.parametrize("heads", HEADS.values(), ids=HEADS.keys())
def test_the_number_of_classes_is_seen_in_the_weights_of_the_head(
    heads: dict[str, int], run: Run, same: Same
) -> None:
    spec, found = run(found_one(2), SIZE, order="chw", open_length=True, weights=heads)
    assert (spec.classes, spec.notes) == (("class_0", "class_1"), ())
    same(found, [(CAT[0], 0.9, 1)])
    with pytest.raises(InputError, match=r"layout: unknown: .* 3 classes"):
        run(found_one(2), SIZE, order="chw", open_length=True, weights=heads, card="classes: [a, b, c]\n")

"""Evaluation and comparison: figures known beforehand, counted on fingers or by pycocotools itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engines.annotations import read_annotations
from engines.cli import app
from engines.comparison import compare_models
from engines.console import run
from engines.detections import Detections
from engines.errors import InputError
from engines.evaluation import coco_options, evaluate
from engines.options import Options

pytest.importorskip("pycocotools")

Save = Callable[..., Path]
BOXES = np.array([[[8, 4, 24, 20], [40, 8, 60, 24]]], np.float32)
SCORES = np.array([[[0.9, 0], [0, 0.8]]], np.float32)
ONNX = Options(backend="onnxruntime")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two pictures, each with the cat where it is found and a dog where it is not."""
    pictures, rows = [], []
    for number in (1, 2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((32, 64, 3), np.uint8))
        pictures.append({"id": number, "file_name": f"{number}.png", "width": 64, "height": 32})
        for label, box in ((7, [8, 4, 16, 16]), (9, [0, 20, 10, 10])):
            area = box[2] * box[3]
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": number,
                    "category_id": label,
                    "bbox": box,
                    "area": area,
                    "iscrowd": 0,
                }
            )
    categories = [{"id": 9, "name": "dog"}, {"id": 7, "name": "cat"}, {"id": 1, "name": "bird"}]
    path = tmp_path / "truth.json"
    path.write_text(json.dumps({"images": pictures, "annotations": rows, "categories": categories}))
    return path


@pytest.fixture
def pets(saved: Save) -> Path:
    path = saved({"boxes": BOXES, "scores": SCORES})
    path.with_suffix(".yaml").write_text("classes: [cat, dog]\n")
    return path


def test_classes_are_matched_by_name_and_figures_are_cocos(pets: Path, data: Path) -> None:
    seen = evaluate(pets, data, data.parent, ONNX)
    assert seen.pictures == 2
    assert seen.classes == {"cat": {"bbox": pytest.approx(1)}, "dog": {"bbox": pytest.approx(0)}}
    assert seen.figures["bbox"]["AP"] == pytest.approx(0.5)
    assert seen.figures["bbox"]["AP_large"] == -1


def test_a_model_that_finds_nothing_has_no_precision(saved: Save, data: Path) -> None:
    path = saved({"boxes": BOXES, "scores": SCORES * 0})
    path.with_suffix(".yaml").write_text("classes: [cat, dog]\n")
    assert evaluate(path, data, data.parent, ONNX).figures["bbox"]["AP"] == 0


@pytest.mark.parametrize(("iou", "ap"), [(0.45, 0.5), (1.0, 1.0)])
def test_only_a_model_that_needs_suppression_gets_cocos(
    iou: float, ap: float, saved: Save, data: Path
) -> None:
    """Two cats side by side, whose boxes overlap by nine tenths."""
    boxes = np.array([[[8, 4, 24, 20], [9, 4, 25, 20]]], np.float32)
    path = saved({"boxes": boxes, "scores": np.array([[[0.9], [0.8]]], np.float32)})
    path.with_suffix(".yaml").write_text(f"classes: [cat]\niou: {iou}\n")
    truth = json.loads(data.read_text())
    for row in truth["annotations"]:
        row |= {"category_id": 7, "bbox": [8, 4, 16, 16] if row["id"] % 2 else [9, 4, 16, 16], "area": 256}
    data.write_text(json.dumps(truth))
    seen = evaluate(path, data, data.parent, replace(coco_options(path), backend="onnxruntime"))
    assert seen.figures["bbox"]["AP50"] == pytest.approx(ap, abs=0.01)


def test_the_command_writes_what_it_prints(
    pets: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = data.with_name("figures.json")
    words = ["evaluate", str(pets), "--coco", str(data), "--images", str(data.parent), "--save", str(figures)]
    with pytest.raises(SystemExit) as ending:
        run(app, [*words, "--backend", "onnxruntime"])
    assert not ending.value.code
    assert json.loads(figures.read_text())["bbox"]["AP50"] == pytest.approx(0.5)
    assert "cat" in capsys.readouterr().out


def whole() -> dict[str, Any]:
    """Two cats in a picture."""
    row = {"image_id": 1, "category_id": 7, "bbox": [8, 4, 16, 16], "area": 256, "iscrowd": 0}
    return {
        "images": [{"id": 1, "file_name": "1.png", "width": 64, "height": 32}],
        "annotations": [{"id": 1, **row}, {"id": 2, **row}],
        "categories": [{"id": 7, "name": "cat"}],
    }


def but(key: str, field: str, *value: Any) -> dict[str, Any]:
    """The same with one field of the last row of a list changed, or left out."""
    tree = whole()
    del tree[key][-1][field]
    if value:
        (tree[key][-1][field],) = value
    return tree


REFUSED: dict[str, tuple[Any, str]] = {
    "no such file": (None, "truth.json: no such file"),
    "no JSON": ("{", "truth.json: not annotations of COCO's form"),
    "no object": ([1], "truth.json: not annotations of COCO's form: images: no list of objects"),
    "no lists": ({"images": {}}, "images: no list of objects, a file of images, annotations, categories"),
    "no images": (whole() | {"images": []}, "truth.json: images: none in it, there is nothing to measure"),
    "no annotations": (whole() | {"annotations": []}, "annotations: none in it, there is nothing to measure"),
    "annotations left out": ({"images": [{}]}, "annotations: no list of objects"),
    "other names": (
        whole() | {"categories": [{"id": 7, "name": "sofa"}]},
        "categories: sofa, none of them is a class of model",
    ),
    "a missing picture": (but("images", "file_name", "9.png"), "9.png: no such file"),
    "a picture without a name": (
        but("images", "file_name"),
        r"truth.json: images\[0\]: file_name: none, the path of a picture is right",
    ),
    "a number for a name": (but("images", "file_name", 5), r"images\[0\]: file_name: 5, the path"),
    "ids of two kinds": (
        whole() | {"images": [{"id": 1, "file_name": "1.png"}, {"id": "x", "file_name": "1.png"}]},
        r"images\[1\]: id: 'x', a whole number that no other has is right",
    ),
    "an id twice": (
        whole() | {"images": [{"id": "x", "file_name": "1.png"}] * 2},
        r"images\[1\]: id: 'x', a text that no other has is right",
    ),
    "a category without a name": (but("categories", "name"), r"categories\[0\]: name: none, a text is right"),
    "no box": (but("annotations", "bbox"), r"annotations\[1\]: bbox: none, \[x, y, width, height\] is right"),
    "half a box": (but("annotations", "bbox", [1, 2]), r"annotations\[1\]: bbox: \[1, 2\], \[x, y"),
    "a box of nothing": (but("annotations", "bbox", [1, 2, 3, float("nan")]), "bbox: .*nan"),
    "no picture's": (but("annotations", "image_id"), "image_id: none, the id of another row is right"),
    "an area of words": (but("annotations", "area", "much"), "area: 'much', a number of pixels is right"),
    "half a crowd": (but("annotations", "iscrowd", 0.5), "iscrowd: 0.5, 0 or 1 is right"),
}


@pytest.mark.parametrize(("content", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_measured_is_refused(content: Any, said: str, pets: Path, tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    if content is not None:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((32, 64, 3), np.uint8))
    with pytest.raises(InputError, match=said) as refusal:
        evaluate(pets, path, tmp_path, ONNX)
    assert "\n" not in str(refusal.value)


def test_a_byte_order_mark_is_no_part_of_annotations(tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(whole()).encode())
    assert len(read_annotations(path).anns) == 2


def test_what_may_be_left_out_changes_no_figure(pets: Path, data: Path) -> None:
    """Crowd or not, the area of a box, and the ids of annotations, of which pycocotools ignores a 0."""
    expected = evaluate(pets, data, data.parent, ONNX).figures
    truth = json.loads(data.read_text())
    for number, row in enumerate(truth["annotations"]):
        del row["iscrowd"], row["area"]
        row["id"] = number
    for row in truth["images"]:
        del row["width"], row["height"]
    data.write_text(json.dumps(truth))
    assert evaluate(pets, data, data.parent, ONNX).figures == expected


def test_masks_are_measured_where_no_size_is_told_and_not_without_outlines(saved: Save, data: Path) -> None:
    masks = {"coefficients": np.ones((1, 2, 1), np.float32), "prototypes": np.ones((1, 1, 8, 16), np.float32)}
    path = saved({"boxes": BOXES, "scores": SCORES, **masks})
    path.with_suffix(".yaml").write_text("classes: [cat, dog]\n")
    truth = json.loads(data.read_text())
    for row in truth["annotations"]:
        x, y, w, h = row["bbox"]
        row["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    for row in truth["images"]:
        del row["width"], row["height"]
    data.write_text(json.dumps(truth))
    assert evaluate(path, data, data.parent, ONNX).classes["cat"]["segm"] == pytest.approx(1)
    truth["annotations"][2]["segmentation"] = []
    data.write_text(json.dumps(truth))
    with pytest.raises(
        InputError, match=r"annotations\[2\]: segmentation: \[\], polygons or a run-length code"
    ):
        evaluate(path, data, data.parent, ONNX)


def test_keypoints_are_measured_where_they_are_as_many_as_cocos(saved: Save, data: Path) -> None:
    def model(joints: int) -> Path:
        points = np.tile(np.array([10, 6, 0.9], np.float32), (1, 2, joints, 1))
        path = saved({"boxes": BOXES, "scores": SCORES, "keypoints": points}, name=f"{joints}.onnx")
        path.with_suffix(".yaml").write_text("classes: [cat, dog]\n")
        return path

    truth = json.loads(data.read_text())
    cats = [row for row in truth["annotations"] if row["category_id"] == 7]
    for row in cats:
        row["keypoints"] = [10, 6, 2] * 17
    data.write_text(json.dumps(truth))
    seen = evaluate(model(17), data, data.parent, ONNX).classes
    assert seen["cat"]["keypoints"] == pytest.approx(1)
    assert seen["dog"]["keypoints"] == -1, "of no dog a joint is seen"
    with pytest.raises(InputError, match="model: 5 keypoints, the 17 that COCO's measure knows are right"):
        evaluate(model(5), data, data.parent, ONNX)
    cats[1]["keypoints"] = [10, 6, 2] * 5
    data.write_text(json.dumps(truth))
    with pytest.raises(InputError, match=r"annotations\[2\]: keypoints: 15 numbers, x, y and visibility of"):
        evaluate(model(17), data, data.parent, ONNX)


@pytest.mark.parametrize("label", [200, -1])
def test_a_class_without_a_name_is_none_of_the_data_set(
    label: int, pets: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a network that knows more of them than its card."""
    from engines.model import Model

    def predict(self: Model, images: Any) -> list[Detections]:
        boxes = [[8, 4, 24, 20], [40, 8, 60, 24]]
        return [Detections.of(boxes, [0.9, 0.8], [0, label]) for _ in images]

    monkeypatch.setattr(Model, "predict", predict)
    seen = evaluate(pets, data, data.parent, ONNX)
    assert seen.classes == {"cat": {"bbox": pytest.approx(1)}, "dog": {"bbox": pytest.approx(0)}}
    assert compare_models(pets, pets, data.parent, (ONNX, ONNX)).matched == 4


OTHERS = {
    "itself": (BOXES, SCORES, "same", (2, 0, 0)),
    "a shade": (BOXES + 0.1, SCORES - 0.01, "close", (2, 0, 0)),
    "another place": (BOXES + np.array([[0], [2]]), SCORES, "different", (2, 0, 0)),
    "one less": (BOXES[:, :1], SCORES[:, :1], "different", (1, 1, 0)),
    "another class": (BOXES, SCORES[..., ::-1], "different", (0, 2, 2)),
    "a faint one less": (BOXES, np.where(SCORES > 0.85, SCORES, 0), "different", (1, 1, 0)),
}


@pytest.mark.parametrize(("boxes", "scores", "verdict", "counts"), OTHERS.values(), ids=OTHERS.keys())
def test_detections_are_matched_and_judged(
    boxes: Any, scores: Any, verdict: str, counts: tuple[int, int, int], pets: Path, saved: Save, data: Path
) -> None:
    other = saved({"boxes": boxes.astype(np.float32), "scores": scores}, name="other.onnx")
    other.with_suffix(".yaml").write_text("classes: [cat, dog]\n")
    seen = compare_models(pets, other, data.parent, (ONNX, ONNX))
    assert seen.pictures == 2
    assert (seen.matched, seen.only_a, seen.only_b) == tuple(2 * count for count in counts)
    assert seen.verdict == verdict


def test_a_difference_ends_the_command_with_1(pets: Path, saved: Save, data: Path) -> None:
    other = saved({"boxes": BOXES[:, :1], "scores": SCORES[:, :1]}, name="other.onnx")
    other.with_suffix(".yaml").write_text("classes: [cat, dog]\n")
    for model, code in ((pets, 0), (other, 1)):
        with pytest.raises(SystemExit) as ending:
            run(
                app, ["compare", str(pets), str(model), "--on", str(data.parent), "--precisions", "fp32,fp32"]
            )
        assert (ending.value.code or 0) == code


def test_keypoints_are_compared_in_shares_of_the_box(saved: Save, data: Path) -> None:
    points = np.array([[[[10, 6, 0.9], [20, 18, 0.2]]]], np.float32)
    paths = [
        saved(
            {"boxes": BOXES[:, :1], "scores": SCORES[:, :1, :1], "keypoints": points + shift},
            name=f"{shift}.onnx",
        )
        for shift in (0, 1)
    ]
    seen = compare_models(paths[0], paths[1], data.parent, (ONNX, ONNX))
    assert seen.keypoints[0] == pytest.approx(2**0.5 / 16, abs=0.02)


@pytest.mark.data
def test_a_real_model_has_the_precision_that_is_known_of_it(data_dir: Path) -> None:
    truth = data_dir / "gt" / "tiny_coco" / "annotations" / "instances_val2017.json"
    seen = evaluate(data_dir / "models" / "nanodet_m_320.onnx", truth, truth.parents[1] / "val2017")
    assert seen.figures["bbox"]["AP"] == pytest.approx(0.289, abs=0.01)

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

from engines.cli import app
from engines.comparison import compare_models
from engines.console import run
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


REFUSED: dict[str, tuple[Any, str]] = {
    "no such file": (None, "truth.json: no such file"),
    "no JSON": ("{", "truth.json: not annotations of COCO's form"),
    "no images": ({"images": [], "annotations": [], "categories": []}, "no images or no categories"),
    "other names": (
        {"images": [{"id": 1}], "annotations": [], "categories": [{"id": 1, "name": "sofa"}]},
        "categories: sofa, none of them is a class of model",
    ),
    "a missing picture": (
        {
            "images": [{"id": 1, "file_name": "9.png"}],
            "annotations": [],
            "categories": [{"id": 1, "name": "cat"}],
        },
        "9.png: no such file",
    ),
}


@pytest.mark.parametrize(("content", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_measured_is_refused(content: Any, said: str, pets: Path, tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    if content is not None:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(InputError, match=said) as refusal:
        evaluate(pets, path, tmp_path, ONNX)
    assert "\n" not in str(refusal.value)


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

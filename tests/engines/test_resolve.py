"""Resolution: card before metadata before recognition, and refusals that say what would help."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engines
from engines import metadata
from engines.classes import COCO, COCO_KEYPOINTS
from engines.description import describe
from engines.errors import InputError
from engines.options import Options
from engines.spec import ModelSpec

SIZE = (64, 32)
CELLS = 8 * 4 + 4 * 2 + 2 * 1
Save = Callable[..., Path]

THEIRS = {"task": "detect", "names": "{0: 'cat', 1: 'dog'}", "imgsz": "[32, 64]", "stride": "32"}


def raw(*shape: int) -> np.ndarray:
    return np.zeros((1, *shape), np.float32)


RECOGNISED = {
    "yolox": ({"output": raw(CELLS, 85)}, {}, ("yolox", "detect", COCO, "letterbox-topleft", "bgr", 1.0)),
    "yolox of few classes": (
        {"output": raw(CELLS, 7)},
        {},
        ("yolox", "detect", ("class_0", "class_1"), "letterbox-topleft", "bgr", 1.0),
    ),
    "yolox of one class": (
        {"output": raw(CELLS, 6)},
        {},
        ("yolox", "detect", ("class_0",), "letterbox-topleft", "bgr", 1.0),
    ),
    "yolov5 of one class": (
        {"output0": raw(3 * CELLS, 6)},
        {},
        ("yolov5", "detect", ("class_0",), "letterbox", "rgb", 1 / 255),
    ),
    "ultralytics without metadata": (
        {"output0": raw(84, CELLS)},
        {},
        ("ultralytics", "detect", COCO, "letterbox", "rgb", 1 / 255),
    ),
    "ultralytics segment without metadata": (
        {"output0": raw(84 + 32, CELLS), "output1": raw(32, 8, 16)},
        {},
        ("ultralytics", "segment", COCO, "letterbox", "rgb", 1 / 255),
    ),
    "ultralytics with metadata": (
        {"output0": raw(6, CELLS)},
        THEIRS,
        ("ultralytics", "detect", ("cat", "dog"), "letterbox", "rgb", 1 / 255),
    ),
    "ultralytics pose": (
        {"output0": raw(4 + 1 + 51, CELLS)},
        THEIRS | {"task": "pose", "names": "{0: 'person'}", "kpt_shape": "[17, 3]"},
        ("ultralytics", "pose", ("person",), "letterbox", "rgb", 1 / 255),
    ),
    "ours by the names of the outputs": (
        {"boxes": raw(9, 4), "scores": raw(9, 2)},
        {},
        ("dense", "detect", ("class_0", "class_1"), "letterbox", "rgb", 1 / 255),
    ),
}


@pytest.mark.parametrize(("outputs", "words", "expected"), RECOGNISED.values(), ids=RECOGNISED.keys())
def test_a_family_is_known_by_its_metadata_and_shapes(
    outputs: dict, words: dict, expected: tuple, saved: Save
) -> None:
    spec = describe(saved(outputs, metadata=words)).spec
    assert (spec.layout, spec.task, spec.classes, spec.resize, spec.colour, spec.scale) == expected
    assert (spec.size, spec.name) == (SIZE, "model")


def test_seventeen_keypoints_are_those_of_coco(saved: Save) -> None:
    words = THEIRS | {"task": "pose", "names": "{0: 'person'}", "kpt_shape": "[17, 3]"}
    spec = describe(saved({"output0": raw(56, CELLS)}, metadata=words)).spec
    assert spec.keypoints == COCO_KEYPOINTS
    assert {"left_wrist", "left_elbow"} in [{spec.keypoints[a], spec.keypoints[b]} for a, b in spec.skeleton]


def test_what_was_written_is_read_back(saved: Save, network: Callable[..., Any], tmp_path: Path) -> None:
    spec = ModelSpec(
        name="tiny",
        task="pose",
        layout="dense",
        classes=("a", "b"),
        size=SIZE,
        resize="stretch",
        pad=3,
        colour="bgr",
        scale=0.5,
        mean=(1.0, 2.0, 3.0),
        std=(4.0, 5.0, 6.0),
        conf=0.4,
        iou=0.6,
        keypoints=("x", "y"),
        skeleton=((0, 1),),
    )
    model = network({"boxes": raw(9, 4), "scores": raw(9, 2), "keypoints": raw(9, 2, 3)})
    metadata.write(model, spec)
    metadata.write(model, spec)  # again: nothing is there twice
    path = tmp_path / "written.onnx"
    path.write_bytes(model.SerializeToString())
    read = describe(path).spec
    assert {key: getattr(read, key) for key in spec.__slots__ if key not in ("notes", "reasons")} == {
        key: getattr(spec, key) for key in spec.__slots__ if key not in ("notes", "reasons")
    }
    keys = [entry.key for entry in model.metadata_props]
    assert sorted(keys) == sorted({"streamer", "names", "task", "stride", "imgsz", "kpt_shape"})


def test_a_card_comes_before_metadata_and_metadata_before_shapes(saved: Save) -> None:
    path = saved({"output0": raw(6, CELLS)}, metadata=THEIRS)
    path.with_suffix(".yaml").write_text("name: pets\nconf: 0.5\nresize: stretch\nclasses: [tabby, poodle]\n")
    spec = describe(path).spec
    assert (spec.name, spec.conf, spec.resize, spec.classes) == ("pets", 0.5, "stretch", ("tabby", "poodle"))
    learnt = dict(reason.split(": ", 1) for reason in spec.reasons)
    assert learnt["classes"] == "card model.yaml"
    assert learnt["task"] == "metadata of the file (Ultralytics)"
    assert learnt["layout"] == "shapes of the outputs (ultralytics)"
    assert learnt["pad"] == "default"


def test_a_card_in_the_models_place_names_its_file(saved: Save) -> None:
    path = saved({"output": raw(CELLS, 85)})
    card = path.with_name("street.yaml")
    card.write_text("model: model.onnx\nname: street\n")
    assert describe(card).spec.name == "street"
    assert describe(card).path == path


def test_an_open_size_is_taken_from_the_card(saved: Save) -> None:
    path = saved({"output": raw(CELLS, 85)}, size=(0, 0))
    path.with_suffix(".yaml").write_text("size: [64, 32]\n")
    assert describe(path).spec.size == SIZE


REFUSED = {
    "unknown outputs": (
        {"output": raw(7, 85)},
        {},
        "",
        "layout: unknown: input images (1,3,32,64) float32, outputs output (1,7,85) float32; a card",
    ),
    "outputs that could be anything": ({"output0": raw(56, CELLS)}, {}, "", "layout: unknown"),
    "a card with a layout that does not fit": (
        {"output": raw(7, 85)},
        {},
        "layout: yolox",
        "layout: 'yolox' does not fit",
    ),
    "a card with an unknown layout": (
        {"output": raw(7, 85)},
        {},
        "layout: yolo",
        "layout: 'yolo', one of dense, ultralytics, ultralytics-end2end,",
    ),
    "too few names": ({"output": raw(CELLS, 85)}, {}, "classes: [a, b]", "2 classes"),
    "another size than the file's": (
        {"output": raw(CELLS, 85)},
        {},
        "size: [320, 320]",
        "size: 320x320, the file is fixed to 64x32",
    ),
    "another height than the file's": (
        {"output": raw(CELLS, 85)},
        {},
        "size: [64, 64]",
        "size: 64x64, the file is fixed to 64x32",
    ),
    "an unknown key": (
        {"output": raw(CELLS, 85)},
        {},
        "name: x\ncolor: bgr",
        "model.yaml:2: unknown key 'color', did you mean 'colour'?",
    ),
    "a value of the wrong kind": (
        {"output": raw(CELLS, 85)},
        {},
        "\npad: much",
        "model.yaml:2: pad: 'much', Input should be a valid integer",
    ),
    "a value out of the choice": (
        {"output": raw(CELLS, 85)},
        {},
        "task: depth",
        "model.yaml:1: task: 'depth'",
    ),
    "a card that is no mapping": (
        {"output": raw(CELLS, 85)},
        {},
        "- a\n- b",
        "model.yaml:1: a card is a list",
    ),
    "a card that is no YAML": ({"output": raw(CELLS, 85)}, {}, "a: [", "model.yaml:"),
    "a limb without its end": (
        {"boxes": raw(9, 4), "scores": raw(9, 2), "keypoints": raw(9, 2, 3)},
        {},
        "skeleton: [[0, 2]]",
        "skeleton: [0, 2], pairs of 0..1 are right",
    ),
    "a limb without its beginning": (
        {"boxes": raw(9, 4), "scores": raw(9, 2), "keypoints": raw(9, 2, 3)},
        {},
        "skeleton: [[-1, 1]]",
        "skeleton: [-1, 1], pairs of 0..1 are right",
    ),
    "another task": ({"output0": raw(6, CELLS)}, THEIRS | {"task": "obb"}, "", "task: 'obb', one of detect"),
    "six columns of two classes, of which nobody says what they are": (
        {"output0": raw(300, 6)},
        THEIRS,
        "",
        "could be of ultralytics-end2end: six columns of two classes are a box in pixels",
    ),
    "six columns without a word on what they are": ({"output0": raw(300, 6)}, {}, "", "layout: unknown"),
    "our metadata damaged": (
        {"output0": raw(6, CELLS)},
        {"streamer": "{"},
        "",
        "metadata 'streamer': not JSON",
    ),
    "our metadata of another time": (
        {"output0": raw(6, CELLS)},
        {"streamer": json.dumps({"flavour": 1})},
        "",
        "metadata 'streamer': unknown key 'flavour'",
    ),
    "division by zero": (
        {"output": raw(CELLS, 85)},
        {},
        "std: [1, 0, 1]",
        "std: 0.0, a finite number other than 0 is right",
    ),
    "a key said twice": (
        {"output": raw(CELLS, 85)},
        {},
        "conf: 0.1\niou: 0.5\nconf: 0.9",
        "model.yaml:3: conf: said already in line 1, once is right",
    ),
    "keypoints of a detector": (
        {"output": raw(CELLS, 85)},
        {},
        "keypoints: [nose]",
        "keypoints: a model of task detect gives none, only one of task pose",
    ),
    "a skeleton of a detector": (
        {"output": raw(CELLS, 85)},
        {},
        "skeleton: [[0, 5]]",
        "skeleton: a model of task detect gives none, only one of task pose",
    ),
    "classes that nothing tells": (
        {"detection_out": np.zeros((1, 1, 9, 7), np.float32)},
        {},
        "",
        "classes: the file does not tell them, a card must say 'classes: [...]'",
    ),
    "joints without their third value": (
        {"boxes": raw(9, 4), "scores": raw(9, 1), "keypoints": raw(9, 17)},
        {},
        "",
        "layout: unknown",
    ),
    "prototypes of another number than coefficients": (
        {"boxes": raw(9, 4), "scores": raw(9, 1), "coefficients": raw(9, 8), "prototypes": raw(4, 8, 16)},
        {},
        "",
        "layout: unknown",
    ),
    "coefficients of one axis": (
        {"boxes": raw(9, 4), "scores": raw(9, 1), "coefficients": raw(), "prototypes": raw()},
        {},
        "",
        "layout: unknown",
    ),
    "masks without axes": (
        {"dets": raw(9, 4), "labels": raw(9, 5), "masks": raw()},
        {},
        "",
        "layout: unknown",
    ),
    "bins of one axis only": ({"simcc_x": raw(17, 64), "simcc_y": raw(17)}, {}, "", "layout: unknown"),
    "keypoints beside rows of one axis": (
        {"dets": raw(5), "keypoints": raw(2, 17, 3)},
        {},
        "",
        "layout: unknown",
    ),
    "no classes": ({"output": raw(CELLS, 85)}, {}, "classes: []", "classes"),
}


@pytest.mark.parametrize(("outputs", "words", "card", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_understood_is_refused_in_one_sentence(
    outputs: dict, words: dict, card: str, said: str, saved: Save
) -> None:
    path = saved(outputs, metadata=words)
    if card:
        path.with_suffix(".yaml").write_text(card)
    with pytest.raises(InputError) as refusal:
        describe(path)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


RANGES = {
    "pad: 300": "pad: 300, 0 to 255 is right",
    "pad: -1": "pad: -1, 0 to 255 is right",
    "conf: 5": "conf: 5.0, 0 to 1 is right",
    "conf: -1": "conf: -1.0, 0 to 1 is right",
    "conf: .nan": "conf: nan, 0 to 1 is right",
    "iou: 7": "iou: 7.0, 0 to 1 is right",
    "size: [0, 32]": "size: 0, 1 or more is right",
    "scale: 0": "scale: 0.0, a finite number other than 0 is right",
    "scale: .nan": "scale: nan, a finite number other than 0 is right",
    "scale: .inf": "scale: inf, a finite number other than 0 is right",
    "std: [.nan, 1, 1]": "std: nan, a finite number other than 0 is right",
    "mean: [1, 1e39, 1]": "mean: 1e+39, a finite number is right",
    "mean: [1, 1, -.inf]": "mean: -inf, a finite number is right",
}


@pytest.mark.parametrize(("line", "said"), RANGES.items(), ids=RANGES)
def test_a_number_out_of_its_range_is_refused_in_a_card_and_in_metadata(
    line: str, said: str, saved: Save
) -> None:
    import yaml

    path = saved({"output": raw(CELLS, 85)})
    path.with_suffix(".yaml").write_text(f"name: x\n{line}\n")
    with pytest.raises(InputError, match=f"model.yaml:2: {re.escape(said)}$"):
        describe(path)
    words = {"streamer": json.dumps(yaml.safe_load(line.replace("1e39", "1.0e+39")))}
    with pytest.raises(InputError, match=f"metadata 'streamer': {re.escape(said)}$"):
        describe(saved({"output": raw(CELLS, 85)}, name="other.onnx", metadata=words))


def test_the_ends_of_a_range_belong_to_it(saved: Save) -> None:
    path = saved({"output": raw(CELLS, 85)})
    for pad, share in ((0, 0), (255, 1)):
        path.with_suffix(".yaml").write_text(f"pad: {pad}\nconf: {share}\niou: {share}\n")
        spec = describe(path).spec
        assert (spec.pad, spec.conf, spec.iou) == (pad, share, share)


def test_a_card_for_another_card_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("conf: 0.5\n")
    card = tmp_path / "street.yaml"
    card.write_text("model: other.yaml\n")
    with pytest.raises(InputError, match=r"street.yaml:1: model: 'other.yaml': another card, the path of an"):
        describe(card)


def test_an_open_size_that_nobody_tells_is_refused(saved: Save) -> None:
    with pytest.raises(InputError, match="size: left open by the file, a card must say"):
        describe(saved({"output": raw(CELLS, 85)}, size=(0, 0)))


def test_a_card_whose_file_is_missing_is_refused(tmp_path: Path) -> None:
    card = tmp_path / "street.yaml"
    card.write_text("name: x\nmodel: nowhere.onnx\n")
    with pytest.raises(InputError, match=r"street.yaml:2: model: 'nowhere.onnx': no such file"):
        describe(card)


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_network_that_takes_whole_numbers_sees_the_picture(dtype: str, backend: str, saved: Save) -> None:
    """Its own metadata is of the graph before someone put the division in front."""
    boxes = np.array([[[8, 4, 24, 20], [40, 8, 60, 24]]], np.float32)
    ones = np.ones((1, 2, 2), np.float32)
    told = ModelSpec("old", "detect", "dense", ("a", "b"), SIZE)
    path = saved(
        {"boxes": boxes, "scores": 0 * ones},
        brightness={"scores": ones / 255},
        dtype=dtype,
        metadata={"streamer": metadata.to_json(told)},
    )
    with engines.load(path, Options(backend=backend, precision="fp32")) as model:
        (found,) = model.predict([np.full((32, 64, 3), 204, np.uint8)])
        learnt = dict(reason.split(": ", 1) for reason in model.spec.reasons)
    np.testing.assert_allclose(found.scores, [0.8, 0.8], atol=1e-3)
    assert (model.spec.scale, model.spec.name) == (1.0, "old")
    assert learnt["scale"] == f"type of the input ({dtype}: pixels as they are)"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("scale: 0.00392", r"scale: 0\.00392, the input is uint8 .*: 1\.0 is right$"),
        ("mean: [0, 0, 9]", r"mean: \(0\.0, 0\.0, 9\.0\), the input is uint8"),
        ("std: [1, 1, 9]", r"std: \(1\.0, 1\.0, 9\.0\), the input is uint8"),
    ],
)
def test_a_card_for_whole_numbers_cannot_say_another_unit(line: str, said: str, saved: Save) -> None:
    path = saved({"boxes": raw(9, 4), "scores": raw(9, 2)}, dtype="uint8")
    path.with_suffix(".yaml").write_text(f"{line}\n")
    with pytest.raises(InputError, match=said):
        describe(path)
    path.with_suffix(".yaml").write_text("scale: 1\nmean: [0, 0, 0]\n")
    assert describe(path).spec.scale == 1.0


def test_whole_numbers_that_hold_no_pixel_are_refused(saved: Save) -> None:
    with pytest.raises(InputError, match="input: images is int8, floats or one of uint8"):
        describe(saved({"boxes": raw(9, 4), "scores": raw(9, 2)}, dtype="int8"))

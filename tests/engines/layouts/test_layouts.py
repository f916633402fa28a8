"""Layouts: each family's pictures and thresholds are those of its release; what does not fit is another's."""

from __future__ import annotations

from typing import Any

import pytest
from onnx import helper

from engines.engine import TensorSpec
from engines.layouts import LAYOUTS, recogniser
from engines.network import SIZES, Network
from engines.spec import ModelSpec

SIZE = (64, 32)  # 32 + 8 + 2 cells of strides 8, 16, 32, and one of 64

Shapes = dict[str, tuple[int, ...]]

PLAIN = ("letterbox", 114, "rgb", 1 / 255, (0, 0, 0), (1, 1, 1), 0.25, 0.45)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
OF_BGR = ((103.53, 116.28, 123.675), (57.375, 57.12, 58.395))  # the same of bytes in the other order
YOLOX = ("letterbox-topleft", 114, "bgr", 1.0, (0, 0, 0), (1, 1, 1), 0.25, 0.45)
NANODET = ("stretch", 114, "bgr", 1.0, *OF_BGR, 0.25, 0.6)
ULTRAFACE = ("stretch", 114, "rgb", 1.0, (127,) * 3, (128,) * 3, 0.7, 0.3)
QUERIES = ("stretch", 114, "rgb", 1 / 255, (0, 0, 0), (1, 1, 1), 0.25, 1.0)
NORMALISED = ("stretch", 114, "rgb", 1 / 255, *IMAGENET, 0.25, 1.0)
DONE = (*PLAIN[:7], 1.0)
PERSON = ("letterbox", 0, "rgb", 1 / 255, *IMAGENET, 0.0, 1.0)

OURS: Shapes = {"boxes": (1, 9, 4), "scores": (1, 9, 2)}
ROWS: Shapes = {"dets": (1, 9, 5), "labels": (1, 9)}
FACES: Shapes = {"scores": (1, 119, 2), "boxes": (1, 119, 4)}
DETR: Shapes = {"logits": (1, 9, 3), "pred_boxes": (1, 9, 4)}
GRIDS: Shapes = {
    f"{kind}{cells}": (1, cells, width) for cells in (32, 8, 2) for kind, width in (("cls", 3), ("dis", 32))
}

FAMILIES: dict[
    str, tuple[Shapes, dict[str, Any], tuple]
] = {  # outputs, what is known, pictures and thresholds
    "dense": (OURS, {}, PLAIN),
    "dense of a pose": (OURS | {"keypoints": (1, 9, 5, 3)}, {}, PLAIN),
    "dense of masks": (OURS | {"coefficients": (1, 9, 8), "prototypes": (1, 8, 8, 16)}, {}, PLAIN),
    "ultralytics": ({"output0": (1, 84, 42)}, {}, PLAIN),
    "ultralytics-end2end": ({"output0": (1, 300, 6)}, {"task": "detect", "classes": ("a",)}, DONE),
    "ultralytics-rtdetr": ({"output0": (1, 300, 6)}, {"layout": "ultralytics-rtdetr"}, QUERIES),
    "yolov5": ({"output0": (1, 3 * 42, 7)}, {}, PLAIN),
    "yolov7-end2end": ({"output": (0, 7)}, {}, DONE),
    "counted": (
        {"num_dets": (1, 1), "det_boxes": (1, 9, 4), "det_scores": (1, 9), "det_classes": (1, 9)},
        {},
        DONE,
    ),
    "tensorflow": (
        {
            "num_detections": (1,),
            "detection_boxes": (1, 9, 4),
            "detection_scores": (1, 9),
            "detection_classes": (1, 9),
        },
        {},
        ("stretch", 114, "rgb", 1.0, (0, 0, 0), (1, 1, 1), 0.25, 1.0),
    ),
    "yolo-nas-flat": ({"flat_predictions": (0, 7)}, {}, DONE),
    "yolox": ({"output": (1, 42, 7)}, {"layout": "yolox"}, YOLOX),
    "yolox-decoded": ({"output": (1, 42, 7)}, {"layout": "yolox-decoded"}, YOLOX),
    "nanodet": (GRIDS, {}, NANODET),
    "nanodet of 32 classes": (
        GRIDS | {name: (1, shape[1], 32) for name, shape in GRIDS.items()},
        {},
        NANODET,
    ),
    "nanodet-plus": ({"output": (1, 43, 35)}, {}, NANODET),
    "ultraface": (FACES, {}, ULTRAFACE),
    "ultraface-decoded": (FACES, {}, ULTRAFACE),
    "torchvision-ssd": (
        {"bbox_regression": (1, 8732, 4), "cls_logits": (1, 8732, 91)},
        {"size": (300, 300)},
        ("stretch", 114, "rgb", 1 / 255, (0.48235, 0.45882, 0.40784), (1 / 255,) * 3, 0.25, 0.55),
    ),
    "torchvision-ssd lite": (
        {"bbox_regression": (1, 3234, 4), "cls_logits": (1, 3234, 91)},
        {"size": (320, 320)},
        ("stretch", 114, "rgb", 1 / 255, (0.5,) * 3, (0.5,) * 3, 0.25, 0.55),
    ),
    "torchvision-retinanet": (
        {"bbox_regression": (1, 9 * 44, 4), "cls_logits": (1, 9 * 44, 91)},
        {},
        ("letterbox", 0, "rgb", 1 / 255, *IMAGENET, 0.25, 0.5),
    ),
    "torchvision": ({"1": (0, 4), "2": (0,), "3": (0,)}, {}, QUERIES),
    "retinaface": (
        {"bbox": (1, 84, 4), "confidence": (1, 84, 2), "landmark": (1, 84, 10)},
        {},
        ("letterbox", 0, "bgr", 1.0, (104, 117, 123), (1, 1, 1), 0.5, 0.4),
    ),
    "detectionoutput": ({"detection_out": (1, 1, 9, 7)}, {"classes": ("a",)}, QUERIES),
    "yolact": (
        {"loc": (1, 132, 4), "conf": (1, 132, 3), "mask": (1, 132, 8), "proto": (1, 8, 8, 16)},
        {},
        ("stretch", 114, "rgb", 1.0, (123.68, 116.78, 103.94), (58.4, 57.12, 57.38), 0.25, 0.5),
    ),
    "detr": (DETR, {"layout": "detr"}, QUERIES),
    "detr-softmax": (DETR, {"layout": "detr-softmax"}, NORMALISED),
    "rf-detr": ({"dets": (1, 9, 4), "labels": (1, 9, 3)}, {}, NORMALISED),
    "rtdetr": ({"labels": (1, 9), "boxes": (1, 9, 4), "scores": (1, 9)}, {}, QUERIES),
    "mmdet": (ROWS, {}, ("letterbox-topleft", 114, "bgr", 1.0, *OF_BGR, 0.25, 1.0)),
    "rtmo": ({"dets": (1, 9, 5), "keypoints": (1, 9, 17, 3)}, {}, YOLOX),
    "heatmaps": ({"output": (1, 17, 8, 16)}, {}, PERSON),
    "simcc": ({"simcc_x": (1, 17, 128), "simcc_y": (1, 17, 64)}, {}, PERSON),
    "embedding": ({"output": (1, 8)}, {"task": "embed"}, (*QUERIES[:7], 0.45)),
    "classifier": ({"output": (1, 3)}, {"task": "classify"}, (*QUERIES[:6], 0.0, 1.0)),
}
TASKS = {
    "dense of a pose": "pose",
    "dense of masks": "segment",
    "yolact": "segment",
    "retinaface": "pose",
    "rtmo": "pose",
    "heatmaps": "pose",
    "simcc": "pose",
    "embedding": "embed",
    "classifier": "classify",
}
ANY_CLASSES = {  # classes whose number nothing in the outputs tells
    "ultralytics-end2end",
    "ultralytics-rtdetr",
    "yolov7-end2end",
    "counted",
    "tensorflow",
    "yolo-nas-flat",
    "torchvision",
    "detectionoutput",
    "rtdetr",
    "mmdet",
    "embedding",
}


def recognised(name: str, **also: Any) -> dict[str, Any] | None:
    """What the family says of a file of its outputs, where so much is known."""
    outputs, known, _ = FAMILIES[name]
    layout = name.partition(" ")[0]
    last = "Exp" if layout == "ultraface-decoded" else "Identity"
    nodes = [helper.make_node(last, ["images"], [output]) for output in outputs]
    inputs = [helper.make_tensor_value_info(SIZES, 7, [1, 2])] if layout == "rtdetr" else []
    model = helper.make_model(helper.make_graph(nodes, "one", inputs, []))
    pixels = TensorSpec("images", (3, 32, 64) if layout == "torchvision" else (1, 3, 32, 64), "float32")
    kinds = {"2": "int64"}  # torchvision's labels
    given = tuple(
        TensorSpec(output, shape, kinds.get(output, "float32")) for output, shape in outputs.items()
    )
    network = Network(model, 17, pixels, given, {})
    return recogniser(layout)(network, {"size": SIZE} | known | also)


def test_every_family_is_here() -> None:
    assert {name.partition(" ")[0] for name in FAMILIES} == set(LAYOUTS)


@pytest.mark.parametrize("name", FAMILIES)
def test_pictures_and_thresholds_are_those_of_the_release(name: str) -> None:
    _, known, expected = FAMILIES[name]
    facts = recognised(name)
    assert facts is not None
    spec = ModelSpec(
        **({"name": name, "layout": name, "size": SIZE, "classes": (), "task": "detect"} | known | facts)
    )
    assert spec.task == TASKS.get(name, "detect")
    units = spec.resize, spec.pad, spec.colour, spec.scale, spec.mean, spec.std, spec.conf, spec.iou
    assert units == expected


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_known_and_fits_changes_nothing(name: str) -> None:
    facts = recognised(name)
    assert facts is not None
    told = {key: facts[key] for key in ("task", "classes", "keypoints") if facts.get(key)}
    again = recognised(name, **told)
    assert again is not None
    assert told | again | {"notes": ()} == facts | {"notes": ()}  # of what was assumed before


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_known_and_does_not_fit_is_of_another_family(name: str) -> None:
    assert recognised(name, task="embed" if name == "classifier" else "classify") is None
    assert (recognised(name, classes=tuple("abcde")) is None) is (name not in ANY_CLASSES)
    if (recognised(name) or {}).get("task") == "pose":
        assert recognised(name, keypoints=tuple("abcd")) is None

"""Outputs of open length: what is in them is found, on every backend, and nothing where they are empty."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engines
from engines.errors import InputError, WorkError
from engines.options import Options

Build = Callable[..., Any]

BOXES = np.array([[[8, 4, 24, 20], [40, 8, 60, 24]]], np.float32)
SHARES = np.array([[[0.25, 0.375, 0.25, 0.5], [0.78125, 0.5, 0.3125, 0.5]]], np.float32)
SCORES = np.array([[0.9, 0.8]], np.float32)
LABELS = np.array([[1, 0]], np.float32)
EACH = SCORES[..., None] * np.eye(2, dtype=np.float32)[[1, 0]]
LOGITS = np.array([[[-9, np.log(9)], [np.log(4), -9]]], np.float32)
MASKS = np.stack([np.full((8, 16), 1.0), np.full((8, 16), -1.0)])[None].astype(np.float32)
ROWS = np.concatenate([BOXES, SCORES[..., None], LABELS[..., None]], 2)
ENDED = np.concatenate([0 * LABELS[..., None], LABELS[..., None] + 1, SCORES[..., None], BOXES / 64], 2)
ENDED[..., [4, 6]] *= 2
SOFTMAX = np.log([[[0.05, 0.9, 0.05], [0.8, 0.1, 0.1]]]).astype(np.float32)
POINTS = np.arange(2 * 5 * 3, dtype=np.float32).reshape(1, 2, 5, 3)
COUNT = np.array([[2]], np.float32)
PICTURE = np.zeros((1, 2, 1), np.float32)  # of the rows
ULTRALYTICS = {"task": "detect", "names": "{0: 'a', 1: 'b'}", "end2end": "True", "imgsz": "[32, 64]"}

CASES: dict[str, dict[str, np.ndarray]] = {
    "counted": {"num_dets": COUNT, "det_boxes": BOXES, "det_scores": SCORES, "det_classes": LABELS},
    "dense": {"boxes": BOXES, "scores": EACH},
    "dense with keypoints": {"boxes": BOXES, "scores": EACH, "keypoints": POINTS},
    "dense with masks": {
        "boxes": BOXES,
        "scores": EACH,
        "coefficients": np.eye(2, dtype=np.float32)[None],
        "prototypes": MASKS,
    },
    "detectionoutput": {"detection_out": ENDED[:, None]},
    "detr": {"logits": LOGITS, "pred_boxes": SHARES},
    "detr-softmax": {"logits": SOFTMAX, "pred_boxes": SHARES},
    "mmdet": {"dets": ROWS[..., :5], "labels": LABELS},
    "rf-detr": {"dets": SHARES, "labels": LOGITS},
    "rf-detr with masks": {"dets": SHARES, "labels": LOGITS, "masks": MASKS},
    "rtdetr": {"labels": LABELS, "boxes": BOXES, "scores": SCORES},
    "rtmo": {"dets": ROWS[..., :5], "keypoints": POINTS},
    "tensorflow": {
        "num_detections": COUNT[0],
        "detection_boxes": BOXES[..., [1, 0, 3, 2]] / np.array([32, 64, 32, 64], np.float32),
        "detection_scores": SCORES,
        "detection_classes": LABELS + 1,
    },
    "torchvision": {"1": BOXES, "2": LABELS + 1, "3": SCORES},
    "torchvision with keypoints": {
        "1": BOXES,
        "2": LABELS + 1,
        "3": SCORES,
        "4": POINTS,
        "5": POINTS[..., 2],
    },
    "ultralytics-end2end": {"output0": ROWS},
    "ultralytics-rtdetr": {"output0": np.concatenate([SHARES, ROWS[..., 4:]], 2)},
    "yolo-nas-flat": {"flat_predictions": np.concatenate([PICTURE, ROWS], 2)},
    "yolov7-end2end": {"output": np.concatenate([PICTURE, ROWS[..., [0, 1, 2, 3, 5, 4]]], 2)},
}
ONE_PICTURE = ("torchvision", "yolo-nas-flat", "yolov7-end2end")  # no axis of what leaves is the batch
ALL = ("num_", "prototypes")  # of a picture, how its rows ever are


def of_one_picture(model: Any, layout: str) -> Any:
    """Take the axis of the batch from the outputs, and from torchvision's input; its labels are whole."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array([0]), "batch"))
    for output in graph.output:
        (last,) = (node for node in graph.node if output.name in node.output)
        last.output[0] = f"{output.name}/batched"
        kind = output.type.tensor_type
        if layout == "torchvision" and output.name == "2":
            kind.elem_type = TensorProto.INT64
        del kind.shape.dim[0]
        graph.node.extend(
            [
                helper.make_node("Squeeze", [last.output[0], "batch"], [f"{output.name}/floats"]),
                helper.make_node("Cast", [f"{output.name}/floats"], [output.name], to=kind.elem_type),
            ]
        )
    if layout == "torchvision":
        del graph.input[0].type.tensor_type.shape.dim[0]
        (taker,) = (node for node in graph.node if "images" in node.input)
        taker.input[0] = "pictures"
        graph.node.insert(0, helper.make_node("Unsqueeze", ["images", "batch"], ["pictures"]))
    return model


def opened(model: Any, axes: dict[str, int], keep: int) -> Any:
    """Let only the first along an axis leave of some outputs; how many says the picture, black ``keep``."""
    from onnx import helper, numpy_helper

    graph = model.graph
    graph.node.append(helper.make_node("ReduceMax", ["images"], ["peak"], keepdims=0))
    limit = numpy_helper.from_array(np.array(keep - 0.5 if keep < 2 else 99, np.float32), "limit")
    graph.initializer.append(limit)
    for name, axis in axes.items():
        (output,) = (value for value in graph.output if value.name == name)
        (last,) = (node for node in graph.node if name in node.output)
        last.output[0] = f"{name}/all"
        dim = output.type.tensor_type.shape.dim[axis]
        numbers = numpy_helper.from_array(np.arange(dim.dim_value, dtype=np.float32), f"{name}/numbers")
        graph.initializer.append(numbers)
        graph.node.extend(
            [
                helper.make_node("Add", [numbers.name, "peak"], [f"{name}/rank"]),
                helper.make_node("Less", [f"{name}/rank", "limit"], [f"{name}/kept"]),
                helper.make_node("Compress", [f"{name}/all", f"{name}/kept"], [name], axis=axis),
            ]
        )
        dim.dim_param = "n"
    return model


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(("keep", "batch"), [(0, 1), (1, 1), (2, 1), (2, 2)])
@pytest.mark.parametrize("name", CASES.keys())
def test_rows_of_open_number_are_found(
    name: str, keep: int, batch: int, backend: str, network: Build, tmp_path: Path
) -> None:
    from onnx import helper

    layout = name.partition(" ")[0]
    model = network(CASES[name], metadata=ULTRALYTICS if layout == "ultralytics-end2end" else {})
    path = tmp_path / "open.onnx"
    axis = 2 if layout == "detectionoutput" else 1
    if layout in ONE_PICTURE:
        model, axis = of_one_picture(model, layout), 0
    model = opened(model, {kind: axis for kind in CASES[name] if not kind.startswith(ALL)}, keep)
    if layout == "rtdetr":  # its export takes sizes besides
        model.graph.input.append(helper.make_tensor_value_info("orig_target_sizes", 7, ["n", 2]))
    path.write_bytes(model.SerializeToString())
    classes = "[a]" if layout == "rtmo" else "[a, b]"
    card = f"layout: {layout}\nclasses: {classes}\nresize: stretch\nmean: [0, 0, 0]\nstd: [1, 1, 1]\n"
    path.with_suffix(".yaml").write_text(card)
    pictures = [np.zeros((32, 64, 3), np.uint8)] * 2
    with engines.load(path, Options(backend=backend, batch=batch, precision="fp32", conf=0)) as loaded:
        assert loaded.spec.layout == layout
        if layout != "detectionoutput":  # its rows of a batch may leave in one list
            assert loaded.batch == (1 if layout in ONE_PICTURE else batch)
        results = loaded.predict(pictures)
    for found in results:
        np.testing.assert_allclose(found.boxes, BOXES[0, :keep], atol=1e-2)
        np.testing.assert_allclose(found.scores, SCORES[0, :keep], atol=1e-4)
        assert found.classes.tolist() == ([0, 0] if layout == "rtmo" else [1, 0])[:keep]
        if "keypoints" in name or layout == "rtmo":
            np.testing.assert_allclose(found.keypoints, POINTS[0, :keep], atol=1e-3)
        if "masks" in name:
            assert [bool((grid > 0).all()) for grid in found.masks.grids] == [True, False][:keep]


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_how_wide_rows_are_need_not_be_told(backend: str, network: Build, tmp_path: Path) -> None:
    """There is a coefficient for each prototype."""
    path = tmp_path / "wide.onnx"
    masks = {"coefficients": np.eye(2, 3, dtype=np.float32)[None], "prototypes": MASKS[:, [0, 1, 1]]}
    model = opened(network(CASES["dense with masks"] | masks), {"coefficients": 2}, 2)
    path.write_bytes(model.SerializeToString())
    with engines.load(path, Options(backend=backend, precision="fp32")) as loaded:
        (found,) = loaded.predict([np.zeros((32, 64, 3), np.uint8)])
    assert [bool((grid > 0).all()) for grid in found.masks.grids] == [True, False]


def test_what_is_open_and_is_no_rows_goes_on_to_who_takes_it(network: Build, tmp_path: Path) -> None:
    """Prototypes of open height: OpenVINO is given memory for its outputs before it knows how much."""
    outputs = {**CASES["dense"], "coefficients": np.ones((1, 2, 4), np.float32)}
    model = network({**outputs, "prototypes": np.ones((1, 4, 8, 16), np.float32)})
    opened(model, {"prototypes": 2}, 2)
    path = tmp_path / "planes.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(WorkError, match=r"openvino: prototypes: its shape .* is open, a fixed one is needed"):
        engines.load(path, Options(backend="openvino"))
    with engines.load(path, Options(device="cpu")) as loaded:
        assert loaded.engine.backend == "onnxruntime"
        assert len(loaded.predict([np.zeros((32, 64, 3), np.uint8)])[0]) == 2


def test_an_output_without_room_for_rows_is_refused(network: Build, tmp_path: Path) -> None:
    """Its length is known, and is none."""
    path = tmp_path / "none.onnx"
    outputs = {"logits": np.zeros((1, 0, 2), np.float32), "pred_boxes": np.zeros((1, 0, 4), np.float32)}
    path.write_bytes(network(outputs).SerializeToString())
    for backend in ("openvino", "onnxruntime"):
        with pytest.raises(InputError, match=r"output: logits \(1,0,2\): nothing can be in it"):
            engines.load(path, Options(backend=backend))

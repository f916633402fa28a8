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
LOGITS = np.array([[[-9, np.log(9)], [np.log(4), -9]]], np.float32)
MASKS = np.stack([np.full((8, 16), 1.0), np.full((8, 16), -1.0)])[None].astype(np.float32)
ROWS = np.concatenate([BOXES, SCORES[..., None], LABELS[..., None]], 2)
ENDED = np.concatenate([0 * LABELS[..., None], LABELS[..., None] + 1, SCORES[..., None], BOXES / 64], 2)
ENDED[..., [4, 6]] *= 2
COUNT = np.array([[2]], np.float32)
ULTRALYTICS = {"task": "detect", "names": "{0: 'a', 1: 'b'}", "end2end": "True", "imgsz": "[32, 64]"}

CASES: dict[str, dict[str, np.ndarray]] = {
    "counted": {"num_dets": COUNT, "det_boxes": BOXES, "det_scores": SCORES, "det_classes": LABELS},
    "dense": {"boxes": BOXES, "scores": SCORES[..., None] * np.eye(2, dtype=np.float32)[[1, 0]]},
    "detectionoutput": {"detection_out": ENDED[:, None]},
    "detr": {"logits": LOGITS, "pred_boxes": SHARES},
    "mmdet": {"dets": ROWS[..., :5], "labels": LABELS},
    "rf-detr": {"dets": SHARES, "labels": LOGITS},
    "rf-detr with masks": {"dets": SHARES, "labels": LOGITS, "masks": MASKS},
    "rtdetr": {"labels": LABELS, "boxes": BOXES, "scores": SCORES},
    "ultralytics-end2end": {"output0": ROWS},
}


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
    model = opened(model, {kind: axis for kind in CASES[name] if kind != "num_dets"}, keep)
    if layout == "rtdetr":  # its export takes sizes besides
        model.graph.input.append(helper.make_tensor_value_info("orig_target_sizes", 7, ["n", 2]))
    path.write_bytes(model.SerializeToString())
    card = f"layout: {layout}\nclasses: [a, b]\nresize: stretch\nmean: [0, 0, 0]\nstd: [1, 1, 1]\n"
    path.with_suffix(".yaml").write_text(card)
    pictures = [np.zeros((32, 64, 3), np.uint8)] * 2
    with engines.load(path, Options(backend=backend, batch=batch, precision="fp32")) as loaded:
        assert loaded.spec.layout == layout
        results = loaded.predict(pictures)
    for found in results:
        np.testing.assert_allclose(found.boxes, BOXES[0, :keep], atol=1e-2)
        np.testing.assert_allclose(found.scores, SCORES[0, :keep], atol=1e-4)
        assert found.classes.tolist() == [1, 0][:keep]
        if "masks" in CASES[name]:
            assert [bool((grid > 0).all()) for grid in found.masks.grids] == [True, False][:keep]


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

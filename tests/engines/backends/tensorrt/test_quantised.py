"""Int8 models as ONNX Runtime's tools write them, in the form that TensorRT takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.backends.tensorrt.binding import load_binding
from engines.backends.tensorrt.builder import Recipe, build_plan
from engines.backends.tensorrt.quantised import fold_biases
from engines.errors import InputError


def quantised() -> Any:
    """A convolution of int8 weights and an int32 bias, one scale for each of its 4 channels."""
    rng = np.random.default_rng(0)
    scales = np.array([0.01, 0.02, 0.03, 0.04], np.float32)
    arrays = {
        "weights8": rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8),
        "bias32": rng.integers(-9000, 9000, 4).astype(np.int32),
        "scales": scales,
        "step": np.array(0.05, np.float32),
        "bias scales": scales * np.float32(0.05),
        "zero": np.array(0, np.int8),
        "zeros": np.zeros(4, np.int8),
        "zeros32": np.zeros(4, np.int32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["in", "step", "zero"], ["in8"]),
        helper.make_node("DequantizeLinear", ["in8", "step", "zero"], ["pixels"]),
        helper.make_node("DequantizeLinear", ["weights8", "scales", "zeros"], ["weights"], axis=0),
        helper.make_node(
            "DequantizeLinear", ["bias32", "bias scales", "zeros32"], ["bias"], name="conv/bias", axis=0
        ),
        helper.make_node("Conv", ["pixels", "weights", "bias"], ["out"], name="conv"),
    ]
    shapes = {"in": [1, 3, 8, 8], "out": [1, 4, 6, 6]}
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    stored = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "int8", values[:1], values[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(model: Any) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(1).normal(size=(1, 3, 8, 8)).astype(np.float32)
    return session.run(["out"], {"in": pixels})[0]


def test_folding_biases_changes_no_value() -> None:
    model = quantised()
    expected = run(model)
    fold_biases(model)
    assert [node.op_type for node in model.graph.node].count("DequantizeLinear") == 2
    np.testing.assert_allclose(run(model), expected, rtol=1e-5, atol=1e-4)


def test_tensorrt_takes_it_folded_and_not_before(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed (pip install tensorrt-rtx)")
    model, path = quantised(), tmp_path / "int8.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"node conv/bias \(DequantizeLinear\): .*Int32") as refusal:
        build_plan(load_binding("tensorrt_rtx"), Recipe(path, "int8"))
    assert "\n" not in str(refusal.value)
    fold_biases(model)
    path.write_bytes(model.SerializeToString())
    assert build_plan(load_binding("tensorrt_rtx"), Recipe(path, "int8"))

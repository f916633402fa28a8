"""OpenVINO: each precision is computed as it is asked for, whatever was compiled before."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import engines
from engines.errors import InputError
from engines.options import Options, Precision


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """One convolution whose sixteen planes are a score of a box each."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    stored = {
        "weights": rng.random((16, 3, 3, 3), np.float32),
        "rows": np.array([1, 16, 1]),
        "boxes at": np.tile(np.array([8, 4, 24, 20], np.float32), (1, 16, 1)),
    }
    nodes = [
        helper.make_node("Conv", ["images", "weights"], ["planes"]),
        helper.make_node("GlobalMaxPool", ["planes"], ["peaks"]),
        helper.make_node("Reshape", ["peaks", "rows"], ["scores"]),
        helper.make_node("Identity", ["boxes at"], ["boxes"]),
    ]
    graph = helper.make_graph(
        nodes,
        str(tmp_path),  # the cache knows it from no other test
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 32, 64])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 16, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 16, 1]),
        ],
        [numpy_helper.from_array(values, name) for name, values in stored.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "convolution.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def kinds(model: Path, precision: Precision) -> set[str]:
    """In what its convolutions run."""
    options = Options(backend="openvino", precision=precision)
    with engines.load(model, options) as loaded:
        assert loaded.engine.precision == precision
        layers = json.loads(loaded.engine.layers())["Layers"]
    return {layer["runtimePrecision"] for layer in layers if layer.get("layerType") == "Convolution"}


@pytest.mark.parametrize("first", ["fp16", "fp32"])
def test_a_precision_is_not_taken_from_another_ones_cache(first: Precision, model: Path) -> None:
    order: list[Precision] = ["fp16", "fp32", "fp16"] if first == "fp16" else ["fp32", "fp16", "fp32"]
    try:
        seen = [kinds(model, precision) for precision in order]
    except InputError as error:
        pytest.skip(str(error))
    assert seen == [{{"fp16": "f16", "fp32": "f32"}[precision]} for precision in order]


def test_fp16_that_is_not_computed_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engines.backends import openvino

    monkeypatch.setattr(openvino, "_precision", lambda *_: "fp16")
    monkeypatch.setitem(openvino._HINTS, "fp16", "f32")
    with pytest.raises(InputError, match="precision: 'fp16', CPU with OpenVINO computes it in fp32 here"):
        engines.load(model, Options(backend="openvino", precision="fp16"))

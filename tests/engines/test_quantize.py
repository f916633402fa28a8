"""Quantisation: what becomes int8 and what stays float, and that every backend gives the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import engines
from engines.errors import InputError
from engines.options import Options
from engines.quantize import quantize

RNG = np.random.default_rng(0)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """Four convolutions in a row, the third in groups; scores are the middle of four of its last channels."""

    def weights(name: str, *shape: int) -> Any:
        return numpy_helper.from_array(
            (RNG.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32), name
        )

    nodes = [helper.make_node("Conv", ["images", "w1"], ["x1"], name="first", pads=[1] * 4)]
    nodes.append(helper.make_node("Relu", ["x1"], ["r1"], name="bend"))
    nodes.append(helper.make_node("Conv", ["r1", "w2"], ["x2"], name="second", pads=[1] * 4))
    nodes.append(helper.make_node("Conv", ["x2", "w3"], ["x3"], name="grouped", pads=[1] * 4, group=8))
    nodes.append(helper.make_node("Conv", ["x3", "w4"], ["x4"], name="head"))
    nodes.append(helper.make_node("GlobalAveragePool", ["x4"], ["mean"], name="pool"))
    nodes.append(helper.make_node("Reshape", ["mean", "shape"], ["logits"], name="lay"))
    nodes.append(helper.make_node("Sigmoid", ["logits"], ["scores"], name="squash"))
    nodes.append(helper.make_node("Identity", ["fixed"], ["boxes"], name="places"))
    stored = [
        weights("w1", 8, 3, 3, 3),
        weights("w2", 8, 8, 3, 3),
        weights("w3", 8, 1, 3, 3),
        weights("w4", 4, 8, 1, 1),
    ]
    boxes = np.array([[[0, 0, 9, 9], [20, 0, 29, 9], [0, 20, 9, 29], [20, 20, 29, 29]]], np.float32)
    stored += [numpy_helper.from_array(np.array([0, 4, 1]), "shape"), numpy_helper.from_array(boxes, "fixed")]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 32, 32])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 4, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 4, 1]),
        ],
        stored,
    )
    path = tmp_path / "small.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    path.with_suffix(".yaml").write_text("classes: [thing]\ncolour: bgr\n")
    for number in range(4):
        cv2.imwrite(str(tmp_path / f"{number}.png"), RNG.integers(0, 256, (32, 32, 3), np.uint8))
    return path


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_an_int8_twin_describes_itself_and_gives_nearly_the_same(
    backend: str, network: Path, tmp_path: Path
) -> None:
    twin = quantize(network, tmp_path, tmp_path / "twin.onnx")
    picture = RNG.integers(0, 256, (32, 32, 3), np.uint8)
    found = []
    for path in (network, twin):
        with engines.load(path, Options(backend=backend, precision="fp32", conf=0.0)) as model:
            assert (model.spec.classes, model.spec.colour) == (("thing",), "bgr")
            found += model.predict([picture])
    order = [np.lexsort(one.boxes.T) for one in found]
    np.testing.assert_allclose(found[0].scores[order[0]], found[1].scores[order[1]], atol=0.02)
    assert len(found[0]) == 4


def test_heads_and_grouped_convolutions_stay_float(network: Path, tmp_path: Path) -> None:
    model = onnx.load(quantize(network, tmp_path, tmp_path / "twin.onnx"))
    restored = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    int8 = {node.name for node in convolutions if set(node.input[:2]) <= restored}
    assert int8 == {"first", "second"}
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            assert stored[node.input[2]].dtype == np.int8
            assert not stored[node.input[2]].any(), "symmetric"


def test_what_is_quantised_is_not_quantised_again(network: Path, tmp_path: Path) -> None:
    twin = quantize(network, tmp_path, tmp_path / "twin.onnx")
    with pytest.raises(InputError, match="it is quantised already"):
        quantize(twin, tmp_path, tmp_path / "third.onnx")


def test_no_pictures_are_no_calibration(network: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no pictures in this folder"):
        quantize(network, tmp_path / "empty", tmp_path / "twin.onnx")

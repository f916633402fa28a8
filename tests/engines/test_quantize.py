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
from engines.errors import InputError, WorkError
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


def changed(path: Path, change: Any) -> Path:
    """The network with something changed in its graph."""
    model = onnx.load(path)
    change(model.graph)
    path.write_bytes(model.SerializeToString())
    return path


def takes(kind: int) -> Any:
    """Pictures come in another type, and are made float32 at once."""

    def change(graph: Any) -> None:
        graph.input[0].type.tensor_type.elem_type = kind
        graph.node[0].input[0] = "floats"
        graph.node.insert(0, helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT))

    return change


def takes_sizes(graph: Any) -> None:
    graph.input.append(helper.make_tensor_value_info("orig_target_sizes", TensorProto.INT64, [1, 2]))
    nothing = [helper.make_node("Cast", ["orig_target_sizes"], ["sizes"], to=TensorProto.FLOAT)]
    nothing.append(helper.make_node("ReduceMin", ["sizes"], ["least"], keepdims=0))
    nothing.append(helper.make_node("Clip", ["fixed", "", "least"], ["boxes"]))
    del graph.node[-1]
    graph.node.extend(nothing)


INPUTS = {
    "float16": takes(TensorProto.FLOAT16),
    "uint8": takes(TensorProto.UINT8),
    "float64": takes(TensorProto.DOUBLE),
    "the sizes of pictures as well": takes_sizes,
}


@pytest.mark.parametrize("change", INPUTS.values(), ids=INPUTS)
def test_calibration_gives_what_the_network_takes(change: Any, network: Path, tmp_path: Path) -> None:
    twin = quantize(changed(network, change), tmp_path, tmp_path / "twin.onnx")
    with engines.load(twin, Options(backend="onnxruntime", conf=0.0)) as model:
        (found,) = model.predict([RNG.integers(0, 256, (32, 32, 3), np.uint8)])
    assert len(found) == 4


def halved(graph: Any) -> None:
    half = numpy_helper.from_array(numpy_helper.to_array(graph.initializer[0]).astype(np.float16), "w1/half")
    graph.initializer[0].CopyFrom(half)
    graph.node[0].input[0], graph.node[0].input[1] = "halves", "w1/half"
    graph.node[0].output[0] = "x1/half"
    graph.node.insert(1, helper.make_node("Cast", ["x1/half"], ["x1"], to=TensorProto.FLOAT))
    graph.node.insert(0, helper.make_node("Cast", ["images"], ["halves"], to=TensorProto.FLOAT16))


def does_not_run(graph: Any) -> None:
    node = next(node for node in graph.node if node.name == "lay")
    graph.initializer.append(numpy_helper.from_array(np.array([0, 4, 3]), "beyond"))
    node.input[1] = "beyond"


def test_half_weights_are_refused(network: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="weights: float16, int8 is made of the model in float32"):
        quantize(changed(network, halved), tmp_path, tmp_path / "twin.onnx")


def test_a_network_that_does_not_run_is_told_in_one_sentence(
    network: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(WorkError, match="int8: ONNX Runtime does not calibrate it: ") as failure:
        quantize(changed(network, does_not_run), tmp_path, tmp_path / "twin.onnx")
    assert "\n" not in str(failure.value)
    assert not (tmp_path / "twin.onnx").exists()
    assert "onnxruntime" not in capfd.readouterr().err


PLACES = {
    "the model itself": ("small.onnx", "it is a file of the model itself"),
    "the model by another way": ("other/../small.onnx", "it is a file of the model itself"),
    "its card": ("small.yaml", "it is a file of the model itself"),
    "a folder": ("other", "a folder, a file that can be written is right"),
    "no folder": ("nowhere/twin.onnx", "no folder .*/nowhere, a file that can be written is right"),
    "in a file": ("small.onnx/twin.onnx", ".*/small.onnx is a file"),
}


@pytest.mark.parametrize(("name", "said"), PLACES.values(), ids=PLACES)
def test_a_place_that_is_not_right_is_refused_before_the_work(
    name: str, said: str, network: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    before = {path: path.read_bytes() for path in (network, network.with_suffix(".yaml"))}
    with pytest.raises(InputError, match=f"save: .*{name}: {said}"):
        quantize(network, tmp_path / "nothing here", tmp_path / name)
    assert before == {path: path.read_bytes() for path in before}


def test_a_full_disk_leaves_the_file_that_was_there(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    save = tmp_path / "twin.onnx"
    save.write_bytes(b"before")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(WorkError, match="No space left on device, the quantised model is not written"):
            quantize(network, tmp_path, save)
    assert save.read_bytes() == b"before"

"""Reading ONNX files: whole ones, and one sentence for every kind of bad one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engines
from engines.errors import InputError
from engines.network import fix_size, read_network
from engines.options import Options

OUTPUTS = {"boxes": np.zeros((1, 9, 4), np.float32), "scores": np.zeros((1, 9, 2), np.float32)}


def test_names_shapes_and_types_are_read(saved: Callable[..., Path]) -> None:
    network = read_network(saved(OUTPUTS, opset=13, metadata={"task": "detect"}))
    assert (network.opset, network.metadata) == (13, {"task": "detect"})
    assert (network.input.name, network.input.shape, network.input.dtype) == (
        "images",
        (1, 3, 32, 64),
        "float32",
    )
    assert {output.name: output.shape for output in network.outputs} == {
        "boxes": (1, 9, 4),
        "scores": (1, 9, 2),
    }


def test_an_open_axis_is_0_until_it_is_fixed(saved: Callable[..., Path]) -> None:
    network = read_network(saved(OUTPUTS, batch="n", size=(0, 0)))
    assert network.input.shape == (0, 3, 0, 0)
    fixed = fix_size(network, (96, 64))
    assert fixed.input.shape == (1, 3, 64, 96)
    assert fixed.outputs[0].shape == (1, 9, 4)


def test_what_inference_leaves_open_the_file_may_know(network: Callable[..., Any], tmp_path: Path) -> None:
    """The rows are chosen by a mask, so nobody infers how many there are; the file says only how wide."""
    from onnx import helper, numpy_helper

    model = network({**OUTPUTS, "output0": np.zeros((1, 9, 6), np.float32)})
    del model.graph.output[:]
    model.graph.initializer.append(numpy_helper.from_array(np.ones(6, bool), "all"))
    model.graph.node.append(helper.make_node("Compress", ["output0", "all"], ["rows"], axis=2))
    model.graph.output.append(helper.make_tensor_value_info("rows", 1, ["n", "m", 6]))
    path = tmp_path / "rows.onnx"
    path.write_bytes(model.SerializeToString())
    fixed = fix_size(read_network(path), (64, 32))
    assert [output.shape for output in fixed.outputs] == [(1, 9, 6)]


def test_nodes_in_another_order_than_they_run_in_are_sorted(
    network: Callable[..., Any], tmp_path: Path
) -> None:
    model = network(OUTPUTS)
    path = tmp_path / "turned.onnx"
    path.write_bytes(model.SerializeToString())
    whole = engines.load(path, Options(precision="fp32", backend="onnxruntime"))
    nodes = list(model.graph.node)
    assert len(nodes) > 2
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))
    path.write_bytes(model.SerializeToString())
    for backend in ("openvino", "onnxruntime"):
        turned = engines.load(path, Options(precision="fp32", backend=backend))
        assert turned.spec == whole.spec


def damaged(whole: bytes) -> dict[str, tuple[bytes, str]]:
    return {
        "empty": (b"", "the file is empty"),
        "text": (b"this is no model\n" * 20, "not a whole ONNX model"),
        "half of it": (whole[: len(whole) // 2], "not a whole ONNX model"),
        "one byte short": (whole[:-1], "not a whole ONNX model"),
        "random": (np.random.default_rng(0).bytes(500), "not a whole ONNX model"),
    }


@pytest.mark.parametrize("kind", damaged(b"").keys())
def test_a_damaged_file_is_refused(kind: str, saved: Callable[..., Path]) -> None:
    path = saved(OUTPUTS)
    content, said = damaged(path.read_bytes())[kind]
    path.write_bytes(content)
    with pytest.raises(InputError, match=said) as refusal:
        read_network(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_old_opset_is_converted_and_computes_the_same(tmp_path: Path) -> None:
    """Softmax, Upsample and Slice of opset 9 have other forms today."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [
            helper.make_node("Upsample", ["images", "scales"], ["large"], mode="nearest"),
            helper.make_node("Slice", ["large"], ["cut"], axes=[2], starts=[1], ends=[7]),
            helper.make_node("Softmax", ["cut"], ["scores"], axis=3),
        ],
        "old",
        [
            helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 4, 4]),
            helper.make_tensor_value_info("scales", TensorProto.FLOAT, [4]),  # weights were inputs then
        ],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 3, 6, 8])],
        [numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=4)
    path = tmp_path / "old.onnx"
    path.write_bytes(model.SerializeToString())
    network = read_network(path)
    assert network.opset >= 11
    assert [value.name for value in network.model.graph.input] == ["images"]
    picture = {"images": np.random.default_rng(0).random((1, 3, 4, 4), np.float32)}
    seen = [
        onnxruntime.InferenceSession(one.SerializeToString()).run(None, picture)[0]
        for one in (model, network.model)
    ]
    np.testing.assert_array_equal(*seen)


def test_a_model_of_two_inputs_is_refused(network: Callable[..., Any], tmp_path: Path) -> None:
    model = network(OUTPUTS)
    other = model.graph.input.add()
    other.CopyFrom(model.graph.input[0])
    other.name = "previous_picture"
    path = tmp_path / "two.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="inputs: images, previous_picture"):
        read_network(path)


def test_a_function_of_the_file_is_written_out(network: Callable[..., Any], tmp_path: Path) -> None:
    from onnx import helper

    model = network(OUTPUTS)
    (last,) = (node for node in model.graph.node if node.output[0] == "scores")
    last.output[0] = "before"
    model.graph.node.append(helper.make_node("Twice", ["before"], ["scores"], domain="local"))
    body = [helper.make_node("Add", ["x", "x"], ["y"])]
    imports = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("local", "Twice", ["x"], ["y"], body, imports))
    model.opset_import.append(helper.make_opsetid("local", 1))
    path = tmp_path / "function.onnx"
    path.write_bytes(model.SerializeToString())
    seen = read_network(path)
    assert "Twice" not in seen.operators
    assert "Add" in seen.operators
    for backend in ("openvino", "onnxruntime"):
        engines.load(path, Options(backend=backend)).close()


@pytest.mark.parametrize("kind", ["sequence", "strings"])
@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_what_is_no_tensor_of_numbers_is_refused(kind: str, side: str, tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    make = helper.make_tensor_sequence_value_info if kind == "sequence" else helper.make_tensor_value_info
    odd = TensorProto.FLOAT if kind == "sequence" else TensorProto.STRING
    plain = helper.make_tensor_value_info("plain", TensorProto.FLOAT, [1, 3, 32, 64])
    values = [make("odd", odd, [1, 3, 32, 64]), plain]
    if side == "outputs":
        values.reverse()
    node = helper.make_node("Identity", [values[0].name], [values[1].name])
    path = tmp_path / "odd.onnx"
    graph = helper.make_graph([node], "odd", values[:1], values[1:])
    path.write_bytes(helper.make_model(graph, ir_version=8).SerializeToString())
    with pytest.raises(InputError, match=rf"{side}: odd: a .*{kind[:6]}.*, a tensor of numbers is needed"):
        read_network(path)

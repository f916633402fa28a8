"""Half precision: what is changed, what stays, and that the twin still computes the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper, shape_inference  # noqa: E402

from engines.half import halve  # noqa: E402

SIZE = 8


def convolution(name: str, source: str, depth: tuple[int, int], gain: float = 0.1) -> tuple[Any, Any]:
    weights = np.random.default_rng(len(name)).normal(0, gain, (depth[1], depth[0], 3, 3))
    stored = numpy_helper.from_array(weights.astype(np.float32), f"{name}/weights")
    return helper.make_node("Conv", [source, stored.name], [name], name=name, pads=[1, 1, 1, 1]), stored


def build(*middle: Any, stored: tuple[Any, ...] = (), last: str = "first", tail: tuple[Any, ...] = ()) -> Any:
    """picture -> * 1/255 -> conv 'first' -> middle -> conv 'second' of ``last`` -> + 900 -> tail -> 'out'."""
    first, second = convolution("first", "scaled", (3, 8)), convolution("second", last, (8, 4))
    numbers = {"unit": 1 / 255, "far": 900}
    constants = [numpy_helper.from_array(np.array(value, np.float32), key) for key, value in numbers.items()]
    nodes = [helper.make_node("Mul", ["picture", "unit"], ["scaled"]), first[0], *middle, second[0]]
    nodes += [helper.make_node("Add", ["second", "far"], ["out"]), *tail]
    graph = helper.make_graph(
        nodes,
        "by hand",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [*constants, first[1], second[1], *stored],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(model: Any) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, SIZE, SIZE)).astype(np.float32)
    return session.run(["out"], {"picture": pixels})[0]


def kinds(model: Any) -> dict[str, str]:
    """Element type of each node's first output, by what the node computes."""
    inferred = shape_inference.infer_shapes(model, strict_mode=True).graph
    types = {
        value.name: value.type.tensor_type.elem_type for value in (*inferred.value_info, *inferred.output)
    }
    return {
        name.removesuffix("/half"): TensorProto.DataType.Name(types[name])
        for node in model.graph.node
        for name in node.output[:1]
        if node.op_type != "Cast" or node.name
    }


def test_only_what_lies_between_products_of_weights_is_halved() -> None:
    twin = halve(build(helper.make_node("Relu", ["first"], ["middle"]), last="middle"), "fp16")
    assert kinds(twin) == {
        "scaled": "FLOAT",
        "first": "FLOAT16",
        "middle": "FLOAT16",
        "second": "FLOAT16",
        "out": "FLOAT",
    }
    stored = {tensor.name: tensor.data_type for tensor in twin.graph.initializer}
    assert stored == {"unit": 1, "far": 1, "first/weights/half": 10, "second/weights/half": 10}


def resized() -> Any:
    scales = numpy_helper.from_array(np.array([1, 1, 1.0625, 1], np.float32), "scales")
    node = helper.make_node("Resize", ["first", "", "scales"], ["middle"], mode="nearest")
    return build(node, stored=(scales,), last="middle")


def read_outside() -> Any:
    """The tail reads what the network computed halfway."""
    tail = helper.make_node("ReduceMax", ["middle"], ["best"], keepdims=0)
    add = helper.make_node("Add", ["out0", "best"], ["out"])
    model = build(helper.make_node("Relu", ["first"], ["middle"]), last="middle", tail=(tail, add))
    model.graph.node[4].output[0] = "out0"
    return model


def read_by_subgraph() -> Any:
    def branch(name: str, node: Any) -> Any:
        value = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        return helper.make_graph([node], name, [], [value])

    yes = branch("yes", helper.make_node("Relu", ["first"], ["yes"]))
    no = branch("no", helper.make_node("Neg", ["first"], ["no"]))
    truth = numpy_helper.from_array(np.array(True), "truth")
    node = helper.make_node("If", ["truth"], ["middle"], then_branch=yes, else_branch=no)
    return build(node, stored=(truth,), last="middle")


def typed_attributes() -> Any:
    shape = numpy_helper.from_array(np.array([1, 8, 1, 1]), "shape")
    one = numpy_helper.from_array(np.array([0.5], np.float32), "value")
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["half a one"], value=one),
        helper.make_node("Cast", ["first"], ["cast"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["cast", "half a one"], ["middle"]),
    ]
    return build(*nodes, stored=(shape,), last="middle")


def small_product_last() -> Any:
    """A distribution's expectation: its 16 weights decode boxes and are not learnt."""
    stored = numpy_helper.from_array(np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1), "steps")
    model = build(tail=(helper.make_node("Conv", ["out0", "steps"], ["out"], name="out"),), stored=(stored,))
    model.graph.node[3].output[0] = "out0"
    return model


MODELS = {
    "scales of a resize stay float32": resized,
    "a tensor read halfway is cast back": read_outside,
    "a subgraph keeps reading float32": read_by_subgraph,
    "types in attributes follow": typed_attributes,
    "small products decode in float32": small_product_last,
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_the_twin_computes_the_same(model: Any) -> None:
    exact, half = run(model()), run(halve(model(), "fp16"))
    assert half.dtype == np.float32
    assert 0 < np.abs(half - exact).max() < 0.02, "steps of fp16 at 900 are 0.5"


def test_weights_beyond_the_range_become_the_largest() -> None:
    model = build()
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == "second/weights")
    weights.CopyFrom(numpy_helper.from_array(np.full((4, 8, 3, 3), -1e9, np.float32), weights.name))
    twin = halve(model, "fp16")
    stored = next(tensor for tensor in twin.graph.initializer if tensor.name == "second/weights/half")
    assert numpy_helper.to_array(stored).min() == np.finfo(np.float16).min


def test_a_graph_without_learnt_products_stays_as_it_is() -> None:
    node = helper.make_node("Relu", ["picture"], ["out"])
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8]) for name in ("picture", "out")
    ]
    model = helper.make_model(helper.make_graph([node], "relu", values[:1], values[1:]))
    assert list(halve(model, "fp16").graph.node) == [node]


def test_bf16_has_the_range_of_fp32() -> None:
    twin = halve(build(), "bf16")
    assert kinds(twin)["second"] == "BFLOAT16"
    assert {tensor.data_type for tensor in twin.graph.initializer} == {1, TensorProto.BFLOAT16}

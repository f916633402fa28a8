"""Half: the twin of a composed model that computes in fp16 or bf16, for compilers that read types from it.

Only what lies between the first and the last product with learnt weights is changed. Pixels before it and the
arithmetic of boxes after it stay fp32: the steps of fp16 are half a pixel above 512.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from onnx import TensorProto, helper, numpy_helper, shape_inference

from engines.nodes import reads

__all__ = ["halve"]

_PRODUCTS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
_LEARNT = 100  # weights; products of fewer decode boxes, such as the 16 of a distribution's expectation
_CARRIERS = {"Cast", "DequantizeLinear", "Identity", "Transpose"}  # what weights may pass on their way
_FULL = {"Resize": (1, 2), "Upsample": (1,)}  # inputs that are float32 by definition: regions and scales
_NEVER = {"DequantizeLinear", "If", "Loop", "NonMaxSuppression", "QuantizeLinear", "Range", "Scan"}
_KINDS = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}


def halve(model: Any, precision: Literal["fp16", "bf16"]) -> Any:
    """Return a new onnx.ModelProto that computes its network in half precision; inputs and outputs stay."""
    kind = _KINDS[precision]
    types = _element_types(model)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    inside = _between_products(model.graph.node, stored)
    if precision == "bf16":  # TensorRT-RTX 1.7 finds no type for it
        inside = {number for number in inside if model.graph.node[number].op_type != "ConvTranspose"}
    made = {name for number in inside for name in model.graph.node[number].output}
    made = {name for name in made if types.get(name) == TensorProto.FLOAT}
    wanted_full = _wanted_full(model.graph, inside)
    nodes: list[Any] = []
    halves: dict[str, str] = {}  # tensor -> its twin
    weights: dict[str, Any] = {}

    def half(name: str) -> str:
        if types.get(name) != TensorProto.FLOAT:
            return name
        if name not in halves:
            halves[name] = f"{name}/half"
            if name in stored:
                weights[name] = _half_tensor(stored[name], halves[name], kind)
            elif name not in made:
                nodes.append(helper.make_node("Cast", [name], [halves[name]], to=kind))
        return halves[name]

    for number, node in enumerate(model.graph.node):
        if number not in inside:
            nodes.append(node)
            continue
        twin = type(node)()
        twin.CopyFrom(node)
        full = _FULL.get(node.op_type, ())
        twin.input[:] = [name if place in full else half(name) for place, name in enumerate(node.input)]
        twin.output[:] = [half(name) for name in node.output]
        _retype(twin, kind)
        nodes.append(twin)
        back = [name for name in node.output if name in made & wanted_full]
        nodes.extend(helper.make_node("Cast", [half(name)], [name], to=TensorProto.FLOAT) for name in back)
    used = {name for node in nodes for name in reads(node)} | {value.name for value in model.graph.output}
    kept = [tensor for name, tensor in stored.items() if name in used]
    graph = helper.make_graph(
        nodes, model.graph.name, model.graph.input, model.graph.output, [*kept, *weights.values()]
    )
    twin = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    twin.functions.extend(model.functions)
    return twin


def _element_types(model: Any) -> dict[str, int]:
    """Element type of every tensor that shape inference reaches."""
    graph = shape_inference.infer_shapes(model).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return types | {tensor.name: tensor.data_type for tensor in graph.initializer}


def _between_products(nodes: Any, stored: dict[str, Any]) -> set[int]:
    """Numbers of the nodes on a way from one learnt product to another, both included."""
    sizes = {name: int(np.prod(tensor.dims)) for name, tensor in stored.items()}
    for node in nodes:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            sizes[node.output[0]] = int(np.prod(node.attribute[0].t.dims))
        elif node.op_type in _CARRIERS and node.input[0] in sizes:
            sizes[node.output[0]] = sizes[node.input[0]]
    learnt = {
        number
        for number, node in enumerate(nodes)
        if node.op_type in _PRODUCTS and any(sizes.get(name, 0) >= _LEARNT for name in node.input)
    }
    after, before = set(learnt), set(learnt)
    reached = {name for number in learnt for name in nodes[number].output}
    for number, node in enumerate(nodes):
        if number in after or not reached.isdisjoint(node.input):
            after.add(number)
            reached.update(node.output)
    needed = {name for number in learnt for name in reads(nodes[number])}
    for number in reversed(range(len(nodes))):
        if number in before or not needed.isdisjoint(nodes[number].output):
            before.add(number)
            needed.update(reads(nodes[number]))
    return {number for number in after & before if nodes[number].op_type not in _NEVER}


def _wanted_full(graph: Any, inside: set[int]) -> set[str]:
    """Names of the tensors that somebody reads as float32."""
    wanted = {value.name for value in graph.output}
    for number, node in enumerate(graph.node):
        if number not in inside:
            wanted.update(reads(node))
        else:
            wanted.update(
                node.input[place] for place in _FULL.get(node.op_type, ()) if place < len(node.input)
            )
    return wanted


def _retype(node: Any, kind: int) -> None:
    """Change the element types that stand in attributes: a cast to float32 becomes one to half."""
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = kind
        if attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT:
            attribute.t.CopyFrom(_half_tensor(attribute.t, attribute.t.name, kind))


def _half_tensor(tensor: Any, name: str, kind: int) -> Any:
    """The nearest halves; what is beyond their range becomes their largest."""
    values = numpy_helper.to_array(tensor)
    if kind == TensorProto.FLOAT16:
        limit = float(np.finfo(np.float16).max)
        values = np.clip(values, -limit, limit)
    return numpy_helper.from_array(values.astype(helper.tensor_dtype_to_np_dtype(kind)), name)

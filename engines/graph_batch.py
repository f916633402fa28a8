"""The batch of a graph: exports write theirs into their reshapes as a constant; here they learn to follow it.

Which number of a reshape is the batch shows where shapes are inferred twice, for the batch of the file and
for the one that is wanted: one axis of what comes in differs, and in what goes out it is the first one that
as many elements lie before.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper, shape_inference

__all__ = ["constants", "set_batch"]

Shape = tuple[int, ...]  # 0 is an axis of unknown length
Shapes = Mapping[str, Shape]

_LARGE = 1024  # elements: what has more is a weight, and no shape
_ROUNDS = 200  # reshapes one behind the other


def set_batch(model: Any, given: Shapes, wanted: Shapes) -> Shapes:
    """Let the reshapes of an onnx.ModelProto follow the batch, in place; return the shapes of its outputs.

    ``given`` and ``wanted`` hold the shapes of all inputs, as the file has them and as they are to be. What
    else a graph may do with its batch is not looked for.
    """
    lean = _lean(model)
    targets = constants(model.graph)
    before = _inferred(lean, given)
    for _ in range(_ROUNDS):
        after = _inferred(lean, wanted)
        fresh = _freed(lean.graph, targets, before, after)
        if not fresh:
            break
        for number, target in fresh.items():
            name = f"graph_batch/{number}"
            targets[name] = target
            for graph in (model.graph, lean.graph):
                graph.initializer.append(numpy_helper.from_array(np.array(target, np.int64), name))
                graph.node[number].input[1] = name
    return {value.name: after.get(value.name, ()) for value in model.graph.output}


def _freed(graph: Any, targets: Shapes, before: Shapes, after: Shapes) -> dict[int, Shape]:
    """The targets of those reshapes, by number, that hide the batch and that no other one of them feeds."""
    behind: set[str] = set()
    found = {}
    for number, node in enumerate(graph.node):
        if not behind.isdisjoint(node.input):
            behind.update(node.output)
            continue
        if node.op_type != "Reshape" or node.input[1] not in targets:
            continue
        if any(attribute.name == "allowzero" and attribute.i for attribute in node.attribute):
            continue
        (data, shape), (out,) = node.input, node.output
        forms = before.get(data, ()), after.get(data, ()), before.get(out, ())
        target = _following(targets[shape], *forms)
        if target != targets[shape]:
            found[number] = target
            behind.add(out)
    return found


def _following(target: Shape, given: Shape, wanted: Shape, out: Shape) -> Shape:
    """A target that makes ``out`` of ``given``, and more or less of it as ``wanted`` has more or less."""
    moving = [axis for axis, (one, other) in enumerate(zip(given, wanted, strict=False)) if one != other]
    if len(given) != len(wanted) or len(moving) != 1:
        return target
    (axis,) = moving
    own, batch, before = given[axis], wanted[axis], prod(given[:axis])
    if not own * batch * before:
        return target
    places = [
        place
        for place, length in enumerate(out)
        if length and prod(out[:place]) == before and length * batch % own == 0
    ]
    if not places:
        return target
    place = places[0]
    if target[place] == -1 or (target[place] == 0 and place == axis):
        return target
    numbers = list(target)
    if place == axis and out[place] == own:
        numbers[place] = 0
    elif all(out):
        numbers = [length if number == -1 else number for number, length in zip(target, out, strict=True)]
        numbers[place] = -1
    return tuple(numbers)


def _lean(model: Any) -> Any:
    """A copy without its weights, of which only the shapes matter."""
    graph = model.graph
    large = [tensor for tensor in graph.initializer if prod(tensor.dims) > _LARGE]
    small = [tensor for tensor in graph.initializer if prod(tensor.dims) <= _LARGE]
    weights = [helper.make_tensor_value_info(one.name, one.data_type, one.dims) for one in large]
    outputs = [helper.make_tensor_value_info(one.name, _kind(one), None) for one in graph.output]
    lean = helper.make_graph(graph.node, "lean", [*graph.input, *weights], outputs, small)
    return helper.make_model(lean, opset_imports=model.opset_import, ir_version=model.ir_version)


def _kind(value: Any) -> int:
    return int(value.type.tensor_type.elem_type)


def constants(graph: Any) -> dict[str, Shape]:
    """Return the small constants of one axis of a graph: targets of reshapes, bounds of slices."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            stored[node.output[0]] = node.attribute[0].t
    return {
        name: tuple(numpy_helper.to_array(tensor).tolist())
        for name, tensor in stored.items()
        if tensor.data_type == TensorProto.INT64 and len(tensor.dims) == 1 and tensor.dims[0] < _LARGE
    }


def _inferred(lean: Any, inputs: Shapes) -> dict[str, Shape]:
    """The shape of every tensor that inference reaches."""
    for value in lean.graph.input:
        if value.name in inputs:
            value.CopyFrom(helper.make_tensor_value_info(value.name, _kind(value), inputs[value.name]))
    graph = shape_inference.infer_shapes(lean, data_prop=True).graph
    return {
        value.name: tuple(max(axis.dim_value, 0) for axis in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
    }

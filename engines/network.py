"""Network: what an ONNX file holds before composition, with one clear sentence for every kind of bad file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

from engines.engine import TensorSpec
from engines.errors import InputError

__all__ = ["Network", "fix_size", "free_batch", "read_network"]

OLDEST_OPSET = 11


@dataclass(frozen=True, slots=True)
class Network:
    """An ONNX model of one picture in; an axis that the file leaves open is 0."""

    model: Any = field(repr=False)  # onnx.ModelProto
    opset: int
    input: TensorSpec  # (batch, 3, H, W) in most families
    outputs: tuple[TensorSpec, ...]  # in the order of the file
    metadata: dict[str, str] = field(repr=False)


def read_network(path: Path) -> Network:
    """Read an ONNX file. Raises InputError where it is empty, damaged, too old or not of one picture in."""
    data = path.read_bytes()
    if not data:
        raise InputError(f"{path}: the file is empty, an ONNX model is needed")
    try:
        model = onnx.load_model_from_string(data)
        if not model.graph.node:
            raise ValueError("it holds no graph")
        _load_weights_beside(model, path)
        onnx.checker.check_model(model)
    except InputError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{path}: not a whole ONNX model: {reason}; export or download it again") from error
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise InputError(f"{path}: inputs: {names}, a model that takes one tensor of pictures is needed")
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)
    if opset < OLDEST_OPSET:
        raise InputError(f"{path}: opset: {opset}, {OLDEST_OPSET} or newer is needed; export the model again")
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    return Network(model, opset, _spec(inputs[0]), tuple(map(_spec, model.graph.output)), metadata)


def fix_size(network: Network, size: tuple[int, int]) -> Network:
    """Return the network for one picture of ``size`` (width, height), the shapes of its outputs inferred."""
    shape = (1, network.input.shape[1], size[1], size[0])
    if network.input.shape == shape and all(all(output.shape) for output in network.outputs):
        return network
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    value = next(value for value in model.graph.input if value.name == network.input.name)
    _set_shape(value, shape)
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = shape_inference.infer_shapes(model, data_prop=True)
    outputs = tuple(map(_spec, inferred.graph.output))
    return Network(model, network.opset, _spec(value), outputs, network.metadata)


def free_batch(network: Network) -> Any:
    """Return a copy of the model that takes any number of pictures.

    Exports for one picture write the batch as a constant into their reshapes; there it becomes 0, which keeps
    the axis as it comes. What else a graph may do with its batch is not looked for: the result is to be
    proved on pictures (`engines.parity`).
    """
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    del model.graph.value_info[:]
    value = next(value for value in model.graph.input if value.name == network.input.name)
    _set_shape(value, ("batch", *network.input.shape[1:]))
    batch = network.input.shape[0]
    if not batch:
        return model
    known = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            known[node.output[0]] = node.attribute[0].t
    for number, node in enumerate(model.graph.node):
        if node.op_type != "Reshape" or node.input[1] not in known:
            continue
        target = numpy_helper.to_array(known[node.input[1]]).copy()
        keeps_zero = any(attribute.name == "allowzero" and attribute.i for attribute in node.attribute)
        if target.size and target[0] == batch and not keeps_zero:
            target[0] = 0
            name = f"free_batch/{number}"
            model.graph.initializer.append(numpy_helper.from_array(target, name))
            node.input[1] = name
    return model


def _load_weights_beside(model: Any, path: Path) -> None:
    """Weights outside the file are read from `<file>.data` only, as PyTorch's exporter names it."""
    beside = path.with_name(path.name + ".data").name
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location" and entry.value != beside:
                raise InputError(
                    f"{path}: weights: in {entry.value!r}, only {beside!r} beside the file is read"
                )
    onnx.load_external_data_for_model(model, str(path.parent))


def _spec(value: Any) -> TensorSpec:
    kind = value.type.tensor_type
    shape = tuple(dim.dim_value for dim in kind.shape.dim)
    return TensorSpec(value.name, shape, str(np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type))))


def _set_shape(value: Any, shape: tuple[int | str, ...]) -> None:
    kind = value.type.tensor_type
    value.CopyFrom(helper.make_tensor_value_info(value.name, kind.elem_type, list(shape)))

"""Network: what a model file holds before composition, with one clear sentence for every kind of bad file."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, inliner, shape_inference, version_converter

from engines.engine import TensorSpec
from engines.errors import InputError, WorkError
from engines.external import load_weights
from engines.graph_batch import set_batch
from engines.node_order import put_in_order

__all__ = [
    "MOTION",
    "SIZES",
    "Network",
    "Order",
    "at_least",
    "fix_size",
    "free_batch",
    "read_between",
    "read_network",
    "without",
]

Order = Literal["nchw", "nhwc", "chw"]

OLDEST_OPSET = 11  # that composition writes; older files are converted
_DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft", "org.openvinotoolkit"}
_NO_NUMBERS = (TensorProto.UNDEFINED, TensorProto.STRING, TensorProto.COMPLEX64, TensorProto.COMPLEX128)
SIZES = "orig_target_sizes"  # a second input, (batch, 2): width and height that boxes are wanted in
MOTION = "motion"  # an output for frames between key frames


@dataclass(frozen=True, slots=True)
class Network:
    """A model of one picture in; an axis that the file leaves open is 0."""

    model: Any = field(repr=False)  # onnx.ModelProto; of an OpenVINO IR only its inputs and outputs
    opset: int
    input: TensorSpec  # the pictures
    outputs: tuple[TensorSpec, ...]  # in the order of the file
    metadata: dict[str, str] = field(repr=False)
    ir: Path | None = None  # the .xml file, where it is an OpenVINO IR
    state: tuple[TensorSpec, ...] = ()  # what key frames give beside their outputs, and others take
    motion: TensorSpec | None = None  # how far the picture moved since its key frame, where the file says it
    batch: int = 0  # pictures that the file is made for; 0 = any number

    @property
    def order(self) -> Order:
        """How the axes of the input lie; channels are three, anything else is no picture."""
        shape = self.input.shape
        if len(shape) == 3 and shape[0] == 3:
            return "chw"
        if len(shape) == 4 and shape[1] == 3:
            return "nchw"
        if len(shape) == 4 and shape[3] == 3:
            return "nhwc"
        raise InputError(
            f"input: {self.input}, pictures of three channels as (batch, 3, "
            "height, width), (batch, height, width, 3) or (3, height, width) are needed"
        )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the input; what the file leaves open is 0."""
        shape, order = self.input.shape, self.order
        return shape[order.index("w")], shape[order.index("h")]

    @property
    def given(self) -> tuple[TensorSpec, ...]:
        """All that the graph gives and takes beside pictures."""
        return (*self.outputs, *self.state)

    @property
    def operators(self) -> frozenset[str]:
        """The kinds of operator that the graph uses."""
        return frozenset(node.op_type for node in self.model.graph.node)

    def shaped(self, size: tuple[int, int], batch: int) -> tuple[int, ...]:
        """Return the shape of the input for pictures of ``size`` (width, height)."""
        axes = {"n": batch, "c": 3, "w": size[0], "h": size[1]}
        return tuple(axes[axis] for axis in self.order)


def read_network(path: Path, state: Collection[str] = ()) -> Network:
    """Read an ONNX or OpenVINO IR file. Raises InputError where it is damaged or not of one picture in.

    Inputs named in ``state`` may stand beside that of the pictures.
    """
    if path.suffix.lower() == ".xml":
        from engines.ir import read_ir

        return read_ir(path)
    data = path.read_bytes()
    if not data:
        raise InputError(f"{path}: the file is empty, an ONNX model is needed")
    try:
        model = onnx.load_model_from_string(data)
        if not model.graph.node:
            raise ValueError("it holds no graph")
        load_weights(model, path)
        put_in_order(model.graph)
        onnx.checker.check_model(model)
    except InputError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{path}: not a whole ONNX model: {reason}; export or download it again") from error
    _check_operators(model, path)
    if model.functions:  # OpenVINO knows none
        model = inliner.inline_local_functions(model)
    _fix_weights(model)
    model = at_least(OLDEST_OPSET, model, path)
    if not model.graph.output:
        raise InputError(f"{path}: outputs: none, a model that gives tensors is needed")
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    outputs = tuple(_spec(value, f"{path}: outputs") for value in model.graph.output)
    pictures = _pictures(model, path, state)
    batch = pictures.shape[0] if len(pictures.shape) == 4 else 0
    return Network(model, _opset(model), pictures, outputs, metadata, batch=batch)


def read_between(path: Path, key: Network) -> tuple[Network, Network]:
    """Read the file for frames between key frames: the state is what it takes of the key frame's outputs.

    Return both networks, the state apart from their outputs. Raises InputError where they do not fit.
    """
    given = {output.name: output for output in key.outputs}
    between = read_network(path, given)
    taken = [value.name for value in between.model.graph.input if value.name in given]
    if not taken:
        names = ", ".join(given)
        raise InputError(
            f"{path}: inputs: none takes what a key frame gives ({names}): it is no graph for frames between"
        )
    state = tuple(given[name] for name in taken)
    motion = next((output for output in between.outputs if output.name == MOTION), None)
    outputs = tuple(output for output in between.outputs if output.name != MOTION)
    return without(key, taken), replace(between, outputs=outputs, state=state, motion=motion)


def without(network: Network, names: Collection[str]) -> Network:
    """Return the network of key frames with these outputs taken for its state."""
    state = tuple(output for output in network.outputs if output.name in names)
    rest = tuple(output for output in network.outputs if output.name not in names)
    return replace(network, outputs=rest, state=state)


def fix_size(network: Network, size: tuple[int, int]) -> Network:
    """Return the network for one picture of ``size`` (width, height), the shapes of its outputs inferred.

    The graph of a file made for more pictures stays as it is; that one of them leaves is only said.
    """
    shape = network.shaped(size, 1)
    if network.input.shape == shape and all(all(tensor.shape) for tensor in network.given):
        return network
    if network.ir:
        from engines.ir import read_ir

        return read_ir(network.ir, shape)
    own = network.batch or 1
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    shapes = _inputs(replace(network, input=replace(network.input, shape=shape)), own)
    for value in model.graph.input:
        _set_shape(value, shapes[value.name])
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = shape_inference.infer_shapes(model, data_prop=True)
    made = {value.name: _axes(value) for value in inferred.graph.output}
    for value in inferred.graph.output:
        axes = value.type.tensor_type.shape.dim
        if any(axis.HasField("dim_value") and not axis.dim_value for axis in axes):
            seen = ",".join(str(axis.dim_value) if axis.HasField("dim_value") else "?" for axis in axes)
            raise InputError(f"output: {value.name} ({seen}): nothing can be in it, export the model again")

    def fixed(tensors: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
        """What inference leaves open the file may know; those that are inputs are known already."""
        found = (_merged(made.get(tensor.name, ()), tensor.shape) for tensor in tensors)
        return tuple(
            replace(tensor, shape=(1, *axes[1:]) if axes[:1] == (own,) else axes)
            for tensor, axes in zip(tensors, found, strict=True)
        )

    state, outputs = fixed(network.state), fixed(network.outputs)
    return replace(
        network, model=model, input=replace(network.input, shape=shape), outputs=outputs, state=state
    )


def free_batch(network: Network, batch: int) -> Any:
    """Return a copy of the model that takes so many pictures; of the file's own number it stays as it is.

    What a graph may do with its batch beside reshapes is not looked for: the result is to be proved on
    pictures (`engines.parity`). Raises WorkError where it is seen that the graph does not follow.
    """
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    del model.graph.value_info[:]
    own = network.batch or 1
    if network.order == "chw" or batch == own:
        return model
    given, wanted = _inputs(network, own), _inputs(network, batch)
    for value in model.graph.input:
        _set_shape(value, wanted[value.name])
    for name, axes in set_batch(model, given, wanted).items():
        if own > 1 and axes[:1] == (own,):
            raise WorkError(
                f"batch: {batch}, the file is made for {own} and its output {name} keeps them: {own} is right"
            )
    return model


def _inputs(network: Network, batch: int) -> dict[str, tuple[int, ...]]:
    """The shapes of all inputs of the graph, for so many pictures."""
    known = {tensor.name: tensor.shape for tensor in (*network.state, network.input)} | {SIZES: (1, 2)}
    names = [value.name for value in network.model.graph.input]
    if network.order == "chw":
        return {name: known[name] for name in names}
    return {name: (batch, *known[name][1:]) for name in names}


def _merged(made: tuple[int, ...], told: tuple[int, ...]) -> tuple[int, ...]:
    """A shape of two that may both leave axes open; the first is surer."""
    if len(made) != len(told):
        return made or told
    return tuple(one or other for one, other in zip(made, told, strict=True))


def _pictures(model: Any, path: Path, state: Collection[str]) -> TensorSpec:
    """The input that takes pictures; beside it only `SIZES` and a state may be there."""
    inputs = [value for value in model.graph.input if value.name != SIZES and value.name not in state]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in model.graph.input) or "none"
        raise InputError(f"{path}: inputs: {names}, a model that takes one tensor of pictures is needed")
    return _spec(inputs[0], f"{path}: inputs")


def _check_operators(model: Any, path: Path) -> None:
    """Operators of a domain that no backend knows are named at once; backends say it less clearly."""
    own = {function.domain for function in model.functions}
    foreign = {
        f"{node.domain}.{node.op_type}"
        for node in model.graph.node
        if node.domain not in _DOMAINS and node.domain not in own
    }
    if foreign:
        raise InputError(
            f"{path}: operators: {', '.join(sorted(foreign))}, no backend knows them; export without"
        )


def _fix_weights(model: Any) -> None:
    """Old files list their weights among the inputs, as if they were to be given anew for each picture."""
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    del model.graph.input[:]
    model.graph.input.extend(inputs)


def at_least(opset: int, model: Any, path: Path) -> Any:
    """Return a model of this opset or newer, converted where it is older; InputError where it does not."""
    seen = _opset(model)
    if seen >= opset:
        return model
    try:
        converted = version_converter.convert_version(model, opset)
        onnx.checker.check_model(converted)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{path}: opset: {seen}, {opset} or newer is needed and it does not convert ({reason}); export "
            "the model again"
        ) from error
    return converted


def _opset(model: Any) -> int:
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)


def _spec(value: Any, where: str) -> TensorSpec:
    """What is known of an input or output; InputError where it is no tensor of numbers."""
    kind = value.type.tensor_type.elem_type
    if kind in _NO_NUMBERS:
        what = value.type.WhichOneof("value") or "nothing"
        what = f"tensor of {TensorProto.DataType.Name(kind).lower()}" if what == "tensor_type" else what
        raise InputError(
            f"{where}: {value.name}: a {what.removesuffix('_type')}, a tensor of numbers is needed"
        )
    return TensorSpec(value.name, _axes(value), str(np.dtype(helper.tensor_dtype_to_np_dtype(kind))))


def _axes(value: Any) -> tuple[int, ...]:
    """A shape; what is open, however the file says it, is 0."""
    return tuple(max(axis.dim_value, 0) for axis in value.type.tensor_type.shape.dim)


def _set_shape(value: Any, shape: tuple[int | str, ...]) -> None:
    kind = value.type.tensor_type
    value.CopyFrom(helper.make_tensor_value_info(value.name, kind.elem_type, list(shape)))

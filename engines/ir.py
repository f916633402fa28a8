"""OpenVINO IR (.xml with .bin): read as a network, and joined with the graphs composed around it.

The head and tail of a composition are one ONNX graph with a hole where the network belongs: it gives the
network's input and takes its outputs. OpenVINO reads that graph and the IR, and the two are tied together.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from onnx import helper

from engines.backends.openvino_core import openvino, openvino_core
from engines.engine import TensorSpec
from engines.errors import InputError, WorkError
from engines.network import Network

__all__ = ["join", "read_ir"]

_OPSET = 13  # of the graph around the network


def read_ir(path: Path, shape: tuple[int, ...] = ()) -> Network:
    """Read an IR, its input in another shape where one is given. Raises InputError where it is damaged."""
    if not path.with_suffix(".bin").is_file():
        name = path.with_suffix(".bin").name
        raise InputError(f"{path}: weights: {name!r} is missing beside the file, copy it there")
    if not _is_ir(path):  # OpenVINO would try all formats that it knows, and print what they say
        raise InputError(f"{path}: no OpenVINO IR, an .xml file whose first element is <net> is right")
    try:
        model = openvino_core().read_model(str(path))
        if shape:
            model.reshape(list(shape))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(
            f"{path}: not a whole OpenVINO IR: {reason}; convert or download it again"
        ) from error
    if len(model.inputs) != 1 or not model.outputs:
        names = ", ".join(map(_name, model.inputs)) or "none"
        raise InputError(f"{path}: inputs: {names}, a model that takes one tensor of pictures is needed")
    (pictures,), outputs = map(_spec, model.inputs), tuple(map(_spec, model.outputs))
    face = helper.make_graph([], "ir", [_value(pictures)], [_value(output) for output in outputs])
    imports = [helper.make_opsetid("", _OPSET)]
    return Network(
        helper.make_model(face, opset_imports=imports, ir_version=8), _OPSET, pictures, outputs, {}, path
    )


def join(network: Network, around: bytes, prefix: str, batch: int) -> dict[str, bytes]:
    """Put the IR into the hole of an ONNX graph; returns the files of the whole model, by name.

    ``around`` has an output ``prefix + <input of the network>``, and an input ``prefix + <output>`` for each
    of the network's outputs. Raises WorkError where the network does not take batches.
    """
    core = openvino_core()
    outer, inner = core.read_model(around), core.read_model(str(network.ir))
    (pictures,) = inner.get_parameters()
    try:
        inner.reshape([batch, *network.input.shape[1:]])
    except RuntimeError as error:
        raise WorkError(f"openvino: {network.ir}: it does not take batches of {batch}") from error
    hole = prefix + network.input.name
    (taken,) = [result for result in outer.get_results() if hole in result.input_value(0).get_names()]
    results = [result for result in outer.get_results() if hole not in result.input_value(0).get_names()]
    _rewire(pictures, taken.input_value(0))
    given = dict(zip([prefix + output.name for output in network.outputs], inner.get_results(), strict=True))
    kept = []
    for parameter in outer.get_parameters():
        name = parameter.output(0).get_any_name()
        if name in given:
            _rewire(parameter, given[name].input_value(0))
        else:
            kept.append(parameter)
    whole = openvino.Model(results, kept, "composed")
    with tempfile.TemporaryDirectory() as folder:
        openvino.serialize(whole, str(Path(folder) / "model.xml"))
        return {file.name: file.read_bytes() for file in sorted(Path(folder).iterdir())}


def _rewire(old: Any, source: Any) -> None:
    for target in old.output(0).get_target_inputs():
        target.replace_source_output(source)


def _is_ir(path: Path) -> bool:
    """Whether the first element is that of an IR; nothing behind it is read."""
    try:
        with path.open("rb") as file:
            _, first = next(ElementTree.iterparse(file, ["start"]))
            return str(first.tag) == "net"
    except (ElementTree.ParseError, StopIteration):
        return False


def _name(port: Any) -> str:
    """A port's name, or where it has none that of the layer that gives it."""
    if port.names:
        return str(port.any_name)
    node = port.get_node()
    return str(
        (node.input_value(0).get_node() if node.get_type_name() == "Result" else node).get_friendly_name()
    )


def _spec(port: Any) -> TensorSpec:
    shape = tuple(axis.get_length() if axis.is_static else 0 for axis in port.get_partial_shape())
    return TensorSpec(_name(port), shape, str(np.dtype(port.get_element_type().to_dtype())))


def _value(tensor: TensorSpec) -> Any:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
    return helper.make_tensor_value_info(tensor.name, kind, [axis or None for axis in tensor.shape])

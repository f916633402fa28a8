"""Quantisation: an int8 twin of an ONNX model, for every backend: weights and activations between Q/DQ pairs.

Weights have a scale for each channel, activations one for each tensor, all symmetric, as TensorRT wants
them. What decides about accuracy stays in float: the last convolutions of the heads and all that comes after
them, and convolutions in groups (depthwise), whose channels differ too much for one scale: with them
YOLOX-nano falls from .338 AP to .109, without them it stays where it was.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from engines import metadata
from engines.errors import InputError, WorkError
from engines.files import check_place, write_whole
from engines.letterbox import place
from engines.locate import Located, locate
from engines.network import SIZES, Network, at_least, free_batch, read_network
from engines.pictures import Picture, read_pictures
from engines.resolve import resolve
from engines.spec import ModelSpec

__all__ = ["quantize", "unsigned"]

_OPSET = 13  # the first with scales for each channel
_PICTURES = 64


def quantize(model: str | Path, data: Path, save: Path, pictures: int = _PICTURES) -> Path:
    """Write an int8 twin of a model, calibrated on pictures of a folder or a video, that describes itself.

    The pictures are to be such as the model will see, and not those that it is measured on. Raises InputError
    where the model, the pictures or the place cannot be used, WorkError where ONNX Runtime does not run the
    model and where the file cannot be written.
    """
    located = locate(model)
    _check_save(save, located)
    network, spec = resolve(read_network(located.model), located)
    if network.ir:
        raise InputError(
            f"{located.model}: an OpenVINO IR is not quantised, the ONNX file it was made from is"
        )
    if any(kind.endswith("QuantizeLinear") for kind in network.operators):
        raise InputError(f"{located.model}: it is quantised already")
    if TensorProto.FLOAT16 in _kinds_of_weights(network.model.graph):
        raise InputError(f"{located.model}: weights: float16, int8 is made of the model in float32")
    seen = [_given(spec, network, image) for _, image in read_pictures(data, pictures)]
    try:
        twin = _calibrated(at_least(_OPSET, free_batch(network, 1), located.model), seen)
    except Exception as error:  # its exceptions have no common base but this
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise WorkError(f"{located.model}: int8: ONNX Runtime does not calibrate it: {reason}") from error
    metadata.write(twin, spec)
    try:
        write_whole(save, twin.SerializeToString())
    except OSError as error:
        raise WorkError(f"{save}: {error.strerror}, the quantised model is not written") from error
    return save


def _check_save(save: Path, located: Located) -> None:
    check_place(save, "save")
    if save.exists() and any(save.samefile(source) for source in located.sources):
        raise InputError(f"save: {save}: it is a file of the model itself, another one is right")


def _calibrated(model: Any, seen: list[dict[str, NDArray[Any]]]) -> Any:
    """The int8 twin of an onnx.ModelProto that has seen these inputs."""
    import onnxruntime
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    onnxruntime.set_default_logger_severity(4)  # what goes wrong comes as an exception as well
    with tempfile.TemporaryDirectory() as folder:
        plain, ready, made = (str(Path(folder) / name) for name in ("plain.onnx", "ready.onnx", "made.onnx"))
        onnx.save(model, plain)
        quant_pre_process(plain, ready, skip_symbolic_shape=True)
        quantization.quantize_static(
            ready,
            made,
            _reader(seen),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=_kept_float(onnx.load(ready).graph),
            per_channel=True,
            activation_type=quantization.QuantType.QInt8,
            weight_type=quantization.QuantType.QInt8,
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "OpTypesToExcludeOutputQuantization": ["Conv"],
            },
        )
        return onnx.load(made)


def unsigned(model: Any) -> Any:
    """Return a copy whose activations are uint8 around 128 instead of int8 around 0: the same numbers.

    OpenVINO 2026.4 on a CPU computes nonsense from signed ones (YOLOv8n: .008 AP for .333).
    """
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    stored = {tensor.name: tensor for tensor in twin.graph.initializer}
    zeros = set()
    quantised = {node.output[0] for node in twin.graph.node if node.op_type == "QuantizeLinear"}
    for node in twin.graph.node:
        pair = node.op_type == "QuantizeLinear" or (
            node.op_type == "DequantizeLinear" and node.input[0] in quantised
        )
        if pair and len(node.input) > 2 and node.input[2] in stored:
            zeros.add(node.input[2])
    for name in zeros:
        zero = numpy_helper.to_array(stored[name])
        if zero.dtype == np.int8:
            moved = (zero.astype(np.int16) + 128).astype(np.uint8)
            stored[name].CopyFrom(numpy_helper.from_array(moved, name))
    del twin.graph.value_info[:]
    return twin


def _reader(seen: list[dict[str, NDArray[Any]]]) -> Any:
    """What ONNX Runtime asks for the next input."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left: Iterator[dict[str, Any]] = iter(seen)

        def get_next(self) -> dict[str, Any] | None:
            return next(self._left, None)

    return Reader()


def _given(spec: ModelSpec, network: Network, image: Picture) -> dict[str, NDArray[Any]]:
    """What composition would give the network of a picture, by the names of its inputs."""
    given = {network.input.name: _pixels(spec, network, image).astype(network.input.dtype)}
    if any(value.name == SIZES for value in network.model.graph.input):
        given[SIZES] = np.array([spec.size], np.int64)
    return given


def _pixels(spec: ModelSpec, network: Network, image: Picture) -> NDArray[np.float32]:
    import cv2

    at = place((image.shape[1], image.shape[0]), spec.size, spec.resize)
    laid = np.full((spec.size[1], spec.size[0], 3), spec.pad, np.uint8)
    (width, height), left, top = at.size, at.left, at.top
    cv2.resize(image, (width, height), dst=laid[top : top + height, left : left + width])
    ordered = laid[..., ::-1] if spec.colour == "bgr" else laid
    mean, std = np.array(spec.mean, np.float32), np.array(spec.std, np.float32)
    values = ((ordered * np.float32(spec.scale) - mean) / std).astype(np.float32)
    if network.order == "nhwc":
        return np.ascontiguousarray(values[None])
    planes = np.ascontiguousarray(values.transpose(2, 0, 1))
    return planes if network.order == "chw" else planes[None]


def _kinds_of_weights(graph: Any) -> set[int]:
    """Of the convolutions."""
    used = {node.input[1] for node in graph.node if node.op_type == "Conv"}
    return {tensor.data_type for tensor in graph.initializer if tensor.name in used}


def _kept_float(graph: Any) -> list[str]:
    """Names of the nodes after which no convolution follows, and of convolutions in groups."""
    takers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            takers.setdefault(name, []).append(node)
    before: set[str] = set()  # nodes that a convolution follows
    for node in reversed(graph.node):  # in order: takers come after
        after = [taker for name in node.output for taker in takers.get(name, [])]
        if any(taker.op_type == "Conv" or taker.name in before for taker in after):
            before.add(node.name)
    return [node.name for node in graph.node if node.name not in before or _grouped(node)]


def _grouped(node: Any) -> bool:
    return node.op_type == "Conv" and any(part.name == "group" and part.i > 1 for part in node.attribute)

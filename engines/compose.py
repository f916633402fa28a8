"""Composition: surgery on an ONNX graph that makes it take pixels and give detections.

`uint8 NHWC RGB -> cast, normalise, transpose -> network -> decode -> select`. What leaves is the same for
every family: boxes (B,K,4) float32 xyxy in input pixels, scores (B,K) float32 best first, classes (B,K)
int32, and for their tasks keypoints (B,K,J,3), or coefficients (B,K,P) with prototypes (B,P,h,w), float32;
or, of a network that compares pictures, embeddings (B,D) of length one. A model for video has two such
graphs: that of key frames gives its state as well, that of frames between takes it and may give motion (B,).
Each row of each tensor of a state is an output or an input of its own, state/NAME/ROW (1,...), so that the
memory of every stream's state is bound to it as it lies.
All shapes are fixed. Suppression of overlaps is not in the graph, see `engines.suppress`.

On one Zen 5 core with OpenVINO all of it adds to the bare network 1 to 3 % in fp32 (YOLOv8n 320) and 4 to 6
% in bf16 or where the first layers depend on how pixels lie (YOLOX-nano 416): `python -m benchmarks
engines` measures it.
"""

from __future__ import annotations

from copy import deepcopy as copy
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from engines.backends import INPUT, OUTPUTS, STATE
from engines.errors import InputError, WorkError
from engines.layouts import Candidates, Embedding, Raw, decoder
from engines.network import SIZES, Network, free_batch
from engines.nodes import Nodes, reads
from engines.options import Options
from engines.spec import ModelSpec
from engines.splits import split_tables

__all__ = ["compose"]

PREFIX = "network/"


def compose(network: Network, spec: ModelSpec, options: Options) -> dict[str, bytes]:
    """Return the files, by name, of a model that takes `INPUT` (B, H, W, 3) uint8 RGB and gives detections.

    That is one model.onnx, or of an OpenVINO IR a model.xml and a model.bin. Of `options` it reads batch,
    candidates and labels: the best places of each picture leave the graph, each with its best class ("best"),
    or as pairs of place and class ("all"). Raises WorkError where the network takes no batches.
    """
    if network.order == "chw" and options.batch > 1:
        raise WorkError(f"{spec.name}: it takes one picture at a time, not {options.batch}")
    inner = free_batch(network, options.batch)
    split_tables(inner, network.opset)
    inner = onnx.compose.add_prefix(inner, PREFIX)
    nodes = Nodes(helper.make_graph([], "composed", [], []), network.opset, options.batch, options.candidates)
    nodes.graph.initializer.extend(inner.graph.initializer)
    _take_pixels(nodes, spec, network)
    takes_state = _take_state(nodes, network, {value.name for value in inner.graph.input})
    if any(value.name == PREFIX + SIZES for value in inner.graph.input):
        nodes.name(nodes.constant([spec.size] * options.batch, "int64"), PREFIX + SIZES)
    nodes.graph.node.extend(inner.graph.node)
    raw = {
        tensor.name: Raw(_float(nodes, PREFIX + tensor.name, tensor.dtype), tensor.shape, tensor.dtype)
        for tensor in network.outputs
    }
    found = decoder(spec.layout)(nodes, spec, raw)
    if not (found.width if isinstance(found, Embedding) else found.count * found.classes):
        outputs = ", ".join(map(str, network.outputs))
        raise InputError(
            f"{spec.name}: outputs: {outputs}: not told how much leaves the network as {spec.layout}, export "
            "it with fixed shapes"
        )
    if isinstance(found, Embedding):
        _give(nodes, {"embeddings": found.tensor}, {"embeddings": [options.batch, found.width]})
    else:
        _select(nodes, found, options)
    if network.motion:
        motion = _float(nodes, PREFIX + network.motion.name, network.motion.dtype)
        _give(nodes, {"motion": nodes.reshape(motion, -1)}, {"motion": [options.batch]})
    if not takes_state:
        _give_state(nodes, network)
    if not network.ir:
        _prune(nodes.graph)
    else:
        nodes.graph.input.extend(inner.graph.output)
        nodes.graph.output.extend(inner.graph.input)
    composed = helper.make_model(nodes.graph, opset_imports=inner.opset_import, ir_version=inner.ir_version)
    content = composed.SerializeToString()
    if network.ir:
        from engines.ir import join

        return join(network, content, PREFIX, options.batch)
    return {"model.onnx": content}


def _take_pixels(nodes: Nodes, spec: ModelSpec, network: Network) -> None:
    """From (B, H, W, 3) uint8 RGB to the network's input, in its order of axes and channels and its units."""
    width, height = spec.size
    nodes.graph.input.append(
        helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [nodes.batch, height, width, 3])
    )
    pixels = nodes.cast(INPUT, "float32")
    last = network.order == "nhwc"
    if not last:
        pixels = nodes.transpose(pixels, 0, 3, 1, 2)
    if spec.colour == "bgr":  # of whole planes this takes OpenVINO half the time of a product
        pixels = nodes.op("Gather", pixels, nodes.constant([2, 1, 0], "int64"), axis=3 if last else 1)
    std = np.array(spec.std, np.float32)
    gain, offset = spec.scale / std, -np.array(spec.mean, np.float32) / std
    shape = (1, 1, 1, 3) if last else (1, 3, 1, 1)
    if (gain != 1).any():
        pixels = nodes.op("Mul", pixels, nodes.constant(gain.reshape(shape)))
    if offset.any():
        pixels = nodes.op("Add", pixels, nodes.constant(offset.reshape(shape)))
    if network.order == "chw":
        pixels = nodes.reshape(pixels, 3, height, width)
    nodes.name(nodes.cast(pixels, network.input.dtype), PREFIX + network.input.name)


def _take_state(nodes: Nodes, network: Network, inputs: set[str]) -> bool:
    """Join the rows of every tensor of the state; False where the network takes none."""
    taken = [tensor for tensor in network.state if PREFIX + tensor.name in inputs]
    for tensor in taken:
        rows = [f"{STATE}{tensor.name}/{row}" for row in range(nodes.batch)]
        nodes.graph.input.extend(
            helper.make_tensor_value_info(row, TensorProto.FLOAT, [1, *tensor.shape[1:]]) for row in rows
        )
        joined = nodes.op("Concat", *rows, axis=0) if len(rows) > 1 else rows[0]
        joined = joined if tensor.dtype == "float32" else nodes.cast(joined, tensor.dtype)
        nodes.name(joined, PREFIX + tensor.name)
    return bool(taken)


def _give_state(nodes: Nodes, network: Network) -> None:
    """Part every tensor of the state into its rows."""
    for tensor in network.state:
        whole = _float(nodes, PREFIX + tensor.name, tensor.dtype)
        for row in range(nodes.batch):
            part = nodes.slice(whole, 0, row, row + 1) if nodes.batch > 1 else whole
            name = f"{STATE}{tensor.name}/{row}"
            nodes.name(part, name)
            shape = [1, *tensor.shape[1:]]
            nodes.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))


def _prune(graph: Any) -> None:
    """Remove what no output needs: what only a state was made of would keep compilers from joining nodes."""
    wanted = {value.name for value in graph.output}
    needed = []
    for node in reversed(graph.node):
        if not wanted.isdisjoint(node.output):
            needed.append(node)
            wanted.update(reads(node))
    if len(needed) == len(graph.node):
        return
    stored = [copy(tensor) for tensor in graph.initializer if tensor.name in wanted]
    kept = [copy(node) for node in reversed(needed)]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(stored)


def _float(nodes: Nodes, tensor: str, dtype: str) -> str:
    return tensor if dtype == "float32" else nodes.cast(tensor, "float32")


def _select(nodes: Nodes, found: Candidates, options: Options) -> None:
    """Rank places, decode the best, and make them the outputs of the graph."""
    if options.labels == "best" or found.labelled:
        count = min(options.candidates, found.count)
        scores, index = _ranked(nodes, found.best, count)
        outputs = found.pick(index)
        if not found.labelled:
            outputs["classes"] = nodes.best_column(outputs.pop("probabilities"), found.classes)
    else:
        count = min(options.candidates, found.count * found.classes)
        scores, pairs = _ranked(nodes, nodes.reshape(found.every(), 0, -1), count)
        width = nodes.constant(found.classes, "int64")
        index = nodes.op("Div", pairs, width)
        outputs = found.pick(index)
        del outputs["probabilities"]
        outputs["classes"] = nodes.op("Mod", pairs, width)
    outputs |= {"scores": scores, "classes": nodes.cast(outputs["classes"], "int32")}
    if found.prototypes:
        outputs["prototypes"] = found.prototypes
    shapes: dict[str, list[int | None]] = {
        "boxes": [nodes.batch, count, 4],
        "scores": [nodes.batch, count],
        "classes": [nodes.batch, count],
        "keypoints": [nodes.batch, count, None, 3],
        "coefficients": [nodes.batch, count, None],
        "prototypes": [nodes.batch, None, None, None],
    }
    _give(nodes, outputs, shapes)


def _ranked(nodes: Nodes, scores: str, count: int) -> tuple[str, str]:
    """The best scores (B, K) and their places; what is no finite number comes last, and leaves as it is."""
    _, places = nodes.ops("TopK", 2, nodes.finite(scores, -1), nodes.constant([count], "int64"))
    return nodes.entries(scores, places), places


def _give(nodes: Nodes, outputs: dict[str, str], shapes: dict[str, list[int | None]]) -> None:
    """Make tensors the outputs of the graph, in the order of `OUTPUTS`."""
    for name in [name for name in OUTPUTS if name in outputs]:
        kind = TensorProto.INT32 if name == "classes" else TensorProto.FLOAT
        nodes.name(outputs[name], name)
        nodes.graph.output.append(helper.make_tensor_value_info(name, kind, shapes[name]))

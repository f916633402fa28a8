"""Composition: surgery on an ONNX graph that makes it take pixels and give detections.

`uint8 NHWC RGB -> cast, normalise, transpose -> network -> decode -> select`. What leaves is the same for
every family: boxes (B,K,4) float32 xyxy in input pixels, scores (B,K) float32 best first, classes (B,K)
int32, and for their tasks keypoints (B,K,J,3), or coefficients (B,K,P) with prototypes (B,P,h,w), float32.
All shapes are fixed. Suppression of overlaps is not in the graph, see `engines.suppress`.

On one Zen 5 core with OpenVINO, 300 candidates and all the rest of it cost 0.5 ms on top of YOLOv8n 320
(22.3 ms fp32, 12.5 bf16) and 0.7 to 1.0 on top of YOLOX-nano 416 (16.8, 11.4); 1000 candidates 0.7 ms more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from engines.backends import INPUT, OUTPUTS
from engines.layouts import Candidates, Raw, decoder
from engines.network import Network, free_batch
from engines.nodes import Nodes
from engines.options import Options
from engines.spec import ModelSpec

__all__ = ["compose"]

PREFIX = "network/"


def compose(network: Network, spec: ModelSpec, options: Options) -> Any:
    """Return a new model that takes `INPUT` (B, H, W, 3) uint8 RGB and gives detections.

    Of `options` it reads batch, candidates and labels: the best places of each picture leave the graph, each
    with its best class ("best"), or as pairs of place and class ("all").
    """
    inner = onnx.compose.add_prefix(free_batch(network), PREFIX)
    nodes = Nodes(helper.make_graph([], "composed", [], []), network.opset)
    nodes.graph.initializer.extend(inner.graph.initializer)
    _take_pixels(nodes, spec, options.batch, PREFIX + network.input.name, network.input.dtype)
    nodes.graph.node.extend(inner.graph.node)
    raw = {
        tensor.name: Raw(_float(nodes, PREFIX + tensor.name, tensor.dtype), tensor.shape)
        for tensor in network.outputs
    }
    _select(nodes, decoder(spec.layout)(nodes, spec, raw), options)
    composed = helper.make_model(nodes.graph, opset_imports=inner.opset_import, ir_version=inner.ir_version)
    composed.functions.extend(inner.functions)
    return composed


def _take_pixels(nodes: Nodes, spec: ModelSpec, batch: int, name: str, dtype: str) -> None:
    """From (B, H, W, 3) uint8 RGB to the network's input ``name``: (B, 3, H, W), its order and units."""
    width, height = spec.size
    nodes.graph.input.append(
        helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [batch, height, width, 3])
    )
    pixels = nodes.transpose(nodes.cast(INPUT, "float32"), 0, 3, 1, 2)
    if spec.colour == "bgr":
        pixels = nodes.op("Gather", pixels, nodes.constant([2, 1, 0], "int64"), axis=1)
    std = np.array(spec.std, np.float32)
    gain, offset = spec.scale / std, -np.array(spec.mean, np.float32) / std
    if (gain != 1).any():
        pixels = nodes.op("Mul", pixels, nodes.constant(gain.reshape(1, 3, 1, 1)))
    if offset.any():
        pixels = nodes.op("Add", pixels, nodes.constant(offset.reshape(1, 3, 1, 1)))
    nodes.graph.node.append(
        helper.make_node("Cast", [pixels], [name], to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    )


def _float(nodes: Nodes, tensor: str, dtype: str) -> str:
    return tensor if dtype == "float32" else nodes.cast(tensor, "float32")


def _select(nodes: Nodes, found: Candidates, options: Options) -> None:
    """Rank places, decode the best, and make them the outputs of the graph."""
    if options.labels == "best":
        count = min(options.candidates, found.count)
        scores, index = nodes.ops("TopK", 2, found.best, nodes.constant([count], "int64"))
        outputs = found.pick(index)
        classes = nodes.op("ArgMax", outputs.pop("probabilities"), axis=2, keepdims=0)
    else:
        count = min(options.candidates, found.count * found.classes)
        flat = nodes.reshape(found.every(), 0, -1)
        scores, pairs = nodes.ops("TopK", 2, flat, nodes.constant([count], "int64"))
        width = nodes.constant(found.classes, "int64")
        index, classes = nodes.op("Div", pairs, width), nodes.op("Mod", pairs, width)
        outputs = found.pick(index)
        del outputs["probabilities"]
    outputs |= {"scores": scores, "classes": nodes.cast(classes, "int32")}
    shapes: dict[str, list[int | str | None]] = {
        "boxes": [options.batch, count, 4],
        "scores": [options.batch, count],
        "classes": [options.batch, count],
        "keypoints": [options.batch, count, None, 3],
        "coefficients": [options.batch, count, None],
        "prototypes": [options.batch, None, None, None],
    }
    if found.prototypes:
        outputs["prototypes"] = found.prototypes
    for name in [name for name in OUTPUTS if name in outputs]:
        kind = TensorProto.INT32 if name == "classes" else TensorProto.FLOAT
        nodes.graph.node.append(helper.make_node("Identity", [outputs[name]], [name]))
        nodes.graph.output.append(helper.make_tensor_value_info(name, kind, shapes[name]))

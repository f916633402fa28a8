"""Splits: slices that part a tensor without a gap, as one operator.

OpenVINO 2026.4 loses the slices in front of a GatherElements, as YOLO26's exports of masks and keypoints have
them, and does not compile; of a Split it loses nothing.
"""

from __future__ import annotations

from copy import deepcopy as copy
from itertools import pairwise
from typing import Any

import numpy as np
from onnx import helper, numpy_helper, shape_inference

from engines.graph_batch import constants

__all__ = ["split_tables"]

_NEWEST = 13  # opset from which a Split takes its lengths as an input


def split_tables(model: Any, opset: int) -> None:
    """Make one Split, in place, of slices that gathers read, where they part a whole tensor."""
    graph = model.graph
    tables = {node.input[0] for node in graph.node if node.op_type == "GatherElements"}
    parted = {node.input[0] for node in graph.node if node.op_type == "Slice" and node.output[0] in tables}
    if not parted or opset < _NEWEST:
        return
    known = constants(graph)
    values = {value.name: value for value in shape_inference.infer_shapes(model).graph.value_info}
    made: dict[int, Any] = {}  # by the number of the slice whose place it takes
    gone: set[int] = set()
    for source in parted & set(values):
        slices = {
            n: one for n, one in enumerate(graph.node) if one.op_type == "Slice" and one.input[0] == source
        }
        shape = [axis.dim_value for axis in values[source].type.tensor_type.shape.dim]
        bounds = {number: _bounds(node, known, shape) for number, node in slices.items()}
        order = sorted(bounds, key=lambda number: bounds[number])
        axes = {bounds[number][2] for number in order}
        if len(axes) != 1 or min(axes) < 0 or not _whole([bounds[number] for number in order], shape):
            continue
        name = f"split/{source}"
        lengths = [bounds[number][1] - bounds[number][0] for number in order]
        graph.initializer.append(numpy_helper.from_array(np.array(lengths, np.int64), name))
        outputs = [slices[number].output[0] for number in order]
        made[min(slices)] = helper.make_node("Split", [source, name], outputs, name=name, axis=min(axes))
        gone |= set(slices)
    nodes = [
        made.get(number, node)
        for number, node in enumerate(graph.node)
        if number in made or number not in gone
    ]
    kept = [copy(node) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)


def _bounds(node: Any, known: dict[str, tuple[int, ...]], shape: list[int]) -> tuple[int, int, int]:
    """Start, stop and axis of a slice of steps of one, an axis of -1 for any other slice."""
    told = [known.get(name, ()) for name in node.input[1:]]
    if [len(one) for one in told] not in ([1, 1, 1], [1, 1, 1, 1]) or told[3:] not in ([], [(1,)]):
        return 0, 0, -1
    (start,), (stop,), (axis,) = told[:3]
    return start, min(stop, shape[axis]), axis % len(shape)


def _whole(parts: list[tuple[int, int, int]], shape: list[int]) -> bool:
    """Whether one begins where the other ends, from the first to the last of the axis."""
    joined = all(before[1] == after[0] for before, after in pairwise(parts))
    return joined and parts[0][0] == 0 and parts[-1][1] == shape[parts[0][2]] > 0

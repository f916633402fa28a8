"""Open rows: outputs that hold as many rows as they like get room, so that always as many can be chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engines.layouts import Raw
from engines.nodes import Nodes

__all__ = ["with_room"]

_AXES = {  # layout -> the axis of its rows
    "counted": 1,
    "dense": 1,
    "detectionoutput": 2,
    "detr": 1,
    "mmdet": 1,
    "rf-detr": 1,
    "rtdetr": 1,
    "rtmo": 1,
    "ultralytics-end2end": 1,
}
_NOTHING = -1e4  # below all scores, and a logit of probability 0


def with_room(nodes: Nodes, layout: str, raw: dict[str, Raw]) -> dict[str, Raw]:
    """Return the outputs of a network, behind rows of open number `Nodes.room` more that mean nothing.

    They are that many together where their number must be known: by a count, and by masks of one plane each.
    """
    axis = _AXES.get(layout, 0)
    opened = {
        name: output
        for name, output in raw.items()
        if axis
        and output.shape[axis : axis + 1] == (0,)
        and all(output.shape[axis + 1 :])
        and not name.startswith("num_")
    }
    exact = layout == "counted" or (axis == 1 and any(len(one.shape) > 3 for one in opened.values()))
    return raw | {name: _roomy(nodes, output, axis, exact) for name, output in opened.items()}


def _roomy(nodes: Nodes, output: Raw, axis: int, exact: bool) -> Raw:
    """Not by Pad: in OpenVINO 2026.4 one of no rows ends the process."""
    shape = (*output.shape[:axis], nodes.room, *output.shape[axis + 1 :])
    lead = nodes.slice(nodes.op("Shape", output.tensor), 0, 0, 1)
    whole = nodes.op("Concat", lead, nodes.constant(shape[1:], "int64"), axis=0)
    room = nodes.op("Expand", nodes.constant(np.full([1] * len(shape), _NOTHING)), whole)
    tensor = nodes.op("Concat", output.tensor, room, axis=axis)
    return replace(output, tensor=nodes.slice(tensor, axis, 0, nodes.room) if exact else tensor, shape=shape)

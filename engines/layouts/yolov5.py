"""Outputs of YOLOv5's and YOLOv7's own exports: three anchors for each cell, with objectness.

(B, N, 5 + C + P): cx, cy, w, h in input pixels, objectness, C probabilities, and of segmenters P mask
coefficients, whose prototypes (B, P, h, w) are the second output. The score is objectness times probability.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines.facts import names_for
from engines.layouts import Candidates, Raw, cells
from engines.layouts.rows import fits
from engines.network import Network
from engines.nodes import Nodes
from engines.spec import ModelSpec

__all__ = ["decode", "recognise"]

_ANCHORS = 3
_STRIDES = ((8, 16, 32), (8, 16, 32, 64))


def recognise(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """By three rows for each cell of three or four grids."""
    shapes = [output.shape for output in network.outputs]
    counts = {_ANCHORS * cells(known["size"], strides) for strides in _STRIDES}
    if not shapes or len(shapes[0]) != 3 or shapes[0][1] not in counts:
        return None
    prototypes = shapes[1][1] if len(shapes) == 2 and len(shapes[1]) == 4 else 0
    task = "segment" if prototypes else "detect"
    classes = shapes[0][2] - 5 - prototypes
    if len(shapes) != (2 if prototypes else 1) or classes < 1 or not fits(known, task=task, classes=classes):
        return None
    return {"task": task, "classes": names_for(classes)}


def decode(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Corners from centres and sizes, of the rows picked."""
    output, *others = raw.values()
    _, count, width = output.shape
    classes = len(spec.classes)
    objectness = nodes.slice(output.tensor, 2, 4, 5)
    probabilities = nodes.slice(output.tensor, 2, 5, 5 + classes)
    best = nodes.op("Mul", nodes.largest(probabilities, 2), nodes.reshape(objectness, 0, -1))

    def pick(index: str) -> dict[str, str]:
        rows = nodes.rows(output.tensor, index, width)
        picked = {
            "boxes": nodes.corners(nodes.slice(rows, 2, 0, 2), nodes.slice(rows, 2, 2, 4)),
            "probabilities": nodes.slice(rows, 2, 5, 5 + classes),
        }
        if spec.task == "segment":
            picked["coefficients"] = nodes.slice(rows, 2, 5 + classes, width)
        return picked

    def every() -> str:
        return nodes.op("Mul", probabilities, objectness)

    prototypes = others[0].tensor if spec.task == "segment" else ""
    return Candidates(count, classes, best, every, pick, prototypes)

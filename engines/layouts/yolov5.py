"""Outputs of YOLOv5's and YOLOv7's own exports: three anchors for each cell, with objectness.

(B, N, 5 + C + P): cx, cy, w, h in input pixels, objectness, C probabilities, and of segmenters P mask
coefficients, whose prototypes (B, P, h, w) are the second output. The score is objectness times probability.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines.facts import names_for
from engines.layouts import Candidates, Raw, cells
from engines.layouts.rows import centred, fits, objects
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
    prototypes = others[0].tensor if spec.task == "segment" else ""
    return objects(nodes, output, len(spec.classes), lambda rows, _: centred(nodes, rows), prototypes)

"""Outputs of Ultralytics' v5u, v8, 11 and 12 exports without embedded suppression.

(B, 4 + C + extras, N): cx, cy, w, h in input pixels, C probabilities, then the extras of the task: J
keypoints of 2 or 3 values (x, y pixels, visibility 0..1), or P mask coefficients, whose prototypes (B,P,h,w)
are the second output.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines.classes import COCO
from engines.facts import names_for
from engines.layouts import Candidates, Raw, cells
from engines.layouts.rows import centred, points
from engines.network import Network
from engines.nodes import Nodes
from engines.spec import ModelSpec

__all__ = ["decode", "recognise"]


def recognise(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """Theirs are channels first, one column per cell of its grids.

    The channels of a file without metadata could be classes, keypoints or both: only COCO's 80 classes are
    known by their number, and only three grids; for others a card must say the classes and the task.
    """
    shapes = [output.shape for output in network.outputs]
    if not shapes or len(shapes[0]) != 3 or not shapes[0][2]:
        return None
    if not {"task", "classes"} <= set(known) and shapes[0][2] != cells(known["size"]):
        return None
    height = shapes[0][1]
    prototypes = shapes[1][1] if len(shapes) == 2 and len(shapes[1]) == 4 else 0
    task = known.get("task", "segment" if prototypes else "detect")
    if len(shapes) != (2 if task == "segment" else 1) or (task == "segment") != bool(prototypes):
        return None
    classes = len(known.get("classes", COCO))
    extras = height - 4 - classes
    joints = len(known.get("keypoints", ()))
    told = {"detect": (0,), "segment": (prototypes,), "pose": (2 * joints, 3 * joints)}
    if extras not in told.get(task, ()):
        return None
    return {"task": task, "classes": names_for(classes)}


def decode(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Corners from centres and sizes, of the columns picked."""
    output, *others = raw.values()
    _, height, count = output.shape
    classes = len(spec.classes)
    scores = nodes.slice(output.tensor, 1, 4, 4 + classes)

    def pick(index: str) -> dict[str, str]:
        rows = nodes.columns(output.tensor, index, height)
        extras = nodes.slice(rows, 2, 4 + classes, height)
        picked = {
            "boxes": centred(nodes, rows),
            "probabilities": nodes.slice(rows, 2, 4, 4 + classes),
        }
        if spec.task == "pose":
            picked["keypoints"] = points(nodes, extras, len(spec.keypoints), height - 4 - classes)
        if spec.task == "segment":
            picked["coefficients"] = extras
        return picked

    def every() -> str:
        return nodes.transpose(scores, 0, 2, 1)

    prototypes = others[0].tensor if spec.task == "segment" else ""
    return Candidates(count, classes, nodes.largest(scores, 1), every, pick, prototypes)

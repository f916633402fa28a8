"""Outputs of transformers that answer a fixed number of queries: boxes cxcywh in shares of the input.

Hugging Face's exports leave logits (B, Q, C) and pred_boxes, RF-DETR labels (B, Q, C) and dets and, where it
segments, masks (B, Q, h, w), Ultralytics' RT-DETR boxes, score and class in one row. Each class has its own
sigmoid, and no two queries answer for one object: nothing is to be suppressed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from engines.facts import names_for
from engines.layouts import Candidates, Raw
from engines.layouts.rows import fits, labelled, scored
from engines.network import Network
from engines.nodes import Nodes
from engines.spec import ModelSpec

__all__ = [
    "decode",
    "decode_rfdetr",
    "decode_ultralytics",
    "recognise",
    "recognise_rfdetr",
    "recognise_ultralytics",
]

_SOFTMAX = 92  # logits of the first DETR: COCO's 91 ids and "nothing", which exclude each other
_SPARSE = 91  # logits of RF-DETR for COCO's ids, the first of which is no object


def recognise(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """RT-DETR and D-FINE as Hugging Face exports them, by the names of the outputs."""
    shapes = {output.name: output.shape for output in network.outputs}
    if not {"logits", "pred_boxes"} <= set(shapes) or len(shapes["logits"]) != 3:
        return None
    classes = shapes["logits"][2]
    if (
        shapes["pred_boxes"][2:] != (4,)
        or classes == _SOFTMAX
        or not fits(known, task="detect", classes=classes)
    ):
        return None
    return {"task": "detect", "classes": names_for(classes), "resize": "stretch", "iou": 1.0}


def decode(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """A sigmoid for each class."""
    _, count, classes = raw["logits"].shape
    scores = nodes.op("Sigmoid", raw["logits"].tensor)

    def answers(index: str) -> dict[str, str]:
        return {"boxes": _pixels(nodes, nodes.rows(raw["pred_boxes"].tensor, index, 4), spec)}

    return scored(nodes, scores, (count, classes), answers)


def recognise_rfdetr(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """RF-DETR's exports, by the names of the outputs."""
    shapes = {output.name: output.shape for output in network.outputs}
    task = "segment" if "masks" in shapes else "detect"
    if set(shapes) - {"masks"} != {"dets", "labels"} or len(shapes["labels"]) != 3:
        return None
    columns = shapes["labels"][2]
    classes = columns - (columns == _SPARSE)
    if shapes["dets"][2:] != (4,) or not fits(known, task=task, classes=classes):
        return None
    return {
        "task": task,
        "classes": names_for(classes),
        "resize": "stretch",
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "iou": 1.0,
    }


def decode_rfdetr(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """A query's mask is a prototype of its own, picked by a coefficient of one."""
    _, count, columns = raw["labels"].shape
    first = columns - len(spec.classes)
    scores = nodes.op("Sigmoid", nodes.slice(raw["labels"].tensor, 2, first, columns))

    def answers(index: str) -> dict[str, str]:
        found = {"boxes": _pixels(nodes, nodes.rows(raw["dets"].tensor, index, 4), spec)}
        if spec.task == "segment":
            found["coefficients"] = nodes.look_up(np.eye(count, dtype=np.float32), index)
        return found

    prototypes = raw["masks"].tensor if spec.task == "segment" else ""
    return scored(nodes, scores, (count, columns - first), answers, prototypes)


def recognise_ultralytics(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """(B, 300, 6): a box, its score, its class. Only metadata tells it from corners in pixels."""
    shapes = [output.shape for output in network.outputs]
    if len(shapes) != 1 or shapes[0][1:] != (300, 6) or known.get("layout") != "ultralytics-rtdetr":
        return None
    return {"task": "detect", "resize": "stretch", "iou": 1.0} if fits(known, task="detect") else None


def decode_ultralytics(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Score in column 4, class in column 5."""
    (output,) = raw.values()
    scores, classes = (
        nodes.reshape(nodes.slice(output.tensor, 2, column, column + 1), 0, -1) for column in (4, 5)
    )

    def answers(index: str) -> dict[str, str]:
        rows = nodes.rows(output.tensor, index, 6)
        return {"boxes": _pixels(nodes, nodes.slice(rows, 2, 0, 4), spec)}

    return labelled(nodes, scores, classes, (output.shape[1], len(spec.classes)), answers)


def _pixels(nodes: Nodes, shares: str, spec: ModelSpec) -> str:
    pixels = nodes.scaled(shares, *spec.size, *spec.size)
    return nodes.corners(nodes.slice(pixels, 2, 0, 2), nodes.slice(pixels, 2, 2, 4))

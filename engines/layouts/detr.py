"""Outputs of transformers that answer a fixed number of queries: boxes cxcywh in shares of the input.

Hugging Face's exports leave logits (B, Q, C) and pred_boxes, RF-DETR labels (B, Q, C) and dets and, where it
segments, masks (B, Q, h, w), Ultralytics' RT-DETR boxes, score and class in one row. Each class has its own
sigmoid; of the first DETR (arXiv 2005.12872), Table Transformer and YOLOS classes exclude each other, and the
last column is "no object". No two queries answer for one object: nothing is to be suppressed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from engines.facts import names_for
from engines.layouts import Candidates, Raw, UnsureError
from engines.layouts.evidence import sees_patches
from engines.layouts.rows import centred, closed, column, fits, labelled, ranks, scored, unused
from engines.network import Network
from engines.nodes import Nodes
from engines.spec import ModelSpec

__all__ = [
    "decode",
    "decode_rfdetr",
    "decode_softmax",
    "decode_ultralytics",
    "recognise",
    "recognise_rfdetr",
    "recognise_softmax",
    "recognise_ultralytics",
]

_SPARSE = 91  # logits for COCO's ids, the first of which is no object
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_QUERIES = {"logits", "pred_boxes"}
_EITHER = (
    "each logit may be a class of its own (detr), or the last of them be no object and classes exclude each "
    "other (detr-softmax, with the mean and deviation of ImageNet)"
)


def recognise(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """RT-DETR and D-FINE as Hugging Face exports them, by the names of the outputs.

    Both choose their queries among places of the picture and sample deformably, which the first DETR and
    YOLOS do not; a transformer as backbone is of others yet, whose pixels have other units.
    """
    classes = _columns(network)
    if not classes or not fits(known, task="detect", classes=classes):
        return None
    if "layout" not in known and (not {"TopK", "GridSample"} <= network.operators or sees_patches(network)):
        raise UnsureError(_EITHER)
    notes = unused(network, _QUERIES)
    return {"task": "detect", "classes": names_for(classes), "resize": "stretch", "iou": 1.0, "notes": notes}


def decode(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """A sigmoid for each class."""
    chances = Raw(nodes.op("Sigmoid", raw["logits"].tensor), raw["logits"].shape)
    return _answers(nodes, spec, chances, raw["pred_boxes"])


def recognise_softmax(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """DETR, Table Transformer and YOLOS as Hugging Face exports them; nothing but a card tells them."""
    columns = _columns(network) - 1
    classes = len(known.get("classes", range(columns - (columns == _SPARSE))))
    if (
        columns < 1
        or classes not in {columns, columns - (columns == _SPARSE)}
        or not fits(known, task="detect")
    ):
        return None
    if "layout" not in known:
        if {"TopK", "GridSample"} <= network.operators and not sees_patches(network):
            return None
        raise UnsureError(_EITHER)
    return {
        "task": "detect",
        "classes": names_for(classes),
        "resize": "stretch",
        "iou": 1.0,
        **_IMAGENET,
        "notes": unused(network, _QUERIES),
    }


def decode_softmax(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Probabilities over all classes and nothing, of which the last column is left away."""
    *places, columns = raw["logits"].shape
    first, last = columns - 1 - len(spec.classes), columns - 1
    chances = nodes.slice(nodes.op("Softmax", raw["logits"].tensor, axis=2), 2, first, last)
    return _answers(nodes, spec, Raw(chances, (*places, last - first)), raw["pred_boxes"])


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
    if task == "segment" and not ranks(network, masks=4):
        return None
    return {
        "task": task,
        "classes": names_for(classes),
        "resize": "stretch",
        **_IMAGENET,
        "iou": 1.0,
    }


def decode_rfdetr(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """A sigmoid for each class, of which the first column may be none."""
    *places, columns = raw["labels"].shape
    first = columns - len(spec.classes)
    chances = nodes.op("Sigmoid", nodes.slice(raw["labels"].tensor, 2, first, columns))
    return _answers(nodes, spec, Raw(chances, (*places, columns - first)), raw["dets"], raw.get("masks"))


def recognise_ultralytics(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """(B, 300, 6): a box, its score, its class. Only metadata tells it from corners in pixels."""
    shapes = [output.shape for output in network.outputs]
    if known.get("layout") != "ultralytics-rtdetr" or len(shapes) != 1 or len(shapes[0]) != 3:
        return None
    if shapes[0][2] not in (0, 6):
        return None
    return {"task": "detect", "resize": "stretch", "iou": 1.0} if fits(known, task="detect") else None


def decode_ultralytics(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Score in column 4, class in column 5."""
    (output,) = raw.values()
    table, count = closed(nodes, output, 6)
    scores, classes = (column(nodes, table, number) for number in (4, 5))

    def answers(index: str) -> dict[str, str]:
        rows = nodes.rows(table, index, 6)
        return {"boxes": _pixels(nodes, nodes.slice(rows, 2, 0, 4), spec)}

    return labelled(nodes, scores, classes, (count, len(spec.classes)), answers)


def _columns(network: Network) -> int:
    """How many logits a query has; 0 where the outputs are not those of queries."""
    shapes = {output.name: output.shape for output in network.outputs}
    fit = set(shapes) >= _QUERIES and len(shapes["logits"]) == 3 and shapes["pred_boxes"][2:] == (4,)
    return shapes["logits"][2] if fit else 0


def _answers(
    nodes: Nodes, spec: ModelSpec, chances: Raw, places: Raw, masks: Raw | None = None
) -> Candidates:
    """A score for each class (B, Q, C), a box (B, Q, 4) and, where there are masks, one (B, Q, h, w).

    A mask is a prototype of its own, picked by a coefficient of one: there must be as many.
    """
    classes = chances.shape[2]
    scores, count = closed(nodes, chances, classes, exact=masks is not None)
    boxes, _ = closed(nodes, places, 4)
    prototypes = closed(nodes, masks, *masks.shape[2:], exact=True)[0] if masks else ""

    def decode(index: str) -> dict[str, str]:
        found = {"boxes": _pixels(nodes, nodes.rows(boxes, index, 4), spec)}
        if masks:
            found["coefficients"] = nodes.look_up(np.eye(count, dtype=np.float32), index)
        return found

    return scored(nodes, scores, (count, classes), decode, prototypes)


def _pixels(nodes: Nodes, shares: str, spec: ModelSpec) -> str:
    return centred(nodes, nodes.scaled(shares, *spec.size, *spec.size))

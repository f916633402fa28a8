"""Outputs that are detections already, in four tensors: how many there are, boxes, scores, classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines.classes import COCO, COCO_WITH_GAPS
from engines.layouts import Candidates, Raw, UnsureError
from engines.layouts.rows import assumed, closed, faces, fits, labelled, unused
from engines.network import Network
from engines.nodes import Nodes
from engines.spec import ModelSpec

__all__ = ["decode", "decode_tensorflow", "recognise", "recognise_tensorflow"]

_DONE = {"iou": 1.0}  # suppression: none, it is done
_TENSORFLOW = {"num_detections", "detection_boxes", "detection_scores", "detection_classes"}
_EITHER = (
    "of these names boxes are xyxy in pixels and classes count from 0 (counted), or boxes are yxyx in shares "
    "and classes count from 1 (tensorflow)"
)


def recognise(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """Four outputs by the ends of their names: a count (B, 1), boxes, scores, classes.

    EfficientNMS of TensorRT and of YOLOv7's end2end exports, and YOLO-NAS in its batch format. Named as
    TensorFlow's they may be that, unless they say otherwise.
    """
    by_kind = _counted(faces(network))
    if by_kind is None or not fits(known, task="detect"):
        return None
    n = by_kind["scores"].shape[1]
    if by_kind["boxes"].shape[1:] != (n, 4) or by_kind["classes"].shape[1:] != (n,):
        return None
    if len(by_kind["count"].shape) != 2:
        return None
    if "layout" not in known and _tensorflow(network):
        raise UnsureError(_EITHER)
    return {"task": "detect", **_DONE, **assumed(known, len(COCO))}


def decode(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Rows from the count on are leftovers."""
    by_kind = _counted(raw) or {}
    boxes, scores, labels, count = _valid(nodes, by_kind)

    def decode(index: str) -> dict[str, str]:
        return {"boxes": nodes.rows(boxes, index, 4)}

    return labelled(nodes, scores, labels, (count, len(spec.classes)), decode)


def recognise_tensorflow(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """TensorFlow's object detection as tf2onnx leaves it: detection_boxes, _scores, _classes, their count.

    Boxes are y1, x1, y2, x2 in shares of the input, classes count from 1. The count (B,) has one axis.
    """
    by_kind = _counted({name: face for name, face in faces(network).items() if name in _TENSORFLOW})
    if by_kind is None or not _tensorflow(network) or not fits(known, task="detect"):
        return None
    n = by_kind["scores"].shape[1]
    if by_kind["boxes"].shape[1:] != (n, 4) or by_kind["classes"].shape[1:] != (n,):
        return None
    if "layout" not in known and len(by_kind["count"].shape) != 1:
        raise UnsureError(_EITHER)
    told = assumed(known, len(COCO_WITH_GAPS))
    notes = (*told.pop("notes", ()), *unused(network, _TENSORFLOW))
    return {"task": "detect", "resize": "stretch", "scale": 1.0, **_DONE, **told, "notes": notes}


def decode_tensorflow(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Labels count from the background on, and rows from the count on are leftovers."""
    by_kind = _counted({name: output for name, output in raw.items() if name in _TENSORFLOW}) or {}
    boxes, scores, labels, count = _valid(nodes, by_kind)
    order = nodes.constant([1, 0, 3, 2], "int64")

    def decode(index: str) -> dict[str, str]:
        shares = nodes.op("Gather", nodes.rows(boxes, index, 4), order, axis=2)
        return {"boxes": nodes.scaled(shares, *spec.size, *spec.size)}

    labels = nodes.op("Sub", labels, nodes.constant(1))
    return labelled(nodes, scores, labels, (count, len(spec.classes)), decode)


def _counted(raw: Mapping[str, Raw]) -> dict[str, Raw] | None:
    found = {}
    for name, tensor in raw.items():
        kind = "count" if name.startswith("num_") else name.rsplit("_", 1)[-1]
        found[kind] = tensor
    axes = {kind: len(tensor.shape) for kind, tensor in found.items()}
    count = axes.pop("count", 0)
    fit = axes == {"boxes": 3, "scores": 2, "classes": 2} and len(raw) == len(found)
    return found if fit and count in (1, 2) else None


def _tensorflow(network: Network) -> bool:
    """Whether the names are TensorFlow's, which samples of TensorRT give its EfficientNMS as well."""
    return {output.name for output in network.outputs} >= _TENSORFLOW


def _valid(nodes: Nodes, by_kind: Mapping[str, Raw]) -> tuple[str, str, str, int]:
    """Boxes, scores and labels, and how many rows there are; those beyond the count have no score."""
    boxes, rows = closed(nodes, by_kind["boxes"], 4)
    (given, _), (labels, _) = (closed(nodes, by_kind[kind]) for kind in ("scores", "classes"))
    numbers = nodes.constant([list(range(rows))])
    if not by_kind["scores"].shape[1]:  # of an open length more rows than are counted on may leave
        length = nodes.op("Gather", nodes.op("Shape", given), nodes.constant(1, "int64"))
        first, step = (nodes.constant(number, "int64") for number in (0, 1))
        numbers = nodes.cast(nodes.op("Range", first, length, step), "float32")
    valid = nodes.op("Less", numbers, nodes.reshape(by_kind["count"].tensor, -1, 1))
    return boxes, nodes.op("Where", valid, given, nodes.constant(-1)), labels, rows

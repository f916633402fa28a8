"""Outputs that are detections already, one row each, with or without suppression done inside.

Each producer orders its rows in its own way; what they have in common is one score and one class for a row.
Rows that mean nothing have the score 0 or less.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines.classes import COCO
from engines.facts import keypoints_for
from engines.layouts import Candidates, Raw, UnsureError
from engines.layouts.rows import assumed, closed, column, fits, keypoints, labelled, points, ranks
from engines.network import SIZES, Network
from engines.nodes import Nodes
from engines.spec import ModelSpec

__all__ = [
    "decode_detectionoutput",
    "decode_mmdet",
    "decode_rtdetr",
    "decode_rtmo",
    "decode_ultralytics",
    "decode_yolonas",
    "decode_yolov7",
    "recognise_detectionoutput",
    "recognise_mmdet",
    "recognise_rtdetr",
    "recognise_rtmo",
    "recognise_ultralytics",
    "recognise_yolonas",
    "recognise_yolov7",
]

_DONE = {"iou": 1.0}  # suppression: none, it is done
_IMAGENET = {"scale": 1.0, "mean": (103.53, 116.28, 123.675), "std": (57.375, 57.12, 58.395), "colour": "bgr"}
_AMBIGUOUS = 2  # classes of a file whose six columns could be a box and a score for each
_MOST_ROWS = 300  # of Ultralytics' exports that do not say so: more are cells of a grid


def recognise_ultralytics(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """(B, n, 6 + extras): xyxy in input pixels, score, class, then mask coefficients or keypoints.

    Only metadata (or a card) can tell it from others of this shape; where it says so, axes may be open.
    """
    shapes = [output.shape for output in network.outputs]
    if not shapes or len(shapes[0]) != 3:
        return None
    prototypes = shapes[1][1] if len(shapes) == 2 and len(shapes[1]) == 4 else 0
    task = known.get("task", "segment" if prototypes else "detect")
    joints = len(known.get("keypoints", ()))
    extras = {"detect": (0,), "segment": (prototypes,), "pose": (3 * joints, 2 * joints)}.get(task, ())
    if len(shapes) != (2 if task == "segment" else 1) or (task == "segment") != bool(prototypes):
        return None
    if task == "pose" and not joints:
        return None
    if known.get("layout") == "ultralytics-end2end":
        width = shapes[0][2] or 6 + sum(extras[:1])
        return {"task": task, **_DONE} if width - 6 in extras else None
    if not {"task", "classes"} <= set(known) or shapes[0][2] - 6 not in extras:
        return None
    if shapes[0][1] > _MOST_ROWS:
        return None
    if task == "detect" and len(known["classes"]) == _AMBIGUOUS:
        raise UnsureError(
            "six columns of two classes are a box in pixels, its score and its class, or of an older RT-DETR "
            "a box in shares and two scores, which is to be exported again"
        )
    return {"task": task, **_DONE}


def decode_ultralytics(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Exports with nms=True, and NMS-free heads (YOLOv10, YOLO26)."""
    output, *others = raw.values()
    joints = len(spec.keypoints)
    width = output.shape[2] or 6 + 3 * joints + (others[0].shape[1] if spec.task == "segment" else 0)
    table, count = closed(nodes, output, width)

    def decode(index: str) -> dict[str, str]:
        rows = nodes.rows(table, index, width)
        found = {"boxes": nodes.slice(rows, 2, 0, 4)}
        if spec.task == "segment":
            found["coefficients"] = nodes.slice(rows, 2, 6, width)
        if spec.task == "pose":
            found["keypoints"] = points(nodes, nodes.slice(rows, 2, 6, width), joints, width - 6)
        return found

    prototypes = others[0].tensor if spec.task == "segment" else ""
    scores, classes = column(nodes, table, 4), column(nodes, table, 5)
    return labelled(nodes, scores, classes, (count, len(spec.classes)), decode, prototypes)


def recognise_yolonas(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """YOLO-NAS in its flat format, (n, 7): picture, xyxy in input pixels, score, class."""
    if not _flat(network, "flat_predictions") or not fits(known, task="detect"):
        return None
    return {"task": "detect", **_DONE, **assumed(known, len(COCO))}


def decode_yolonas(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Score in column 5, class in column 6."""
    return _flat_rows(nodes, spec, raw, score=5, label=6)


def recognise_yolov7(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """YOLOv7's end2end export for ONNX Runtime, (n, 7): picture, xyxy in input pixels, class, score."""
    if not _flat(network, "output") or not fits(known, task="detect"):
        return None
    return {"task": "detect", **_DONE, **assumed(known, len(COCO))}


def decode_yolov7(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Class in column 5, score in column 6."""
    return _flat_rows(nodes, spec, raw, score=6, label=5)


def recognise_mmdet(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """mmdeploy's outputs: dets (B, n, 5) xyxy in input pixels and score, labels (B, n).

    RTMDet was trained on BGR with the mean and deviation of ImageNet, the picture at the top left.
    """
    shapes = {output.name: output.shape for output in network.outputs}
    if set(shapes) != {"dets", "labels"} or not fits(known, task="detect"):
        return None
    if len(shapes["dets"]) != 3 or shapes["dets"][2] != 5 or len(shapes["labels"]) != 2:
        return None
    return {
        "task": "detect",
        "resize": "letterbox-topleft",
        **assumed(known, len(COCO)),
        **_IMAGENET,
        **_DONE,
    }


def decode_mmdet(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Boxes with their scores, labels beside them."""
    dets, count = closed(nodes, raw["dets"], 5)
    labels, _ = closed(nodes, raw["labels"])

    def decode(index: str) -> dict[str, str]:
        return {"boxes": nodes.slice(nodes.rows(dets, index, 5), 2, 0, 4)}

    return labelled(nodes, column(nodes, dets, 4), labels, (count, len(spec.classes)), decode)


def recognise_rtmo(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """RTMO: dets (B, n, 5) xyxy in input pixels and score, keypoints (B, n, J, 3); people only.

    It takes BGR 0..255 with the picture at the top left. Source: rtmlib's description of the export.
    """
    shapes = {output.name: output.shape for output in network.outputs}
    if set(shapes) != {"dets", "keypoints"} or not ranks(network, dets=3, keypoints=4):
        return None
    joints = shapes["keypoints"][2] or len(known.get("keypoints", ()))
    if shapes["dets"][2] != 5 or not joints or not fits(known, task="pose", keypoints=joints, classes=1):
        return None
    return {
        "task": "pose",
        "classes": ("person",),
        "resize": "letterbox-topleft",
        "scale": 1.0,
        "colour": "bgr",
        **keypoints_for(joints),
    }


def decode_rtmo(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Boxes with their scores, keypoints beside them; overlaps are still to be suppressed."""
    dets, count = closed(nodes, raw["dets"], 5)
    scores = column(nodes, dets, 4)

    def decode(index: str) -> dict[str, str]:
        return {
            "boxes": nodes.slice(nodes.rows(dets, index, 5), 2, 0, 4),
            "keypoints": keypoints(nodes, raw["keypoints"], index, len(spec.keypoints)),
        }

    return labelled(nodes, scores, nodes.scaled(scores, 0), (count, 1), decode)


def recognise_rtdetr(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """The official exports of RT-DETR and D-FINE: labels, boxes, scores, (B, 300).

    A second input says in which size boxes are wanted: that of the input, so that they are in its pixels.
    """
    shapes = {output.name: output.shape for output in network.outputs}
    asks = any(value.name == SIZES for value in network.model.graph.input)
    if set(shapes) != {"labels", "boxes", "scores"} or not asks or not fits(known, task="detect"):
        return None
    if not ranks(network, labels=2, boxes=3, scores=2) or shapes["boxes"][2] not in (0, 4):
        return None
    return {"task": "detect", "resize": "stretch", **assumed(known, len(COCO)), **_DONE}


def decode_rtdetr(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Three outputs side by side."""
    boxes, count = closed(nodes, raw["boxes"], 4)
    (scores, _), (labels, _) = (closed(nodes, raw[kind]) for kind in ("scores", "labels"))

    def decode(index: str) -> dict[str, str]:
        return {"boxes": nodes.rows(boxes, index, 4)}

    return labelled(nodes, scores, labels, (count, len(spec.classes)), decode)


def recognise_detectionoutput(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """OpenVINO's and Caffe's DetectionOutput, (1, 1, N, 7): picture, label, score, xyxy in shares of 1.

    A negative picture ends the list; label 0 is the background.
    """
    shapes = [output.shape for output in network.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][:2] != (1, 1) or shapes[0][3] != 7:
        return None
    return {"task": "detect", "resize": "stretch", **_DONE} if fits(known, task="detect") else None


def decode_detectionoutput(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Labels count from the background on."""
    (output,) = raw.values()
    rows, count = closed(nodes, output, 7)
    ended = nodes.op("Less", column(nodes, rows, 0), nodes.constant(0))
    scores = nodes.op("Where", ended, nodes.constant(-1), column(nodes, rows, 2))
    labels = nodes.op("Sub", column(nodes, rows, 1), nodes.constant(1))

    def decode(index: str) -> dict[str, str]:
        shares = nodes.slice(nodes.rows(rows, index, 7), 2, 3, 7)
        return {"boxes": nodes.scaled(shares, *spec.size, *spec.size)}

    return labelled(nodes, scores, labels, (count, len(spec.classes)), decode)


def _flat(network: Network, ending: str) -> bool:
    outputs = network.outputs
    return len(outputs) == 1 and outputs[0].shape[1:] == (7,) and outputs[0].name.endswith(ending)


def _flat_rows(
    nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw], *, score: int, label: int
) -> Candidates:
    """Rows (n, 7) of one picture."""
    (output,) = raw.values()
    rows, count = closed(nodes, output, 7)

    def decode(index: str) -> dict[str, str]:
        return {"boxes": nodes.slice(nodes.rows(rows, index, 7), 2, 1, 5)}

    shape = count, len(spec.classes)
    return labelled(nodes, column(nodes, rows, score), column(nodes, rows, label), shape, decode)

"""Outputs that are detections already, one row each, with or without suppression done inside.

Each producer orders its rows in its own way; what they have in common is one score and one class for a row.
Rows that mean nothing have the score 0 or less.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines.facts import keypoints_for, names_for
from engines.layouts import Candidates, Raw
from engines.layouts.rows import ROOM, faces, fits, labelled, padded
from engines.network import SIZES, Network
from engines.nodes import Nodes
from engines.spec import ModelSpec

__all__ = [
    "decode_counted",
    "decode_detectionoutput",
    "decode_mmdet",
    "decode_rtdetr",
    "decode_rtmo",
    "decode_torchvision",
    "decode_ultralytics",
    "decode_yolonas",
    "decode_yolov7",
    "recognise_counted",
    "recognise_detectionoutput",
    "recognise_mmdet",
    "recognise_rtdetr",
    "recognise_rtmo",
    "recognise_torchvision",
    "recognise_ultralytics",
    "recognise_yolonas",
    "recognise_yolov7",
]

_DONE = {"iou": 1.0}  # suppression: none, it is done
_IMAGENET = {"scale": 1.0, "mean": (103.53, 116.28, 123.675), "std": (57.375, 57.12, 58.395), "colour": "bgr"}
_MOST_ROWS = 300  # of Ultralytics' exports: more are cells of a grid


def recognise_ultralytics(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """(B, n, 6 + extras): xyxy in input pixels, score, class, then mask coefficients or keypoints.

    Only metadata (or a card) can tell it from others of this shape.
    """
    shapes = [output.shape for output in network.outputs]
    if not shapes or len(shapes[0]) != 3 or shapes[0][1] > _MOST_ROWS:
        return None
    prototypes = shapes[1][1] if len(shapes) == 2 and len(shapes[1]) == 4 else 0
    task = known.get("task", "segment" if prototypes else "detect")
    extras = {"detect": 0, "segment": prototypes, "pose": 3 * len(known.get("keypoints", ()))}.get(task, -1)
    if shapes[0][2] != 6 + extras or len(shapes) != (2 if task == "segment" else 1):
        return None
    if (task == "segment") != bool(prototypes) or not {"task", "classes"} <= set(known):
        return None
    return {"task": task, **_DONE}


def decode_ultralytics(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Exports with nms=True, and NMS-free heads (YOLOv10, YOLO26)."""
    output, *others = raw.values()
    _, count, width = output.shape

    def decode(index: str) -> dict[str, str]:
        rows = nodes.rows(output.tensor, index, width)
        found = {"boxes": nodes.slice(rows, 2, 0, 4)}
        if spec.task == "segment":
            found["coefficients"] = nodes.slice(rows, 2, 6, width)
        if spec.task == "pose":
            points = nodes.slice(rows, 2, 6, width)
            found["keypoints"] = nodes.reshape(points, 0, 0, len(spec.keypoints), 3)
        return found

    prototypes = others[0].tensor if spec.task == "segment" else ""
    scores, classes = _column(nodes, output.tensor, 4), _column(nodes, output.tensor, 5)
    return labelled(nodes, scores, classes, (count, len(spec.classes)), decode, prototypes)


def recognise_counted(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """Four outputs by the ends of their names: a count (B, 1), boxes, scores, classes.

    EfficientNMS of TensorRT and of YOLOv7's end2end exports, and YOLO-NAS in its batch format, which may take
    its pixels as they are (uint8).
    """
    by_kind = _counted(faces(network))
    if by_kind is None or not fits(known, task="detect"):
        return None
    n = by_kind["scores"].shape[1]
    if by_kind["boxes"].shape[1:] != (n, 4) or by_kind["classes"].shape[1:] != (n,):
        return None
    return {"task": "detect", **_DONE, **_raw_pixels(network), "classes": names_for(80)}


def decode_counted(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Rows from the count on are leftovers."""
    by_kind = _counted(raw) or {}
    n = by_kind["scores"].shape[1]
    numbers = nodes.constant([list(range(n))])
    valid = nodes.op("Less", numbers, nodes.reshape(by_kind["count"].tensor, -1, 1))
    scores = nodes.op("Where", valid, by_kind["scores"].tensor, nodes.constant(-1))

    def decode(index: str) -> dict[str, str]:
        return {"boxes": nodes.rows(by_kind["boxes"].tensor, index, 4)}

    return labelled(nodes, scores, by_kind["classes"].tensor, (n, len(spec.classes)), decode)


def recognise_yolonas(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """YOLO-NAS in its flat format, (n, 7): picture, xyxy in input pixels, score, class."""
    if not _flat(network, "flat_predictions") or not fits(known, task="detect"):
        return None
    return {"task": "detect", **_DONE, **_raw_pixels(network), "classes": names_for(80)}


def decode_yolonas(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Score in column 5, class in column 6."""
    return _flat_rows(nodes, spec, raw, score=5, label=6)


def recognise_yolov7(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """YOLOv7's end2end export for ONNX Runtime, (n, 7): picture, xyxy in input pixels, class, score."""
    if not _flat(network, "output") or not fits(known, task="detect"):
        return None
    return {"task": "detect", **_DONE, "classes": names_for(80)}


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
        "classes": names_for(80),
        **_IMAGENET,
        **_DONE,
    }


def decode_mmdet(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Boxes with their scores, labels beside them."""
    dets, count = _closed(nodes, raw["dets"], 5)
    labels, _ = _closed(nodes, raw["labels"], 0)

    def decode(index: str) -> dict[str, str]:
        return {"boxes": nodes.slice(nodes.rows(dets, index, 5), 2, 0, 4)}

    return labelled(nodes, _column(nodes, dets, 4), labels, (count, len(spec.classes)), decode)


def recognise_rtmo(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """RTMO: dets (B, n, 5) xyxy in input pixels and score, keypoints (B, n, J, 3); people only.

    It takes BGR 0..255 with the picture at the top left. Source: rtmlib's description of the export.
    """
    shapes = {output.name: output.shape for output in network.outputs}
    if set(shapes) != {"dets", "keypoints"} or len(shapes["keypoints"]) != 4:
        return None
    joints = shapes["keypoints"][2]
    if shapes["dets"][2] != 5 or not fits(known, task="pose", keypoints=joints, classes=1):
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
    joints = len(spec.keypoints)
    dets, count = _closed(nodes, raw["dets"], 5)
    flat = Raw(nodes.reshape(raw["keypoints"].tensor, 0, -1, joints * 3), (1, raw["keypoints"].shape[1]))
    points, _ = _closed(nodes, flat, joints * 3)
    scores = _column(nodes, dets, 4)

    def decode(index: str) -> dict[str, str]:
        return {
            "boxes": nodes.slice(nodes.rows(dets, index, 5), 2, 0, 4),
            "keypoints": nodes.reshape(nodes.rows(points, index, joints * 3), 0, 0, joints, 3),
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
    return {"task": "detect", "resize": "stretch", "classes": names_for(80), **_DONE}


def decode_rtdetr(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Three outputs side by side."""

    def decode(index: str) -> dict[str, str]:
        return {"boxes": nodes.rows(raw["boxes"].tensor, index, 4)}

    shape = raw["scores"].shape[1], len(spec.classes)
    return labelled(nodes, raw["scores"].tensor, raw["labels"].tensor, shape, decode)


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
    rows = nodes.reshape(output.tensor, nodes.batch, -1, 7)
    ended = nodes.op("Less", _column(nodes, rows, 0), nodes.constant(0))
    scores = nodes.op("Where", ended, nodes.constant(-1), _column(nodes, rows, 2))
    labels = nodes.op("Sub", _column(nodes, rows, 1), nodes.constant(1))

    def decode(index: str) -> dict[str, str]:
        shares = nodes.slice(nodes.rows(rows, index, 7), 2, 3, 7)
        return {"boxes": nodes.scaled(shares, *spec.size, *spec.size)}

    return labelled(nodes, scores, labels, (output.shape[2], len(spec.classes)), decode)


def recognise_torchvision(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """torchvision's own export: a picture (3, H, W) in; boxes (n, 4), scores (n,), labels (n,) out, any n.

    Keypoint R-CNN adds keypoints (n, J, 3) and their scores (n, J). Names are numbers; types and ranks tell.
    """
    kinds = _torchvision(faces(network))
    if network.order != "chw" or kinds is None:
        return None
    task = "pose" if "keypoints" in kinds else "detect"
    joints = kinds["keypoints"].shape[1] if task == "pose" else 0
    if not fits(known, task=task, keypoints=joints):
        return None
    people = {"classes": ("person",), **keypoints_for(joints)}
    return {
        "task": task,
        "resize": "stretch",
        **_DONE,
        **(people if task == "pose" else {"classes": names_for(90)}),
    }


def decode_torchvision(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Label 0 is the background; the number of rows differs from picture to picture."""
    kinds = _torchvision(raw) or {}
    boxes = padded(nodes, kinds["boxes"].tensor, 4, 0)
    one, other = (padded(nodes, kinds[kind].tensor, 0, -1) for kind in ("scores", "labels"))
    labels = nodes.op("Sub", other, nodes.constant(1))
    joints = len(spec.keypoints)
    if spec.task == "pose":
        points = padded(nodes, nodes.reshape(kinds["keypoints"].tensor, -1, joints * 3), joints * 3, 0)

    def decode(index: str) -> dict[str, str]:
        found = {"boxes": nodes.rows(boxes, index, 4)}
        if spec.task == "pose":
            found["keypoints"] = nodes.reshape(nodes.rows(points, index, joints * 3), 0, 0, joints, 3)
        return found

    return labelled(nodes, one, labels, (ROOM, len(spec.classes)), decode)


def _column(nodes: Nodes, rows: str, column: int) -> str:
    """One column (B, n) of rows (B, n, width)."""
    return nodes.reshape(nodes.slice(rows, 2, column, column + 1), 0, -1)


def _closed(nodes: Nodes, raw: Raw, width: int) -> tuple[str, int]:
    """Rows (B, n, width), or (B, n) for a width of 0, with n fixed; and n."""
    if raw.shape[1]:
        return raw.tensor, raw.shape[1]
    return padded(nodes, raw.tensor, width, -1), ROOM


def _counted(raw: Mapping[str, Raw]) -> dict[str, Raw] | None:
    found = {}
    for name, tensor in raw.items():
        kind = "count" if name.startswith("num_") else name.rsplit("_", 1)[-1]
        found[kind] = tensor
    ranks = {kind: len(tensor.shape) for kind, tensor in found.items()}
    return found if ranks == {"count": 2, "boxes": 3, "scores": 2, "classes": 2} else None


def _flat(network: Network, ending: str) -> bool:
    outputs = network.outputs
    return len(outputs) == 1 and outputs[0].shape[1:] == (7,) and outputs[0].name.endswith(ending)


def _flat_rows(
    nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw], *, score: int, label: int
) -> Candidates:
    """Rows (n, 7) of one picture."""
    (output,) = raw.values()
    rows = padded(nodes, output.tensor, 7, -1)

    def decode(index: str) -> dict[str, str]:
        return {"boxes": nodes.slice(nodes.rows(rows, index, 7), 2, 1, 5)}

    shape = ROOM, len(spec.classes)
    return labelled(nodes, _column(nodes, rows, score), _column(nodes, rows, label), shape, decode)


def _torchvision(raw: Mapping[str, Raw]) -> dict[str, Raw] | None:
    """The outputs by what they are: their names are numbers, and their order differs between families."""
    forms = {
        "boxes": [one for one in raw.values() if len(one.shape) == 2 and one.shape[1] == 4],
        "labels": [one for one in raw.values() if len(one.shape) == 1 and one.dtype == "int64"],
        "scores": [one for one in raw.values() if len(one.shape) == 1 and one.dtype == "float32"],
        "keypoints": [one for one in raw.values() if len(one.shape) == 3 and one.shape[2] == 3],
    }
    found = {kind: tensors[0] for kind, tensors in forms.items() if len(tensors) == 1}
    return found if {"boxes", "labels", "scores"} <= set(found) else None


def _raw_pixels(network: Network) -> dict[str, Any]:
    return {"scale": 1.0} if network.input.dtype == "uint8" else {}

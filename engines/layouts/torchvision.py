"""Outputs of torchvision's own exports: detections of one picture, in tensors whose names are numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines.classes import COCO_KEYPOINTS, COCO_WITH_GAPS
from engines.facts import keypoints_for, names_for
from engines.layouts import Candidates, Raw
from engines.layouts.evidence import length_of
from engines.layouts.rows import assumed, closed, faces, fits, keypoints, labelled, unused
from engines.network import Network
from engines.nodes import Nodes
from engines.spec import ModelSpec

__all__ = ["decode", "recognise"]


def recognise(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """torchvision's own export: a picture (3, H, W) in; boxes (n, 4), scores (n,), labels (n,) out, any n.

    Keypoint R-CNN adds keypoints (n, J, 3) and their scores (n, J). Names are numbers; types and ranks tell.
    """
    kinds = _by_kind(faces(network))
    if network.order != "chw" or kinds is None:
        return None
    task = "pose" if "keypoints" in kinds else "detect"
    common = {"task": task, "resize": "stretch", "iou": 1.0}
    left = unused(network, {kind.tensor for kind in kinds.values()})
    if task == "detect":
        count = _classes(network)
        told = {"classes": names_for(count)} if count else assumed(known, len(COCO_WITH_GAPS))
        if not fits(known, task=task, **({"classes": count} if count else {})):
            return None
        return {**common, **told, "notes": (*told.get("notes", ()), *left)}
    seen = length_of(network, "keypoint_predictor.kps_score_lowres.bias")
    joints = kinds["keypoints"].shape[1] or seen or len(known.get("keypoints", COCO_KEYPOINTS))
    if not fits(known, task=task, keypoints=joints):
        return None
    return {**common, "classes": ("person",), **keypoints_for(joints), "notes": left}


def decode(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Label 0 is the background; the number of rows differs from picture to picture."""
    kinds = _by_kind(raw) or {}
    boxes, count = closed(nodes, kinds["boxes"], 4)
    (one, _), (other, _) = (closed(nodes, kinds[kind]) for kind in ("scores", "labels"))
    labels = nodes.op("Sub", other, nodes.constant(1))

    def decode(index: str) -> dict[str, str]:
        found = {"boxes": nodes.rows(boxes, index, 4)}
        if spec.task == "pose":
            found["keypoints"] = keypoints(nodes, kinds["keypoints"], index, len(spec.keypoints))
        return found

    return labelled(nodes, one, labels, (count, len(spec.classes)), decode)


def _classes(network: Network) -> int:
    """How many classes torchvision's heads know beside the background; 0 where their weights do not tell."""
    together = length_of(network, "box_predictor.cls_score.bias")
    each = length_of(network, "head.classification_head.cls_logits.bias")
    corners = length_of(network, "head.regression_head.bbox_reg.bias")  # four of each anchor
    return max(together - 1, each // max(corners // 4, 1) - 1, 0)


def _by_kind(raw: Mapping[str, Raw]) -> dict[str, Raw] | None:
    """The outputs by what they are: their names are numbers, and their order differs between families."""
    forms = {
        "boxes": [one for one in raw.values() if len(one.shape) == 2 and one.shape[1] == 4],
        "labels": [one for one in raw.values() if len(one.shape) == 1 and one.dtype == "int64"],
        "scores": [one for one in raw.values() if len(one.shape) == 1 and one.dtype == "float32"],
        "keypoints": [one for one in raw.values() if len(one.shape) == 3 and one.shape[2] in (0, 3)],
        "sure": [one for one in raw.values() if len(one.shape) == 2 and one.shape[1] != 4],
    }
    found = {kind: tensors[0] for kind, tensors in forms.items() if len(tensors) == 1}
    if not {"keypoints", "sure"} <= set(found):
        found = {kind: tensor for kind, tensor in found.items() if kind not in ("keypoints", "sure")}
    return found if {"boxes", "labels", "scores"} <= set(found) else None

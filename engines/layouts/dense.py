"""Outputs of our own networks: decoded boxes, probabilities and extras, each under its own name.

``boxes`` (B,N,4) xyxy input pixels, ``scores`` (B,N,C) probabilities, and by task ``keypoints`` (B,N,J,3) x,
y in pixels and visibility 0..1, or ``coefficients`` (B,N,P) with ``prototypes`` (B,P,h,w).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines.facts import names_for
from engines.layouts import Candidates, Raw
from engines.layouts.rows import closed, keypoints, scored
from engines.layouts.ssd import is_ultraface
from engines.network import Network
from engines.nodes import Nodes
from engines.spec import ModelSpec

__all__ = ["decode", "recognise"]

_TASKS = {
    frozenset({"boxes", "scores"}): "detect",
    frozenset({"boxes", "scores", "keypoints"}): "pose",
    frozenset({"boxes", "scores", "coefficients", "prototypes"}): "segment",
}


def recognise(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """Ours are known by the names of the outputs."""
    shapes = {output.name: output.shape for output in network.outputs}
    task = _TASKS.get(frozenset(shapes))
    if "layout" not in known and is_ultraface(network, known["size"]):
        return None  # its names are ours, its boxes are not; our own files say what they are
    if task is None or len(shapes["scores"]) != 3 or shapes["boxes"] != (*shapes["scores"][:2], 4):
        return None
    classes = shapes["scores"][2]
    if len(known.get("classes", names_for(classes))) != classes or known.get("task", task) != task:
        return None
    if task == "pose" and (len(shapes["keypoints"]) != 4 or shapes["keypoints"][3] not in (0, 3)):
        return None
    if task == "segment" and not _masks_fit(shapes):
        return None
    joints = shapes["keypoints"][2] if task == "pose" else 0
    if len(known.get("keypoints", range(joints))) != joints:
        return None
    keypoints = tuple(f"keypoint_{number}" for number in range(joints))
    return {"task": task, "classes": names_for(classes), "keypoints": keypoints}


def _masks_fit(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether there is a coefficient for each prototype."""
    coefficients, prototypes = shapes["coefficients"], shapes["prototypes"]
    if len(coefficients) != 3 or len(prototypes) != 4:
        return False
    return not (coefficients[2] and prototypes[1]) or coefficients[2] == prototypes[1]


def decode(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Everything is decoded already; only gather."""
    classes = raw["scores"].shape[2]
    scores, count = closed(nodes, raw["scores"], classes)
    boxes, _ = closed(nodes, raw["boxes"], 4)

    def answers(index: str) -> dict[str, str]:
        found = {"boxes": nodes.rows(boxes, index, 4)}
        if spec.task == "pose":
            joints = raw["keypoints"].shape[2]
            found["keypoints"] = keypoints(nodes, raw["keypoints"], index, joints)
        if spec.task == "segment":
            width = raw["coefficients"].shape[2] or raw["prototypes"].shape[1]
            coefficients, _ = closed(nodes, raw["coefficients"], width)
            found["coefficients"] = nodes.rows(coefficients, index, width)
        return found

    prototypes = raw["prototypes"].tensor if spec.task == "segment" else ""
    return scored(nodes, scores, (count, classes), answers, prototypes)

"""Outputs of RetinaFace: offsets (B, N, 4), probabilities (B, N, 2), and five landmarks (B, N, 10).

Source: RetinaFace, arXiv 1905.00641, and the contract of its PyTorch form, which takes BGR less its mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines.layouts import Candidates, Raw, priors
from engines.layouts.rows import fits, scored
from engines.network import Network
from engines.nodes import Nodes
from engines.spec import ModelSpec

__all__ = ["decode", "recognise"]

_VARIANCES = (0.1, 0.2)
_LANDMARKS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")


def recognise(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """Three outputs with a row for each prior, known by their widths."""
    shapes = [output.shape for output in network.outputs]
    count = len(priors.retinaface(known["size"]))
    if sorted(shapes) != [(1, count, 2), (1, count, 4), (1, count, 10)]:
        return None
    if not fits(known, task="pose", classes=1, keypoints=len(_LANDMARKS)):
        return None
    return {
        "task": "pose",
        "classes": ("face",),
        "keypoints": _LANDMARKS,
        "colour": "bgr",
        "scale": 1.0,
        "mean": (104.0, 117.0, 123.0),
        "pad": 0,
        "conf": 0.5,
        "iou": 0.4,
    }


def decode(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Boxes and landmarks from offsets and priors; every landmark is visible."""
    by_width = {output.shape[2]: output for output in raw.values()}
    table = priors.retinaface(spec.size)
    joints = len(spec.keypoints)
    scores = nodes.slice(by_width[2].tensor, 2, 1, 2)

    def places(index: str) -> dict[str, str]:
        places = nodes.look_up(table, index)
        offsets = nodes.rows(by_width[4].tensor, index, 4)
        shifts = nodes.reshape(nodes.rows(by_width[10].tensor, index, 10), 0, 0, joints, 2)
        centres = nodes.reshape(nodes.slice(places, 2, 0, 2), 0, 0, 1, 2)
        sizes = nodes.reshape(nodes.slice(places, 2, 2, 4), 0, 0, 1, 2)
        moved = nodes.op("Mul", nodes.scaled(shifts, _VARIANCES[0]), sizes)
        return {
            "boxes": priors.centre_size(nodes, offsets, places, _VARIANCES),
            "keypoints": nodes.visible(nodes.op("Add", centres, moved)),
        }

    return scored(nodes, scores, (by_width[2].shape[1], 1), places)

"""Outputs of single-shot detectors with priors: offsets (B, N, 4), and scores (B, N, 1 + C) whose first
column is the background.

UltraFace leaves scores and boxes, decoded in its graph (which then takes an exponent) or not; torchvision's
SSD and SSDlite, cut after their heads, leave bbox_regression and cls_logits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engines.facts import names_for
from engines.layouts import Candidates, Raw, priors
from engines.layouts.evidence import is_decoded_by_exp
from engines.layouts.rows import fits, scored
from engines.network import Network
from engines.nodes import Nodes
from engines.spec import ModelSpec

__all__ = [
    "decode_decoded",
    "decode_torchvision",
    "decode_ultraface",
    "is_ultraface",
    "recognise_decoded",
    "recognise_torchvision",
    "recognise_ultraface",
]

_VARIANCES = (0.1, 0.2)
_TORCHVISION = {  # size -> priors, mean, std
    300: (priors.ssd300, (0.48235, 0.45882, 0.40784), (1 / 255, 1 / 255, 1 / 255)),
    320: (priors.ssdlite, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}


def is_ultraface(network: Network, size: tuple[int, int]) -> bool:
    """Whether there are a score and a box for each of UltraFace's priors."""
    shapes = {output.name: output.shape for output in network.outputs}
    count = len(priors.ultraface(size))
    return shapes == {"scores": (1, count, 2), "boxes": (1, count, 4)}


def recognise_ultraface(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """Their boxes are offsets: nothing in the graph takes an exponent."""
    return None if is_decoded_by_exp(network) else _faces(network, known)


def decode_ultraface(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Boxes from offsets and priors."""
    table = priors.ultraface(spec.size)

    def decode(index: str) -> dict[str, str]:
        offsets = nodes.rows(raw["boxes"].tensor, index, 4)
        return {"boxes": priors.centre_size(nodes, offsets, nodes.look_up(table, index), _VARIANCES)}

    return _foreground(nodes, raw["scores"], decode)


def recognise_decoded(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """Their boxes are xyxy in shares of the input: the graph has taken the exponent."""
    return _faces(network, known) if is_decoded_by_exp(network) else None


def decode_decoded(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Shares to pixels."""

    def decode(index: str) -> dict[str, str]:
        shares = nodes.rows(raw["boxes"].tensor, index, 4)
        return {"boxes": nodes.scaled(shares, *spec.size, *spec.size)}

    return _foreground(nodes, raw["scores"], decode)


def recognise_torchvision(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """ssd300_vgg16 at 300x300, ssdlite320_mobilenet_v3_large at 320x320, by the number of priors."""
    shapes = {output.name: output.shape for output in network.outputs}
    if set(shapes) != {"bbox_regression", "cls_logits"} or len(shapes["cls_logits"]) != 3:
        return None
    width, height = known["size"]
    if width != height or width not in _TORCHVISION:
        return None
    table, mean, std = _TORCHVISION[width]
    classes = shapes["cls_logits"][2] - 1
    if shapes["bbox_regression"][1:] != (len(table((width, height))), 4):
        return None
    if not fits(known, task="detect", classes=classes):
        return None
    names = names_for(classes)
    return {"task": "detect", "classes": names, "resize": "stretch", "mean": mean, "std": std, "iou": 0.55}


def decode_torchvision(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Boxes from offsets and default boxes; logits become probabilities over all classes and background."""
    table = _TORCHVISION[spec.size[0]][0](spec.size)
    logits = raw["cls_logits"]
    scores = Raw(nodes.op("Softmax", logits.tensor, axis=2), logits.shape)

    def decode(index: str) -> dict[str, str]:
        offsets = nodes.rows(raw["bbox_regression"].tensor, index, 4)
        return {"boxes": priors.centre_size(nodes, offsets, nodes.look_up(table, index), _VARIANCES)}

    return _foreground(nodes, scores, decode)


def _faces(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    if not is_ultraface(network, known["size"]) or not fits(known, task="detect", classes=1):
        return None
    return {
        "task": "detect",
        "classes": ("face",),
        "resize": "stretch",
        "scale": 1.0,
        "mean": (127.0, 127.0, 127.0),
        "std": (128.0, 128.0, 128.0),
        "conf": 0.7,
        "iou": 0.3,
    }


def _foreground(nodes: Nodes, scores: Raw, decode: Callable[[str], dict[str, str]]) -> Candidates:
    _, count, width = scores.shape
    return scored(nodes, nodes.slice(scores.tensor, 2, 1, width), (count, width - 1), decode)

"""Outputs of torchvision's RetinaNet, cut after its heads: bbox_regression and cls_logits.

They are (B, N, 4) and (B, N, 1 + C); the first column of the logits stands for a background that the network
does not learn. Source: RetinaNet, arXiv 1708.02002, and the contract of torchvision's heads and anchors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines.facts import names_for
from engines.layouts import Candidates, Raw, priors
from engines.layouts.rows import fits, scored
from engines.network import Network
from engines.nodes import Nodes
from engines.spec import ModelSpec

__all__ = ["decode", "recognise"]


def recognise(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """By the names of the heads and the number of anchors."""
    shapes = {output.name: output.shape for output in network.outputs}
    if set(shapes) != {"bbox_regression", "cls_logits"} or len(shapes["cls_logits"]) != 3:
        return None
    classes = shapes["cls_logits"][2] - 1
    if shapes["bbox_regression"][1:] != (len(priors.retinanet(known["size"])), 4):
        return None
    if not fits(known, task="detect", classes=classes):
        return None
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    names = names_for(classes)
    return {"task": "detect", "classes": names, "pad": 0, "mean": mean, "std": std, "iou": 0.5}


def decode(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Boxes from offsets and anchors, an independent probability for each class."""
    table = priors.retinanet(spec.size)
    logits = raw["cls_logits"]
    _, count, width = logits.shape
    scores = nodes.op("Sigmoid", nodes.slice(logits.tensor, 2, 1, width))

    def boxes(index: str) -> dict[str, str]:
        offsets = nodes.rows(raw["bbox_regression"].tensor, index, 4)
        return {"boxes": priors.centre_size(nodes, offsets, nodes.look_up(table, index), (1, 1))}

    return scored(nodes, scores, (count, width - 1), boxes)

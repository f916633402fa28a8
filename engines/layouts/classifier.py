"""Output of a classifier: a score (B, C) for each class of the whole picture; it must say ``task: classify``.

One row leaves for each picture: the box is the whole input, and the class the best one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines.facts import names_for
from engines.layouts import Candidates, Raw
from engines.layouts.rows import fits, scored
from engines.network import Network
from engines.nodes import Nodes
from engines.spec import ModelSpec

__all__ = ["decode", "recognise"]

_ALIKE = 1e-3  # from one, to which probabilities sum up


def recognise(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """Scores alone could as well be a vector that compares pictures."""
    shapes = [output.shape for output in network.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 2 or known.get("task") != "classify":
        return None
    if not fits(known, classes=shapes[0][1]):
        return None
    return {"classes": names_for(shapes[0][1]), "resize": "stretch", "iou": 1.0, "conf": 0.0}


def decode(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Logits become probabilities; what is probabilities already stays."""
    (output,) = raw.values()
    count = output.shape[1]
    given = output.tensor
    ones = nodes.constant([[1.0]] * count)
    far = nodes.op("Abs", nodes.op("Sub", nodes.op("MatMul", given, ones), nodes.constant(1.0)))
    below = nodes.op("MatMul", nodes.op("Relu", nodes.op("Neg", given)), ones)
    done = nodes.op("Less", nodes.op("Add", far, below), nodes.constant(_ALIKE))  # (B, 1)
    chances = nodes.op("Where", done, given, nodes.op("Softmax", given, axis=1))
    scores = nodes.reshape(chances, 0, 1, count)

    def whole(index: str) -> dict[str, str]:
        nothing = nodes.reshape(nodes.scaled(nodes.slice(chances, 1, 0, 1), 0), 0, 1, 1)
        return {"boxes": nodes.op("Add", nothing, nodes.constant([[[0, 0, *spec.size]]]))}

    return scored(nodes, scores, (1, count), whole)

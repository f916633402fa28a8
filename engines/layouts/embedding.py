"""Output of a network that compares pictures: one vector (B, D) for each; a card must say ``task: embed``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines.layouts import Embedding, Raw
from engines.network import Network
from engines.nodes import Nodes
from engines.spec import ModelSpec

__all__ = ["decode", "recognise"]


def recognise(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """A vector alone could as well be the scores of a classifier."""
    shapes = [output.shape for output in network.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 2 or known.get("task") != "embed":
        return None
    return {"classes": (), "resize": "stretch"}


def decode(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Embedding:
    """Made of length one, so that a product of two is their cosine."""
    (output,) = raw.values()
    width = output.shape[1]
    row, column = nodes.reshape(output.tensor, 0, 1, -1), nodes.reshape(output.tensor, 0, -1, 1)
    length = nodes.op("Sqrt", nodes.reshape(nodes.op("MatMul", row, column), 0, 1))
    safe = nodes.op("Max", length, nodes.constant(1e-12))
    return Embedding(nodes.op("Div", output.tensor, safe), width)

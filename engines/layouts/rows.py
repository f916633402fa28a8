"""Candidates that lie in rows: the two forms that most families come down to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engines.layouts import Candidates, Raw
from engines.network import Network
from engines.nodes import Nodes

__all__ = ["faces", "fits", "labelled", "padded", "scored"]

Decode = Callable[[str], dict[str, str]]

ROOM = 300  # rows that an output of open length is given


def scored(
    nodes: Nodes, scores: str, shape: tuple[int, int], decode: Decode, prototypes: str = ""
) -> Candidates:
    """Places with a score for each class: scores (B, N, C), shape (N, C); ``decode`` gives the rest."""
    count, classes = shape

    def pick(index: str) -> dict[str, str]:
        return decode(index) | {"probabilities": nodes.rows(scores, index, classes)}

    return Candidates(count, classes, nodes.largest(scores, 2), lambda: scores, pick, prototypes)


def labelled(
    nodes: Nodes, scores: str, labels: str, shape: tuple[int, int], decode: Decode, prototypes: str = ""
) -> Candidates:
    """Places with one class each: scores and labels (B, N), shape (N, C); ``decode`` gives the rest."""
    count, classes = shape

    def pick(index: str) -> dict[str, str]:
        return decode(index) | {"classes": nodes.entries(labels, index)}

    return Candidates(count, classes, scores, lambda: scores, pick, prototypes, labelled=True)


def padded(nodes: Nodes, tensor: str, width: int, fill: float) -> str:
    """From (1, n, width) or (n, width) of any n to (1, n + `ROOM`, width), the new rows all ``fill``.

    A width of 0 stands for no such axis: (1, n) or (n,) becomes (1, n + `ROOM`).
    """
    flat = nodes.reshape(tensor, -1, width) if width else nodes.reshape(tensor, -1)
    room = nodes.constant([[fill] * width] * ROOM if width else [fill] * ROOM)
    whole = nodes.op("Concat", flat, room, axis=0)
    return nodes.reshape(whole, 1, -1, width) if width else nodes.reshape(whole, 1, -1)


def faces(network: Network) -> dict[str, Raw]:
    """The outputs of a network as `Raw`, before there is a graph to decode them in."""
    return {output.name: Raw(output.name, output.shape, output.dtype) for output in network.outputs}


def fits(known: Mapping[str, Any], **found: Any) -> bool:
    """Whether what is known of a model agrees: the task, and how many classes and keypoints there are."""
    if "task" in found and known.get("task", found["task"]) != found["task"]:
        return False
    return all(
        key not in found or len(known.get(key, range(found[key]))) == found[key]
        for key in ("classes", "keypoints")
    )

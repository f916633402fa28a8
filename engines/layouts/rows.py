"""Candidates that lie in rows: the three forms that most families come down to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from engines.errors import WorkError
from engines.facts import names_for
from engines.layouts import Candidates, Raw
from engines.network import Network
from engines.nodes import Nodes

__all__ = [
    "assumed",
    "centred",
    "closed",
    "column",
    "faces",
    "fits",
    "keypoints",
    "labelled",
    "objects",
    "points",
    "ranks",
    "scored",
    "unused",
]

Decode = Callable[[str], dict[str, str]]


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
    """Places with one class each: scores and labels (B, N), shape (N, C); ``decode`` gives the rest.

    A label that is no class, such as a background's, leaves its place without a score.
    """
    count, classes = shape
    low, high = (
        nodes.op("Less", *pair)
        for pair in ((nodes.constant(-0.5), labels), (labels, nodes.constant(classes - 0.5)))
    )
    scores = nodes.op("Where", nodes.op("And", low, high), scores, nodes.constant(-1))

    def pick(index: str) -> dict[str, str]:
        return decode(index) | {"classes": nodes.entries(labels, index)}

    return Candidates(count, classes, scores, lambda: scores, pick, prototypes, labelled=True)


def objects(
    nodes: Nodes, output: Raw, classes: int, boxes: Callable[[str, str], str], prototypes: str = ""
) -> Candidates:
    """Places with a box, objectness and C probabilities, (B, N, 5 + C), then coefficients if ``prototypes``.

    The score is objectness times probability. ``boxes`` decodes rows (B, K, ..), which it gets with their
    index (B, K).
    """
    _, count, width = output.shape
    objectness = nodes.slice(output.tensor, 2, 4, 5)
    probabilities = nodes.slice(output.tensor, 2, 5, 5 + classes)
    best = nodes.op("Mul", nodes.largest(probabilities, 2), nodes.reshape(objectness, 0, -1))

    def pick(index: str) -> dict[str, str]:
        rows = nodes.rows(output.tensor, index, width)
        picked = {"boxes": boxes(rows, index), "probabilities": nodes.slice(rows, 2, 5, 5 + classes)}
        if prototypes:
            picked["coefficients"] = nodes.slice(rows, 2, 5 + classes, width)
        return picked

    def every() -> str:
        return nodes.op("Mul", probabilities, objectness)

    return Candidates(count, classes, best, every, pick, prototypes)


def centred(nodes: Nodes, rows: str) -> str:
    """Boxes (B, K, 4) xyxy of rows (B, K, ..) that begin with cx, cy, w, h."""
    return nodes.corners(nodes.slice(rows, 2, 0, 2), nodes.slice(rows, 2, 2, 4))


def column(nodes: Nodes, rows: str, number: int) -> str:
    """One column (B, n) of rows (B, n, ..)."""
    return nodes.reshape(nodes.slice(rows, 2, number, number + 1), 0, -1)


def closed(nodes: Nodes, raw: Raw, *rest: int, exact: bool = False) -> tuple[str, int]:
    """Rows (B, n, *rest) of which `Candidates` can take n, and n; the file need not tell what they measure.

    Of an open number there are as many and `Nodes.room` more, all -1, or if ``exact`` `Nodes.room` in all.
    Where the axis of the batch lacks, they are one picture's: WorkError for a batch of more.
    """
    axis = len(raw.shape) - len(rest) - 1
    if not axis and nodes.batch > 1:
        raise WorkError(f"batch: {nodes.batch}, all rows that leave are of one picture: 1 is right")
    count = raw.shape[axis]
    batch = 0 if axis == 1 else nodes.batch  # 0: as it is, so that fewer pictures can come
    told = raw.shape[1:] == (count, *rest)
    tensor = raw.tensor if told else nodes.reshape(raw.tensor, batch, -1, *rest)
    if count:
        return tensor, count
    if raw.shape[0]:
        lead = nodes.slice(nodes.op("Shape", tensor), 0, 0, 1)
    else:  # then the room makes it known
        lead = nodes.constant([nodes.batch], "int64")
    shape = nodes.op("Concat", lead, nodes.constant([nodes.room, *rest], "int64"), axis=0)
    # not by Pad: in OpenVINO 2026.4 one of no rows ends the process
    room = nodes.op("Expand", nodes.constant(np.full([1] * (len(rest) + 2), -1)), shape)
    rows = nodes.op("Concat", tensor, room, axis=1)
    return nodes.slice(rows, 1, 0, nodes.room) if exact else rows, nodes.room


def keypoints(nodes: Nodes, raw: Raw, index: str, joints: int) -> str:
    """Keypoints (B, K, J, 3) by index (B, K), from rows (B, n, J, 3) as `closed` takes them."""
    width = joints * 3
    flat = nodes.reshape(closed(nodes, raw, joints, 3)[0], 0, -1, width)
    return points(nodes, nodes.rows(flat, index, width), joints, width)


def faces(network: Network) -> dict[str, Raw]:
    """The outputs of a network as `Raw`, before there is a graph to decode them in."""
    return {output.name: Raw(output.name, output.shape, output.dtype) for output in network.outputs}


def points(nodes: Nodes, values: str, joints: int, width: int) -> str:
    """(B, K, J * 2 or 3) to keypoints (B, K, J, 3); those without visibility are all visible."""
    laid = nodes.reshape(values, 0, 0, joints, width // joints)
    return laid if width // joints == 3 else nodes.visible(laid)


def ranks(network: Network, **wanted: int) -> bool:
    """Whether outputs of these names have so many axes."""
    found = {output.name: len(output.shape) for output in network.outputs}
    return all(found.get(name) == rank for name, rank in wanted.items())


def assumed(known: Mapping[str, Any], count: int) -> dict[str, Any]:
    """COCO's names where nothing tells how many classes there are, and the note on it."""
    if "classes" in known:
        return {}
    note = f"classes: the file does not tell them, COCO's {count} are assumed; a card can say others"
    return {"classes": names_for(count), "notes": (note,)}


def unused(network: Network, used: Collection[str]) -> tuple[str, ...]:
    """The note on outputs that a layout leaves aside."""
    left = [output.name for output in network.outputs if output.name not in used]
    return (f"layout: what leaves as {', '.join(left)} is not used",) if left else ()


def fits(known: Mapping[str, Any], **found: Any) -> bool:
    """Whether what is known of a model agrees: the task, and how many classes and keypoints there are."""
    if "task" in found and known.get("task", found["task"]) != found["task"]:
        return False
    return all(
        key not in found or len(known.get(key, range(found[key]))) == found[key]
        for key in ("classes", "keypoints")
    )

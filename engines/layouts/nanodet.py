"""Outputs of NanoDet: probabilities, and the four distances of a cell to its box as distributions.

A distance is the mean of its bins 0, 1, ..., weighted by their softmax, in strides (Generalized Focal Loss,
arXiv 2006.04388). NanoDet-m leaves a pair of outputs for each of its three grids, NanoDet-Plus one output
(B, N, C + 4 * bins) for its four; distances are counted from the middle of a cell, in Plus from its corner.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from engines.facts import names_for
from engines.layouts import Candidates, Raw, cells, grids
from engines.layouts.rows import faces, fits, scored
from engines.network import Network
from engines.nodes import Nodes
from engines.spec import ModelSpec

__all__ = ["decode", "decode_plus", "recognise", "recognise_plus"]

_STRIDES = (8, 16, 32)
_PLUS_STRIDES = (8, 16, 32, 64)
_BINS = 8  # of every published NanoDet
_PREPROCESSING = {
    "resize": "stretch",
    "colour": "bgr",
    "scale": 1.0,
    "mean": (103.53, 116.28, 123.675),
    "std": (57.375, 57.12, 58.395),
    "iou": 0.6,
}


def recognise(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """By a pair of outputs for each grid, the distances 4 * 8 wide."""
    pairs = _pairs(faces(network), known["size"])
    if pairs is None:
        return None
    classes = pairs[0][0].shape[2]
    if not fits(known, task="detect", classes=classes):
        return None
    return {"task": "detect", "classes": names_for(classes), **_PREPROCESSING}


def decode(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Grids end to end, then as one."""
    pairs = _pairs(raw, spec.size) or []
    scores = nodes.op("Concat", *[pair[0].tensor for pair in pairs], axis=1)
    distances = nodes.op("Concat", *[pair[1].tensor for pair in pairs], axis=1)
    classes = pairs[0][0].shape[2]
    return _decode(nodes, spec, scores, distances, classes, _STRIDES, 0.5)


def recognise_plus(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """By one row for each cell of four grids."""
    shapes = [output.shape for output in network.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 3 or shapes[0][1] != cells(known["size"], _PLUS_STRIDES):
        return None
    classes = shapes[0][2] - 4 * _BINS
    if classes < 1 or not fits(known, task="detect", classes=classes):
        return None
    return {"task": "detect", "classes": names_for(classes), **_PREPROCESSING}


def decode_plus(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Probabilities first, then distances."""
    (output,) = raw.values()
    width = output.shape[2]
    classes = width - 4 * _BINS
    scores = nodes.slice(output.tensor, 2, 0, classes)
    distances = nodes.slice(output.tensor, 2, classes, width)
    return _decode(nodes, spec, scores, distances, classes, _PLUS_STRIDES, 0.0)


def _decode(
    nodes: Nodes,
    spec: ModelSpec,
    scores: str,
    distances: str,
    classes: int,
    strides: tuple[int, ...],
    middle: float,
) -> Candidates:
    table = grids(spec.size, strides)
    table[:, :2] = (table[:, :2] + middle) * table[:, 2:]  # centres in pixels

    def boxes(index: str) -> dict[str, str]:
        bins = nodes.reshape(nodes.rows(distances, index, 4 * _BINS), 0, 0, 4, _BINS)
        weights = nodes.op("Softmax", bins, axis=3)
        means = nodes.op("MatMul", weights, nodes.constant(np.arange(_BINS).reshape(_BINS, 1)))
        places = nodes.look_up(table, index)
        reach = nodes.op("Mul", nodes.reshape(means, 0, 0, 4), nodes.slice(places, 2, 2, 3))
        centres = nodes.slice(places, 2, 0, 2)
        low = nodes.op("Sub", centres, nodes.slice(reach, 2, 0, 2))
        high = nodes.op("Add", centres, nodes.slice(reach, 2, 2, 4))
        return {"boxes": nodes.op("Concat", low, high, axis=2)}

    return scored(nodes, scores, (len(table), classes), boxes)


def _pairs(raw: Mapping[str, Raw], size: tuple[int, int]) -> list[tuple[Raw, Raw]] | None:
    """(probabilities, distances) of each grid; where C is 4 * 8 too, names tell."""
    pairs = []
    for stride in _STRIDES:
        count = cells(size, (stride,))
        mine = {name: output for name, output in raw.items() if output.shape[1:2] == (count,)}
        if len(mine) != 2 or any(len(output.shape) != 3 for output in mine.values()):
            return None
        wide = [name for name, output in mine.items() if output.shape[2] == 4 * _BINS]
        if len(wide) == 2:
            wide = [name for name in wide if "dis" in name or "reg" in name]
        if len(wide) != 1:
            return None
        (rest,) = set(mine) - set(wide)
        pairs.append((mine[rest], mine[wide[0]]))
    return pairs if len(raw) == 2 * len(_STRIDES) else None

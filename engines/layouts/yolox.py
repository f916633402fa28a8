"""Outputs of YOLOX exports: one row per cell of three grids, not yet decoded.

(B, N, 5 + C): centre as (p + cell) * stride, size as exp(p) * stride, objectness, C probabilities; the score
is objectness times probability. Source: YOLOX, arXiv 2107.08430, and the contract of its ONNX export, which
takes BGR 0..255 with the picture at the top left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.facts import names_for
from engines.layouts import Candidates, Raw, cells
from engines.network import Network
from engines.nodes import Nodes
from engines.spec import ModelSpec

__all__ = ["decode", "recognise"]

_STRIDES = (8, 16, 32)


def recognise(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """Theirs is one output, rows first, one row per cell of three grids."""
    shapes = [output.shape for output in network.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 3 or shapes[0][1] != cells(known["size"], _STRIDES):
        return None
    classes = shapes[0][2] - 5
    if classes < 1 or len(known.get("classes", names_for(classes))) != classes:
        return None
    if known.get("task", "detect") != "detect":
        return None
    return {
        "task": "detect",
        "classes": names_for(classes),
        "resize": "letterbox-topleft",
        "colour": "bgr",
        "scale": 1.0,
    }


def decode(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Boxes from cell, stride and exponent, of the rows picked."""
    (output,) = raw.values()
    _, count, width = output.shape
    objectness = nodes.slice(output.tensor, 2, 4, 5)
    probabilities = nodes.slice(output.tensor, 2, 5, width)
    best = nodes.op("Mul", nodes.largest(probabilities, 2), nodes.reshape(objectness, 0, -1))

    def pick(index: str) -> dict[str, str]:
        rows = nodes.rows(output.tensor, index, width)
        cells = nodes.look_up(_grids(spec.size), index)  # (B, K, 3): column, row, stride
        stride = nodes.slice(cells, 2, 2, 3)
        corner = nodes.op("Add", nodes.slice(rows, 2, 0, 2), nodes.slice(cells, 2, 0, 2))
        sizes = nodes.op("Exp", nodes.slice(rows, 2, 2, 4))
        return {
            "boxes": nodes.corners(nodes.op("Mul", corner, stride), nodes.op("Mul", sizes, stride)),
            "probabilities": nodes.slice(rows, 2, 5, width),
        }

    def every() -> str:
        return nodes.op("Mul", probabilities, objectness)

    return Candidates(count, width - 5, best, every, pick)


def _grids(size: tuple[int, int]) -> NDArray[np.float32]:
    """Column, row and stride (N, 3) of each cell, grid after grid, row after row."""
    grids = []
    for stride in _STRIDES:
        rows, columns = np.mgrid[: size[1] // stride, : size[0] // stride].reshape(2, -1)
        grids.append(np.stack([columns, rows, np.full_like(rows, stride)], 1))
    return np.concatenate(grids).astype(np.float32)

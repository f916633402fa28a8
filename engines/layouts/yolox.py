"""Outputs of YOLOX exports: one row per cell of three grids, not yet decoded, or decoded in its graph.

(B, N, 5 + C): centre as (p + cell) * stride, size as exp(p) * stride, objectness, C probabilities; the score
is objectness times probability. Source: YOLOX, arXiv 2107.08430, and the contract of its ONNX export, which
takes BGR 0..255 with the picture at the top left. Undecoded numbers leave as its convolutions gave them; a
graph that decodes (cx, cy, w, h in pixels) takes an exponent after them. YOLOv6's rows look the same, decoded
without one, and are of RGB 0..1: only a card says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines.facts import names_for
from engines.layouts import Candidates, Raw, UnsureError, cells, grids
from engines.layouts.evidence import is_decoded_by_exp, is_undecoded
from engines.layouts.rows import centred, fits, objects
from engines.network import Network
from engines.nodes import Nodes
from engines.spec import ModelSpec

__all__ = ["decode", "decode_decoded", "recognise", "recognise_decoded"]


def recognise(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """Theirs is one output, rows first, one row per cell of three grids."""
    return _rows(network, known, "yolox")


def recognise_decoded(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """The same rows, from a graph that has taken the exponent."""
    return _rows(network, known, "yolox-decoded")


def decode(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Boxes from cell, stride and exponent, of the rows picked."""
    (output,) = raw.values()
    table = grids(spec.size)

    def boxes(rows: str, index: str) -> str:
        cells = nodes.look_up(table, index)  # (B, K, 3): column, row, stride
        stride = nodes.slice(cells, 2, 2, 3)
        corner = nodes.op("Add", nodes.slice(rows, 2, 0, 2), nodes.slice(cells, 2, 0, 2))
        sizes = nodes.op("Exp", nodes.slice(rows, 2, 2, 4))
        return nodes.corners(nodes.op("Mul", corner, stride), nodes.op("Mul", sizes, stride))

    return objects(nodes, output, output.shape[2] - 5, boxes)


def decode_decoded(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Corners from centres and sizes, of the rows picked."""
    (output,) = raw.values()
    return objects(nodes, output, output.shape[2] - 5, lambda rows, _: centred(nodes, rows))


def _rows(network: Network, known: Mapping[str, Any], layout: str) -> dict[str, Any] | None:
    shapes = [output.shape for output in network.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 3 or shapes[0][1] != cells(known["size"]):
        return None
    classes = shapes[0][2] - 5
    if classes < 1 or not fits(known, task="detect", classes=classes):
        return None
    if "layout" not in known:
        proved = [
            name
            for name, seen in (("yolox", is_undecoded), ("yolox-decoded", is_decoded_by_exp))
            if seen(network)
        ]
        if not proved:
            raise UnsureError(
                "the graph does not tell whether their boxes are decoded already (in YOLOv6 they are)"
            )
        if layout not in proved:
            return None
    return {
        "task": "detect",
        "classes": names_for(classes),
        "resize": "letterbox-topleft",
        "colour": "bgr",
        "scale": 1.0,
    }

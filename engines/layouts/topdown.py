"""Outputs of top-down pose estimators, which look at one person at a time: the picture is the person.

One row leaves for each picture: the box is the whole input, and the score the mean confidence of the joints.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from engines.facts import keypoints_for
from engines.layouts import Candidates, Raw
from engines.layouts.rows import fits, labelled, ranks
from engines.network import Network
from engines.nodes import Nodes
from engines.spec import ModelSpec

__all__ = ["decode_heatmaps", "decode_simcc", "recognise_heatmaps", "recognise_simcc"]

_CELL = 4  # input pixels of a heatmap's cell
_JOINTS = 17  # known by their number
_COMMON = {
    "task": "pose",
    "classes": ("person",),
    "pad": 0,
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "iou": 1.0,
    "conf": 0.0,  # the person is known to be there
}


def recognise_heatmaps(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """SimpleBaseline and HRNet: (B, 17, H / 4, W / 4). Other numbers of joints need a card."""
    shapes = [output.shape for output in network.outputs]
    width, height = known["size"]
    if len(shapes) != 1 or shapes[0][2:] != (height // _CELL, width // _CELL):
        return None
    joints = shapes[0][1]
    if joints != len(known.get("keypoints", range(_JOINTS))) or not fits(known, task="pose", classes=1):
        return None
    return {**_COMMON, **keypoints_for(joints)}


def decode_heatmaps(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """The highest cell, a quarter towards its higher neighbour. Source: SimpleBaseline, arXiv 1804.06208."""
    (output,) = raw.values()
    height, width = output.shape[2:]
    flat = nodes.reshape(output.tensor, 0, 0, -1)
    place = nodes.op("ArgMax", flat, axis=2, keepdims=1)
    columns = nodes.constant(width, "int64")
    x, y = nodes.op("Mod", place, columns), nodes.op("Div", place, columns)
    steps = [
        _towards(nodes, flat, place, where, limit, step)
        for where, limit, step in ((x, width, 1), (y, height, width))
    ]
    points = [
        nodes.scaled(nodes.op("Add", nodes.cast(where, "float32"), shift), _CELL)
        for where, shift in zip((x, y), steps, strict=True)
    ]
    return _person(nodes, spec, [*points, nodes.op("GatherElements", flat, place, axis=2)])


def recognise_simcc(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """RTMPose: a row of half-pixel bins for each joint and axis, by the names of the outputs."""
    shapes = {output.name: output.shape for output in network.outputs}
    if set(shapes) != {"simcc_x", "simcc_y"} or not ranks(network, simcc_x=3, simcc_y=3):
        return None
    joints = shapes["simcc_x"][1]
    if shapes["simcc_y"][1] != joints:
        return None
    if not fits(known, task="pose", classes=1, keypoints=joints):
        return None
    return {**_COMMON, **keypoints_for(joints)}


def decode_simcc(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """The highest bin of each axis; a joint is as sure as the mean of its two bins. Source: rtmlib."""
    points, peaks = [], []
    for name, length in (("simcc_x", spec.size[0]), ("simcc_y", spec.size[1])):
        bins = raw[name].tensor
        place = nodes.op("ArgMax", bins, axis=2, keepdims=1)
        points.append(nodes.scaled(nodes.cast(place, "float32"), length / raw[name].shape[2]))
        peaks.append(nodes.op("GatherElements", bins, place, axis=2))
    sure = nodes.scaled(nodes.op("Add", *peaks), 0.5)
    return _person(nodes, spec, [*points, sure])


def _towards(nodes: Nodes, flat: str, place: str, where: str, limit: int, step: int) -> str:
    """A quarter of the sign of the slope at a place, 0 at the border."""
    steps = nodes.constant([step if 0 < at < limit - 1 else 0 for at in range(limit)], "int64")
    reach = nodes.op("Gather", steps, where, axis=0)  # a table: opset 11 has no Min of integers
    after = nodes.op("GatherElements", flat, nodes.op("Add", place, reach), axis=2)
    before = nodes.op("GatherElements", flat, nodes.op("Sub", place, reach), axis=2)
    return nodes.scaled(nodes.op("Sign", nodes.op("Sub", after, before)), 0.25)


def _person(nodes: Nodes, spec: ModelSpec, columns: list[str]) -> Candidates:
    """One row from x, y and confidence (B, J, 1) of each joint."""
    joints = len(spec.keypoints)
    points = nodes.op("Concat", *columns, axis=2)
    share = nodes.constant(np.full((joints, 1), 1 / joints))
    score = nodes.op("MatMul", nodes.reshape(columns[2], 0, joints), share)  # (B, 1)
    nothing = nodes.reshape(nodes.scaled(score, 0), 0, 1, 1)
    whole = nodes.constant([[[0, 0, *spec.size]]])

    def person(index: str) -> dict[str, str]:
        return {
            "boxes": nodes.op("Add", nothing, whole),
            "keypoints": nodes.reshape(points, 0, 1, joints, 3),
        }

    return labelled(nodes, score, nodes.scaled(score, 0), (1, 1), person)

"""Outputs of YOLACT and of YolactEdge on one picture: offsets, probabilities, coefficients, prototypes.

loc (B, N, 4), conf (B, N, 1 + C) whose first column is the background, mask (B, N, P) and proto (B, h, w, P)
or (B, P, h, w); priors (N, 4) beside them are not needed. A mask is positive where the prototypes weighted by
its coefficients are. Source: YOLACT, arXiv 1904.02689.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines.facts import names_for
from engines.layouts import Candidates, Raw, priors
from engines.layouts.rows import faces, fits, scored
from engines.network import Network
from engines.nodes import Nodes
from engines.spec import ModelSpec

__all__ = ["decode", "recognise"]

_VARIANCES = (0.1, 0.2)


def recognise(network: Network, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """By the number of priors, and widths that fit the prototypes."""
    parts = _parts(faces(network), len(priors.yolact(known["size"])))
    if parts is None or not fits(known, task="segment", classes=parts["conf"].shape[2] - 1):
        return None
    return {
        "task": "segment",
        "classes": names_for(parts["conf"].shape[2] - 1),
        "resize": "stretch",
        "scale": 1.0,
        "mean": (123.68, 116.78, 103.94),
        "std": (58.4, 57.12, 57.38),
        "iou": 0.5,
    }


def decode(nodes: Nodes, spec: ModelSpec, raw: Mapping[str, Raw]) -> Candidates:
    """Boxes from offsets and priors; prototypes with their planes first."""
    table = priors.yolact(spec.size)
    parts = _parts(raw, len(table)) or {}
    _, count, width = parts["conf"].shape
    depth = parts["mask"].shape[2]
    prototypes = parts["proto"].tensor
    if parts["proto"].shape[1] != depth:
        prototypes = nodes.transpose(prototypes, 0, 3, 1, 2)

    def places(index: str) -> dict[str, str]:
        offsets = nodes.rows(parts["loc"].tensor, index, 4)
        return {
            "boxes": priors.centre_size(nodes, offsets, nodes.look_up(table, index), _VARIANCES),
            "coefficients": nodes.rows(parts["mask"].tensor, index, depth),
        }

    scores = nodes.slice(parts["conf"].tensor, 2, 1, width)
    return scored(nodes, scores, (count, width - 1), places, prototypes)


def _parts(raw: Mapping[str, Raw], count: int) -> dict[str, Raw] | None:
    """The outputs by what they are; names tell where widths are equal."""
    rows = {name: output for name, output in raw.items() if output.shape[1:2] == (count,)}
    planes = [output for output in raw.values() if len(output.shape) == 4]
    if len(rows) != 3 or len(planes) != 1:
        return None
    if set(rows) == {"loc", "conf", "mask"}:
        return {**rows, "proto": planes[0]}
    depths = {planes[0].shape[1], planes[0].shape[3]}
    loc = [output for output in rows.values() if output.shape[2] == 4]
    mask = [output for output in rows.values() if output.shape[2] in depths]
    rest = [output for output in rows.values() if output not in loc + mask]
    if (len(loc), len(mask), len(rest)) != (1, 1, 1):
        return None
    return {"loc": loc[0], "mask": mask[0], "conf": rest[0], "proto": planes[0]}

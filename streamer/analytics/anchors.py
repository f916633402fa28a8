"""Anchors: the point of a box that stands for its thing."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engines.detections import Detections

__all__ = ["ANCHORS", "Anchor", "anchors", "confirmed"]

Anchor = Literal["feet", "centre", "head", "left", "right"]
ANCHORS: dict[str, tuple[float, float]] = {  # shares of width and height, from the top left corner
    "feet": (0.5, 1.0),
    "centre": (0.5, 0.5),
    "head": (0.5, 0.0),
    "left": (0.0, 0.5),
    "right": (1.0, 0.5),
}
HAIR = 1 / 64  # pixels; boxes end where their picture does, and a polygon's last row and column are outside


def anchors(boxes: NDArray[np.float32], anchor: Anchor) -> NDArray[np.float64]:
    """Return the (N,2) points of (N,4) xyxy boxes, a hair within their edges.

    Who stands at the picture's edge is so inside a zone that ends there, and who stands on the edge between
    two zones is still in one of them only.
    """
    low, high = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64)
    hair = np.minimum(HAIR, (high - low) / 2)
    points: NDArray[np.float64] = np.clip(low + (high - low) * ANCHORS[anchor], low + hair, high - hair)
    return points


def confirmed(found: Detections, classes: tuple[int, ...]) -> Detections:
    """Return the rows that have a track, of these classes or, if none are named, of all."""
    keep = found.ids >= 0
    return found[keep & np.isin(found.classes, classes)] if classes else found[keep]

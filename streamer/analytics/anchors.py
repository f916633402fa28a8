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


def anchors(boxes: NDArray[np.float32], anchor: Anchor) -> NDArray[np.float64]:
    """Return the (N,2) points of (N,4) xyxy boxes."""
    low, high = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64)
    return low + (high - low) * ANCHORS[anchor]


def confirmed(found: Detections, classes: tuple[int, ...]) -> Detections:
    """Return the rows that have a track, of these classes or, if none are named, of all."""
    keep = found.ids >= 0
    return found[keep & np.isin(found.classes, classes)] if classes else found[keep]

"""Keypoints: joints and the limbs between them, coloured by body side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.spec import ModelSpec
from streamer.frame import Frame
from streamer.overlay.canvas import Canvas
from streamer.overlay.palette import PALETTE, WHITE, Rgb
from streamer.overlay.style import style_for

__all__ = ["Keypoints"]

SIDES: dict[str, Rgb] = {"left": (255, 150, 30), "right": (50, 170, 255), "": (120, 235, 110)}


class Keypoints:
    """An overlay that knows the skeleton of a model; points less visible than ``threshold`` are left out."""

    def __init__(self, spec: ModelSpec, *, threshold: float = 0.5) -> None:
        self._threshold = threshold
        self._limbs: NDArray[np.intp] = np.array(spec.skeleton, np.intp).reshape(-1, 2)
        self._limb_colours = _limb_colours(spec)

    def __call__(self, canvas: Canvas, frame: Frame) -> None:
        """Draw the limbs whose two ends are seen, then the points over them."""
        points = frame.detections.keypoints
        if not points.size:
            return
        style = style_for(canvas.size)
        xy = points[..., :2]
        with np.errstate(invalid="ignore"):
            seen = (points[..., 2] > self._threshold) & np.isfinite(xy).all(axis=-1)
        limbs = self._limbs[(self._limbs < points.shape[1]).all(axis=1)]
        rows, which = np.nonzero(seen[:, limbs[:, 0]] & seen[:, limbs[:, 1]])
        ends = limbs[which]
        colours = [self._limb_colours[limb] for limb in which.tolist()]
        canvas.lines(xy[rows, ends[:, 0]], xy[rows, ends[:, 1]], colours, style.limb)
        joints = xy[seen]
        canvas.discs(joints, [WHITE] * len(joints), style.dot)


def _limb_colours(spec: ModelSpec) -> list[Rgb]:
    """By the side that both ends name, where the points have sides at all; else one after the other."""
    sides = [next((side for side in ("left", "right") if side in name), "") for name in spec.keypoints]
    if not any(sides):
        return [PALETTE[limb % len(PALETTE)] for limb in range(len(spec.skeleton))]
    return [SIDES[sides[a] if sides[a] == sides[b] else ""] for a, b in spec.skeleton]

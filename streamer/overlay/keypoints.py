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

SIDES: dict[str, Rgb] = {"left": (255, 150, 30), "right": (50, 170, 255)}
CENTRE: Rgb = (120, 235, 110)


class Keypoints:
    """An overlay that knows the skeleton of a model; points less visible than ``threshold`` are left out."""

    def __init__(self, spec: ModelSpec, *, threshold: float = 0.5) -> None:
        self._threshold = threshold
        self._limbs: NDArray[np.intp] = np.array(spec.skeleton, np.intp).reshape(-1, 2)
        self._colours = _limb_colours(spec)

    def __call__(self, canvas: Canvas, frame: Frame) -> None:
        """Draw the limbs whose two ends are seen, then the points over them."""
        points = frame.detections.keypoints
        if not points.size:
            return
        style, xy = style_for(canvas.size), points[..., :2]
        seen = (points[..., 2] > self._threshold) & np.isfinite(points).all(axis=-1)
        rows, limbs = np.nonzero(seen[:, self._limbs].all(axis=-1))
        ends = self._limbs[limbs]
        colours = [self._colours[limb] for limb in limbs.tolist()]
        canvas.lines(xy[rows, ends[:, 0]], xy[rows, ends[:, 1]], colours, style.limb)
        joints = xy[seen]
        canvas.discs(joints, [WHITE] * len(joints), style.dot)


def _limb_colours(spec: ModelSpec) -> list[Rgb]:
    """By the side that both ends name, where the points have sides at all; else one colour for each."""
    sides = [next((side for side in SIDES if side in name), "") for name in spec.keypoints]
    if not any(sides):
        return [PALETTE[limb % len(PALETTE)] for limb in range(len(spec.skeleton))]
    return [SIDES.get(sides[a], CENTRE) if sides[a] == sides[b] else CENTRE for a, b in spec.skeleton]

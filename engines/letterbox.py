"""Where a picture lies inside a model's input: the geometry of letterbox and stretch, and its inverse."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from engines.spec import Resize

__all__ = ["Placement", "place"]


@dataclass(frozen=True, slots=True)
class Placement:
    """A picture of ``source`` pixels scaled to ``size`` and laid at (left, top) of the model's input."""

    source: tuple[int, int]  # width, height of the picture
    size: tuple[int, int]  # width, height it is scaled to
    left: int
    top: int

    def to_source(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map (..., 2) x,y from input pixels to the picture's own; not clipped."""
        offset, gain = _affine(self)
        return ((points - offset) * gain).astype(np.float32, copy=False)

    def to_input(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map (..., 2) x,y from the picture's pixels to input pixels."""
        offset, gain = _affine(self)
        return (points / gain + offset).astype(np.float32, copy=False)


def place(source: tuple[int, int], target: tuple[int, int], rule: Resize) -> Placement:
    """Lay a picture of ``source`` (width, height) into an input of ``target`` (width, height) by ``rule``."""
    if rule == "stretch":
        return Placement(source, target, 0, 0)
    ratio = min(target[0] / source[0], target[1] / source[1])
    width, height = max(round(source[0] * ratio), 1), max(round(source[1] * ratio), 1)
    if rule == "letterbox-topleft":
        return Placement(source, (width, height), 0, 0)
    left, top = round((target[0] - width) / 2 - 0.1), round((target[1] - height) / 2 - 0.1)
    return Placement(source, (width, height), left, top)


@lru_cache
def _affine(placement: Placement) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what to take away from a point of the input, and the pixels of the picture per pixel of it."""
    (width, height), (wide, high) = placement.source, placement.size
    offset = np.array([placement.left, placement.top], np.float32)
    return offset, np.array([width / wide, height / high], np.float32)

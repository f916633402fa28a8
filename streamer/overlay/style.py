"""Style: how thick, tall and round things are drawn in a picture of a given size."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

__all__ = ["Style", "style_for"]


@dataclass(frozen=True, slots=True)
class Style:
    """Measures in luma pixels; ``line`` is even, so that outlines fall on the grid of any chroma plane."""

    line: int  # width of a box's outline
    text: int  # height of a capital letter
    padding: int  # between a text and the edge of its tag
    radius: int  # of a tag's corners
    limb: float  # width of a skeleton's lines
    dot: float  # radius of a keypoint
    contour: int  # width of the window, odd, that a mask's contour is found with


@lru_cache
def style_for(size: tuple[int, int]) -> Style:
    """Return measures that are legible in a picture of ``size`` (width, height), from 320x180 to 4K.

    They grow more slowly than the picture: a larger one is also looked at on a larger screen.
    """
    side = min(size)
    text = round(5.7 + side / 100)
    return Style(
        line=2 * max(1, round(side / 640)),
        text=text,
        padding=max(3, round(text * 0.45)),
        radius=max(2, round(text * 0.3)),
        limb=max(3.0, side / 240),
        dot=max(2.2, side / 210),
        contour=2 * max(1, round(side / 540)) + 1,
    )

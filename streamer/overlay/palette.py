"""Palette: which colour a class, a track or a limb has, and which ink can be read on it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from engines.detections import Detections
from streamer.frame import Matrix
from streamer.planes import from_rgb

__all__ = ["BLACK", "PALETTE", "WHITE", "Rgb", "Yuv", "colour_indices", "ink_on", "to_yuv"]

Rgb = tuple[int, int, int]  # R'G'B', 0..255
Yuv = tuple[int, int, int]  # 8-bit Y, Cb, Cr of one matrix and range

BLACK: Rgb = (0, 0, 0)
WHITE: Rgb = (255, 255, 255)

# Farthest points of the vivid sRGB colours of OKLab lightness .56 to .92, each as far as can be from those
# before it in the nearest of four views: normal, and protan, deutan and tritan by Machado et al. 2009.
PALETTE: tuple[Rgb, ...] = (
    (4, 196, 240),
    (238, 20, 1),
    (147, 34, 251),
    (245, 186, 38),
    (174, 254, 146),
    (12, 130, 191),
    (254, 123, 144),
    (172, 119, 250),
    (28, 182, 87),
    (233, 11, 202),
    (255, 232, 21),
    (42, 240, 213),
    (96, 130, 8),
    (199, 149, 18),
    (203, 14, 140),
    (253, 134, 227),
)


def colour_indices(detections: Detections) -> list[int]:
    """Return N rows of PALETTE: by track where there is an id, by class elsewhere."""
    rows = zip(detections.ids.tolist(), detections.classes.tolist(), strict=True)
    return [(number if number >= 0 else index) % len(PALETTE) for number, index in rows]


@lru_cache(maxsize=4096)
def to_yuv(rgb: Rgb, matrix: Matrix, full_range: bool) -> Yuv:
    """Return one colour as 8-bit Y, Cb, Cr."""
    dot = from_rgb(np.array([[rgb]], np.uint8), matrix=matrix, full_range=full_range)
    return int(dot.y[0, 0]), int(dot.u[0, 0]), int(dot.v[0, 0])


@lru_cache
def ink_on(rgb: Rgb) -> Rgb:
    """Return BLACK or WHITE, whichever is read more easily on ``rgb``.

    By relative luminance (WCAG 2.2, of linear light); the threshold lies above that formula's .18, which asks
    for black on saturated reds and violets, where people read white with less effort.
    """
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in rgb)
    ]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return BLACK if luminance > 0.27 else WHITE

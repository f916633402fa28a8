"""Glyphs: lines of text as coverage bitmaps, rendered once for each text and size."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Glyphs", "glyphs"]

FONT = (
    cv2.FONT_HERSHEY_SIMPLEX
)  # a stroke font in OpenCV 4, a TrueType face in OpenCV 5: measure, never assume
HAS_OUTLINES = hasattr(cv2, "FontFace")
REFERENCE = 4.0  # scale at which the height of a capital is measured
ABOVE, BELOW = 0.3, 0.4  # room over the capitals and under the base line, in heights of a capital


@dataclass(frozen=True, slots=True, eq=False)
class Glyphs:
    """One line of text; columns are cropped to the ink, rows are the same for every text of one height."""

    coverage: NDArray[np.uint8] = field(repr=False)  # (h, w), 255 = all ink
    cap_top: int  # row at which capitals begin
    base: int  # row under the last one of a capital: the base line


@lru_cache(maxsize=256)
def glyphs(text: str, height: int) -> Glyphs:
    """Render ``text`` with capitals ``height`` pixels tall; a text without ink is 0 columns wide."""
    above, below = round(height * ABOVE), round(height * BELOW)
    (scale, drop), weight = _fit(height), _weight(height)
    (width, _), _ = cv2.getTextSize(text, FONT, scale, weight)
    side = 2 * height
    image = np.zeros((above + height + below, width + 2 * side), np.uint8)
    cv2.putText(image, text, (side, above + height - drop), FONT, scale, 255, weight, cv2.LINE_AA)
    inked = np.flatnonzero(image.any(axis=0))
    columns = slice(inked[0], inked[-1] + 1) if inked.size else slice(0, 0)
    coverage = np.ascontiguousarray(image[:, columns])
    coverage.flags.writeable = False
    return Glyphs(coverage, above, above + height)


def _weight(height: int) -> int:
    """Stroke width for OpenCV 4; OpenCV 5 takes 1 for the regular face and anything more for the bold one."""
    return 2 if HAS_OUTLINES else max(1, round(height / 8))


@lru_cache
def _fit(height: int) -> tuple[float, int]:
    """Scale at which a capital is so tall, and how many rows under the origin it then ends."""
    weight = _weight(height)
    top, bottom = _rows_of_a_capital(REFERENCE, 1, 400)
    scale = height * REFERENCE / (bottom - top)
    top, bottom = _rows_of_a_capital(scale, weight, 4 * height)
    scale *= height / (bottom - top)  # strokes add their own width
    _, bottom = _rows_of_a_capital(scale, weight, 4 * height)
    return scale, bottom - 2 * height


def _rows_of_a_capital(scale: float, weight: int, side: int) -> tuple[int, int]:
    """First row and one past the last of an H whose origin is in the middle of a square."""
    image = np.zeros((side, side), np.uint8)
    cv2.putText(image, "H", (0, side // 2), FONT, scale, 255, weight, cv2.LINE_AA)
    rows = np.flatnonzero(image.max(axis=1) > 127)
    return int(rows[0]), int(rows[-1]) + 1

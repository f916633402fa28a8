"""Upright: from a decoded frame to planes with square pixels, the right way up."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from streamer import planes as pixels
from streamer.frame import Planes

if TYPE_CHECKING:
    import av

__all__ = ["UPRIGHT", "orientation", "upright"]

UPRIGHT = 1
BY_ROTATION = {0: UPRIGHT, 90: 8, 180: 3, 270: 6}  # degrees counter-clockwise -> EXIF orientation
_TINY = (16, 16)
SANE_ASPECT = (Fraction(1, 8), Fraction(8))  # beyond it a header is wrong rather than anamorphic


def upright(frame: av.VideoFrame, orientation: int, aspect: Fraction) -> Planes:
    """Return a frame's planes, scaled to square pixels (``aspect`` is a pixel's width to height) and upright.

    Height is kept and width scaled, to an even number; ``orientation`` is EXIF's, 1 to 8.
    """
    planes = pixels.from_video_frame(frame)
    if aspect != 1 and SANE_ASPECT[0] <= aspect <= SANE_ASPECT[1]:
        width, height = planes.size
        planes = pixels.scale(planes, (max(2 * round(width * aspect / 2), 2), height))
    return pixels.orient(planes, orientation)


def orientation(frame: av.VideoFrame) -> int:
    """Return the EXIF orientation that a frame's display matrix asks for, to the nearest right angle."""
    matrix = _display_matrix(frame)
    if matrix is None:
        return BY_ROTATION[round(frame.rotation / 90) * 90 % 360]
    a, b, c, d = matrix  # display x = a * x + c * y, display y = b * x + d * y
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return {(1, 1): 1, (-1, 1): 2, (-1, -1): 3, (1, -1): 4}[_sign(a), _sign(d)]
    return {(1, 1): 5, (-1, 1): 6, (-1, -1): 7, (1, -1): 8}[_sign(c), _sign(b)]


def _sign(value: int) -> int:
    return 1 if value > 0 else -1


def _display_matrix(frame: av.VideoFrame) -> tuple[int, int, int, int] | None:
    """Return the linear part of the display matrix, or None where PyAV shows none.

    A frame and its side data refer to each other until the garbage collector comes, and would keep all
    pictures of their decoder in memory: so a tiny copy is asked.
    """
    try:
        found = frame.reformat(*_TINY, interpolation="POINT").side_data["DISPLAYMATRIX"]  # type: ignore[typeddict-item]
        a, b, _, c, d = np.frombuffer(bytes(found), np.int32, 5).tolist()
    except (KeyError, ValueError):  # ValueError is raised for kinds newer than PyAV's list
        return None
    return a, b, c, d

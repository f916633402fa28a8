"""Fit: brings the pictures of a stream to what one H.264 stream can hold, without a copy where it can."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer import planes as pixels
from streamer.frame import Planes

__all__ = ["Fit"]

Plane = NDArray[np.uint8]


class Fit:
    """Makes every picture 4:2:0, of the even size, the matrix and the range that the first one had.

    4:2:0 is what every player decodes. It has no odd sizes, so an odd picture loses its last column or row:
    the pixels that stay keep their places. A picture of another size is letterboxed into the first one's.
    """

    def __init__(self, first: Planes) -> None:
        self.source = first.size
        self.matrix = first.matrix
        self.full_range = first.full_range

    @property
    def size(self) -> tuple[int, int]:
        """Width, height of every picture that comes out: even, at least 2."""
        width, height = self.source
        return max(width & ~1, 2), max(height & ~1, 2)

    def __call__(self, planes: Planes) -> Planes:
        """Return the picture, or the same planes where they already fit."""
        if (planes.matrix, planes.full_range) != (self.matrix, self.full_range):
            planes = self._recoloured(planes)
        if planes.size != self.source:
            return self._letterboxed(planes)
        if planes.subsampling == (2, 2) and planes.size == self.size:
            return planes
        width, height = self.size
        sx, sy = planes.subsampling
        u, v = (
            _shrunk(_cut(plane, width // sx, height // sy), _half(self.size))
            for plane in (planes.u, planes.v)
        )
        return Planes(_cut(planes.y, width, height), u, v, self.matrix, self.full_range)

    def _recoloured(self, planes: Planes) -> Planes:
        rgb = pixels.to_rgb(planes)
        return pixels.from_rgb(rgb, subsampling=(2, 2), matrix=self.matrix, full_range=self.full_range)

    def _letterboxed(self, planes: Planes) -> Planes:
        width, height = self.size
        ratio = min(width / planes.size[0], height / planes.size[1])
        inner = _even(planes.size[0] * ratio, width), _even(planes.size[1] * ratio, height)
        left, top = (width - inner[0]) // 4 * 2, (height - inner[1]) // 4 * 2
        y = _framed(planes.y, inner, (left, top), (width, height), 0 if self.full_range else 16)
        u, v = (
            _framed(plane, _half(inner), _half((left, top)), _half(self.size), 128)
            for plane in (planes.u, planes.v)
        )
        return Planes(y, u, v, self.matrix, self.full_range)


def _even(length: float, most: int) -> int:
    return min(max(round(length / 2) * 2, 2), most)


def _half(size: tuple[int, int]) -> tuple[int, int]:
    return size[0] // 2, size[1] // 2


def _framed(
    plane: Plane, inner: tuple[int, int], corner: tuple[int, int], size: tuple[int, int], level: int
) -> Plane:
    """Return the plane scaled to ``inner``, at ``corner`` of one of ``size`` filled with ``level``."""
    canvas = np.full(size[::-1], level, np.uint8)
    shrinks = inner[0] < plane.shape[1] and inner[1] < plane.shape[0]
    scaled = cv2.resize(plane, inner, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    canvas[corner[1] : corner[1] + inner[1], corner[0] : corner[0] + inner[0]] = scaled
    return canvas


def _cut(plane: Plane, width: int, height: int) -> Plane:
    """Return the top left part; a picture one pixel wide or high is repeated to two."""
    if plane.shape[1] < width or plane.shape[0] < height:
        right, bottom = max(width - plane.shape[1], 0), max(height - plane.shape[0], 0)
        plane = cv2.copyMakeBorder(plane, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    return plane[:height, :width]


def _shrunk(plane: Plane, size: tuple[int, int]) -> Plane:
    if plane.shape == size[::-1]:
        return plane
    shrunk: Plane = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
    return shrunk

"""Canvas: strokes, fills, text and masks on native YUV planes, each plane at its own scale."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer import planes as native
from streamer.frame import Planes
from streamer.overlay.glyphs import glyphs
from streamer.overlay.palette import Rgb, Yuv, to_yuv
from streamer.overlay.space import Rect, Space
from streamer.overlay.sprite import Sprite

__all__ = ["Canvas"]

Plane = NDArray[np.uint8]
Scale = tuple[int, int]
Points = NDArray[np.float32]  # (..., 2) x, y in luma pixels; pixel 0 covers 0..1

SHIFT = 4  # fractional bits of the coordinates given to OpenCV
BLEED = 0.7  # how far OpenCV's antialiased polygons reach beyond their edge, in pixels: measured
FAR = 32000.0  # beyond this OpenCV's fixed point would overflow
TINY = 1e-3
CIRCLE = np.array([(math.cos(turn), math.sin(turn)) for turn in np.arange(24) * math.pi / 12], np.float32)


class Canvas:
    """Draws on one picture's planes in place; what lies outside the picture is clipped.

    Colours are RGB, converted by the planes' own matrix and range. A chroma sample that a shape covers in
    part is mixed by that part, so that no fringe is left. With ``shared`` the planes are only read: the first
    stroke copies them.
    """

    __slots__ = ("_planes", "_shared", "size", "space", "subsampling")

    def __init__(self, planes: Planes, *, shared: bool = False) -> None:
        self._planes = planes
        self._shared = shared
        self.size = planes.size  # width, height in pixels
        self.subsampling = planes.subsampling
        self.space = Space()  # where tags already lie

    @property
    def planes(self) -> Planes:
        """The planes, writable."""
        if self._shared:
            self._planes = native.copy(self._planes)
            self._shared = False
        return self._planes

    @property
    def is_untouched(self) -> bool:
        """Whether shared planes are still those that were given."""
        return self._shared

    def yuv(self, rgb: Rgb) -> Yuv:
        """Return a colour as these planes hold it."""
        return to_yuv(rgb, self._planes.matrix, self._planes.full_range)

    def fill(self, rect: Rect, rgb: Rgb, alpha: float = 1.0) -> None:
        """Fill whole pixels (left, top, right, bottom), mixed into the picture by ``alpha``."""
        left, top, right, bottom = self._clip(rect)
        if left >= right or top >= bottom:
            return
        planes, (luma, *chroma) = self.planes, self.yuv(rgb)
        _mix_evenly(planes.y[top:bottom, left:right], luma, alpha)
        (width, height), (sx, sy) = self.size, self.subsampling
        across, down = _shares(left, right, sx, width), _shares(top, bottom, sy, height)
        whole = across.min() == down.min() == 1
        weight = _weights(np.outer(down, across) * alpha)
        for plane, value in zip((planes.u, planes.v), chroma, strict=True):
            part = plane[top // sy : top // sy + len(down), left // sx : left // sx + len(across)]
            if whole:
                _mix_evenly(part, value, alpha)
            else:
                _mix(part, value, weight)

    def outline(self, box: Sequence[float], rgb: Rgb, width: int) -> None:
        """Draw a box's outline just outside x1, y1, x2, y2, laid on the chroma grid so that it stays crisp.

        width must be a multiple of the subsampling.
        """
        planes, yuv, (sx, sy) = self.planes, self.yuv(rgb), self.subsampling
        limit_x, limit_y = self.size[0] // sx * sx, self.size[1] // sy * sy
        left = min(max(round(box[0] / sx) * sx - width, 0), limit_x)
        top = min(max(round(box[1] / sy) * sy - width, 0), limit_y)
        right = min(max(round(box[2] / sx) * sx + width, 0), limit_x)
        bottom = min(max(round(box[3] / sy) * sy + width, 0), limit_y)
        if left >= right or top >= bottom:
            return
        _frame(planes.y, yuv[0], (left, top, right, bottom), width, width)
        coarse = (left // sx, top // sy, right // sx, bottom // sy)
        _frame(planes.u, yuv[1], coarse, width // sx, width // sy)
        _frame(planes.v, yuv[2], coarse, width // sx, width // sy)

    def line(self, start: tuple[float, float], end: tuple[float, float], rgb: Rgb, width: float) -> None:
        """Draw one antialiased line with flat ends."""
        self.lines(np.array([start], np.float32), np.array([end], np.float32), [rgb], width)

    def lines(self, starts: Points, ends: Points, colours: Sequence[Rgb], width: float) -> None:
        """Draw N antialiased lines with flat ends, each in its own colour, in order.

        Under a width of 4 the colour reaches a little beyond the line where chroma is subsampled.
        """
        self._polygons(colours, lambda scale: _quads(starts, ends, width, scale))

    def circle(self, centre: tuple[float, float], radius: float, rgb: Rgb, width: float) -> None:
        """Draw one antialiased circle's line, half of its width on either side of ``radius``."""
        points: Points = (np.array(centre) + radius * CIRCLE).astype(np.float32)
        self.lines(points, np.roll(points, 1, axis=0), [rgb] * len(points), width)

    def discs(self, centres: Points, colours: Sequence[Rgb], radius: float) -> None:
        """Fill N antialiased circles, each in its own colour, in order."""
        self._polygons(colours, lambda scale: _rings(centres, radius, scale))

    def text(self, origin: tuple[int, int], text: str, rgb: Rgb, height: int) -> None:
        """Write one line of text; origin is the left end of its base line, height that of a capital."""
        line = glyphs(text, height)
        self.blend((origin[0], origin[1] - line.base), line.coverage, rgb)

    def blend(self, origin: tuple[int, int], weight: Plane, rgb: Rgb) -> None:
        """Mix a colour into the picture by a weight for each pixel, 255 being all colour; exact to 1.

        weight is (h, w) uint8, its first pixel at origin (left, top).
        """
        height, width = weight.shape
        left, top, right, bottom = self._clip((*origin, origin[0] + width, origin[1] + height))
        if left >= right or top >= bottom:
            return
        weight = weight[top - origin[1] : bottom - origin[1], left - origin[0] : right - origin[0]]
        planes, yuv, (sx, sy) = self.planes, self.yuv(rgb), self.subsampling
        _mix(planes.y[top:bottom, left:right], yuv[0], weight)
        coarse = self._chroma_weight(weight, (left, top, right, bottom))
        rows = slice(top // sy, top // sy + coarse.shape[0])
        columns = slice(left // sx, left // sx + coarse.shape[1])
        _mix(planes.u[rows, columns], yuv[1], coarse)
        _mix(planes.v[rows, columns], yuv[2], coarse)

    def blend_samples(self, origin: tuple[int, int], kept: Plane, rgb: Rgb) -> None:
        """Mix a colour into 4:2:0 planes by what each chroma sample keeps of the picture, 255 being all.

        kept is (h, w) uint8, its first sample at origin (left, top), inside the planes; luma takes it
        smoothed over two samples. Half the cost of `blend`, and exact to a pixel.
        """
        (left, top), (height, width) = origin, kept.shape
        planes, (luma, *chroma) = self.planes, self.yuv(rgb)
        for plane, value in zip((planes.u, planes.v), chroma, strict=True):
            _keep(plane[top : top + height, left : left + width], value, kept)
        part = planes.y[2 * top : 2 * (top + height), 2 * left : 2 * (left + width)]
        _keep(part, luma, cv2.pyrUp(kept)[: part.shape[0], : part.shape[1]])

    def paste(self, origin: tuple[int, int], sprite: Sprite) -> None:
        """Lay a sprite made for planes of this kind at (left, top), moved to the chroma grid and clipped."""
        planes, (sx, sy) = self.planes, self.subsampling
        left, top = origin[0] // sx, origin[1] // sy
        _lay(planes.y, sprite.colour[0], sprite.clear[0], left * sx, top * sy)
        _lay(planes.u, sprite.colour[1], sprite.clear[1], left, top)
        _lay(planes.v, sprite.colour[2], sprite.clear[2], left, top)

    def _polygons(self, colours: Sequence[Rgb], outlines: Callable[[Scale], Points]) -> None:
        """Fill N convex polygons; ``outlines`` gives their (N, P, 2) corners in a plane's pixels."""
        if not colours:
            return
        planes, values = self.planes, [self.yuv(rgb) for rgb in colours]
        for polygon, value in zip(_fixed(outlines((1, 1))), values, strict=True):
            cv2.fillConvexPoly(planes.y, polygon, value[0], cv2.LINE_AA, SHIFT)
        for polygon, value in zip(_fixed(outlines(self.subsampling)), values, strict=True):
            cv2.fillConvexPoly(planes.u, polygon, value[1], cv2.LINE_AA, SHIFT)
            cv2.fillConvexPoly(planes.v, polygon, value[2], cv2.LINE_AA, SHIFT)

    def _clip(self, rect: Rect) -> Rect:
        (width, height), (left, top, right, bottom) = self.size, rect
        return max(left, 0), max(top, 0), min(right, width), min(bottom, height)

    def _chroma_weight(self, weight: Plane, rect: Rect) -> Plane:
        """Average weights over each chroma sample that the rectangle touches; beyond it they are 0."""
        sx, sy = self.subsampling
        if sx == sy == 1:
            return weight
        (width, height), (left, top, right, bottom) = self.size, rect
        before = top % sy, left % sx
        after = -bottom % sy, -right % sx
        if any(before):
            weight = cv2.copyMakeBorder(weight, before[0], 0, before[1], 0, cv2.BORDER_CONSTANT, value=0)
        if after[0]:  # a sample at the picture's odd edge covers one pixel only: that one counts for both
            kind = cv2.BORDER_REPLICATE if bottom == height else cv2.BORDER_CONSTANT
            weight = cv2.copyMakeBorder(weight, 0, after[0], 0, 0, kind, value=0)
        if after[1]:
            kind = cv2.BORDER_REPLICATE if right == width else cv2.BORDER_CONSTANT
            weight = cv2.copyMakeBorder(weight, 0, 0, 0, after[1], kind, value=0)
        coarse = (weight.shape[1] // sx, weight.shape[0] // sy)
        averaged: Plane = cv2.resize(weight, coarse, interpolation=cv2.INTER_AREA)
        return averaged


def _mix_evenly(part: Plane, value: int, alpha: float) -> None:
    if alpha >= 1:
        part[...] = value
    else:
        cv2.convertScaleAbs(part, dst=part, alpha=1 - alpha, beta=alpha * value)


def _mix(part: Plane, value: int, weight: Plane) -> None:
    kept = cv2.multiply(part, cv2.bitwise_not(weight), scale=1 / 255)
    cv2.add(kept, cv2.convertScaleAbs(weight, alpha=value / 255), dst=part)


def _keep(part: Plane, value: int, kept: Plane) -> None:
    """Mix by the weight of the picture instead of the colour's."""
    own = cv2.multiply(part, kept, scale=1 / 255)
    cv2.addWeighted(own, 1.0, kept, -value / 255, value, dst=part)


def _lay(plane: Plane, colour: Plane, clear: Plane, left: int, top: int) -> None:
    height, width = plane.shape
    right, bottom = min(left + colour.shape[1], width), min(top + colour.shape[0], height)
    begin, start = max(left, 0), max(top, 0)
    if begin >= right or start >= bottom:
        return
    inner = (slice(start - top, bottom - top), slice(begin - left, right - left))
    part = plane[start:bottom, begin:right]
    cv2.add(cv2.multiply(part, clear[inner], scale=1 / 255), colour[inner], dst=part)


def _frame(plane: Plane, value: int, rect: Rect, across: int, down: int) -> None:
    left, top, right, bottom = rect
    plane[top : top + down, left:right] = value
    plane[max(bottom - down, top) : bottom, left:right] = value
    plane[top:bottom, left : left + across] = value
    plane[top:bottom, max(right - across, left) : right] = value


def _shares(begin: int, end: int, step: int, limit: int) -> NDArray[np.float64]:
    """How much of each chroma sample touched by pixels begin..end they cover, 0..1, along one axis."""
    starts = np.arange(begin // step, -(-end // step)) * step
    stops = np.minimum(starts + step, limit)
    shares: NDArray[np.float64] = (np.minimum(stops, end) - np.maximum(starts, begin)) / (stops - starts)
    return shares


def _weights(shares: NDArray[np.float64]) -> Plane:
    return np.rint(shares * 255).astype(np.uint8)


def _quads(starts: Points, ends: Points, width: float, scale: Scale) -> Points:
    """(N, 4, 2) corners of lines in a plane's pixels, drawn in by what OpenCV adds."""
    step = np.array(scale, np.float32)
    along = ends - starts
    normal = along[:, ::-1] * np.array([-1, 1], np.float32)
    normal *= width / 2 / np.maximum(np.hypot(along[:, 0], along[:, 1]), TINY)[:, None]
    along, normal = along / step, normal / step
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), TINY)
    reach = np.abs(along[:, 0] * normal[:, 1] - along[:, 1] * normal[:, 0]) / length
    normal *= (np.maximum(reach - BLEED, TINY) / np.maximum(reach, TINY))[:, None]
    begin, end = starts / step, ends / step
    return np.stack([begin + normal, end + normal, end - normal, begin - normal], axis=1)


def _rings(centres: Points, radius: float, scale: Scale) -> Points:
    """(N, P, 2) points of circles in a plane's pixels, drawn in by what OpenCV adds."""
    step = np.array(scale, np.float32)
    around: Points = CIRCLE * np.maximum(radius / step - BLEED, TINY)
    return centres[:, None] / step + around


def _fixed(points: Points) -> NDArray[np.int32]:
    """OpenCV's coordinates name a pixel's centre, ours its corner; in its fixed point."""
    fixed: NDArray[np.int32] = np.rint((np.clip(points, -FAR, FAR) - 0.5) * (1 << SHIFT)).astype(np.int32)
    return fixed

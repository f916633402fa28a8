"""Flat shapes of a rendered scene: strokes that a painter fills in order, and the polygons in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Camera",
    "Colour",
    "Drawing",
    "Outline",
    "Points",
    "Stroke",
    "box",
    "capsules",
    "circle",
    "fill",
    "hull",
    "placed",
    "rounded",
    "tone",
]

Colour = tuple[int, int, int]  # RGB 0..255
Points = NDArray[np.float64]  # (n, 2) x, y; a pixel covers [i, i + 1)
Outline = list[tuple[float, float]]

_SUB = 4  # fractional bits that OpenCV's fill takes


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera over a ground plane: each ground line below the horizon has one scale."""

    size: tuple[int, int]  # width, height of the picture
    horizon: float  # y of the horizon in pixels
    height: float  # of the lens over the ground, metres

    def ground(self, depth: float) -> float:
        """Return the y of a ground line; depth 0 is the horizon, 1 the lower edge of the picture."""
        return self.horizon + depth * (self.size[1] - self.horizon)

    def scale(self, depth: float) -> float:
        """Return the pixels per metre of what stands on that ground line."""
        return depth * (self.size[1] - self.horizon) / self.height


@dataclass(frozen=True, slots=True)
class Stroke:
    """One filled polygon. ``part`` numbers the rigid part it belongs to; -1 is paint on what lies below."""

    points: Points
    colour: Colour
    part: int = -1


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """One object at one moment, in picture pixels."""

    strokes: list[Stroke]
    poses: NDArray[np.float64]  # (P, 2, 3): what maps each part's own coordinates to the picture
    shadow: tuple[float, float, float, float]  # centre x, y and radii of the soft shadow on the ground
    bulk: float  # about how many pixels the whole silhouette has
    keypoints: Points = field(default_factory=lambda: np.zeros((0, 2)))
    owners: tuple[tuple[int, ...], ...] = ()  # for each keypoint the parts that show it when they are on top
    gloss: tuple[float, float, float] = (
        0.0,
        0.0,
        0.0,
    )  # centre and radius of a sphere to shade, radius 0 = none


def circle(centre: tuple[float, float] | Points, radius: float, n: int = 20) -> Points:
    """Return a regular polygon of ``n`` corners around ``centre``."""
    ring: Points = _ring(n) * radius
    ring += centre
    return ring


@cache
def _ring(n: int) -> Points:
    angles = np.arange(n) * (2 * np.pi / n)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def box(x0: float, y0: float, x1: float, y1: float) -> Outline:
    """Return the four corners of an upright rectangle."""
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def placed(strokes: list[Stroke], pose: NDArray[np.float64]) -> list[Stroke]:
    """Return the strokes moved by a (2, 3) pose."""
    turn, shift = pose[:, :2].T, pose[:, 2]
    return [Stroke(stroke.points @ turn + shift, stroke.colour, stroke.part) for stroke in strokes]


def capsules(a: Points, b: Points, ra: NDArray[np.float64], rb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (L, 12, 2) outlines of L tapered limbs with round ends, from ``a`` (L, 2) to ``b`` (L, 2)."""
    along = np.arctan2(b[:, 1] - a[:, 1], b[:, 0] - a[:, 0])[:, None] + _CAP
    outline = np.empty((len(a), 12, 2))
    outline[:, :6, 0], outline[:, :6, 1] = np.cos(along), np.sin(along)
    outline[:, 6:] = outline[:, :6] * -ra[:, None, None] + a[:, None]
    outline[:, :6] = outline[:, :6] * rb[:, None, None] + b[:, None]
    return outline


_CAP = np.linspace(-np.pi / 2, np.pi / 2, 6)


def hull(points: Points) -> Points:
    """Return the convex hull of the points."""
    import cv2

    outline: Points = cv2.convexHull(points.astype(np.float32))[:, 0].astype(np.float64)
    return outline


def rounded(corners: Outline, times: int = 2) -> Points:
    """Return the closed polygon with its corners cut ``times`` over (Chaikin 1974)."""
    points = np.asarray(corners, np.float64)
    for _ in range(times):
        after = np.roll(points, -1, axis=0)
        points = np.stack([0.75 * points + 0.25 * after, 0.25 * points + 0.75 * after], axis=1).reshape(-1, 2)
    return points


def tone(colour: Colour, gain: float) -> Colour:
    """Return the colour darker (gain < 1) or lighter (gain > 1)."""
    red, green, blue = colour
    return min(round(red * gain), 255), min(round(green * gain), 255), min(round(blue * gain), 255)


def fill(picture: NDArray[np.uint8], labels: NDArray[np.int32], strokes: list[Stroke], first: int) -> None:
    """Fill the strokes in order; in ``labels`` a part leaves ``first + part``, paint leaves what is there."""
    import cv2

    if not strokes:
        return
    ends = np.cumsum([len(stroke.points) for stroke in strokes])[:-1]
    fixed = np.concatenate([stroke.points for stroke in strokes])
    fixed = np.round((fixed - 0.5) * (1 << _SUB)).astype(np.int32)  # OpenCV's pixel centres are whole numbers
    for points, stroke in zip(np.split(fixed, ends), strokes, strict=True):
        cv2.fillPoly(picture, [points], stroke.colour, cv2.LINE_AA, _SUB)
        if stroke.part >= 0:
            cv2.fillPoly(labels, [points], first + stroke.part, cv2.LINE_8, _SUB)

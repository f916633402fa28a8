"""The body of a rendered person: from joints in the picture to strokes, far parts first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.scene_shapes import Colour, Points, Stroke, capsules, circle, hull, tone

__all__ = ["Figure", "body"]

# parts, each rigid; pairs are left, right
TORSO, HEAD, PACK = 0, 1, 14
UPPER, FORE, THIGH, SHIN, FOOT, HAND = (2, 3), (4, 5), (6, 7), (8, 9), (10, 11), (12, 13)
_PARTS = 15

# joints beyond the 17 keypoints; of a pair the left one, the right one follows
HEAD_C, NECK, TOE, HEEL, HAND_TIP, BACK = 17, 18, 19, 21, 23, 25


@dataclass(frozen=True, slots=True)
class Figure:
    """What one person looks like; lengths in metres."""

    stature: float
    girth: float  # 1 = average width of torso and limbs
    head: float  # radius
    skin: Colour
    hair: Colour
    shirt: Colour
    trousers: Colour
    shoes: Colour
    long_sleeves: bool
    shorts: bool
    long_hair: bool
    pack: Colour | None
    cap: Colour | None


# limb, joints at its ends (of the left one), their radii in metres, what covers it, how far in front it is
_LIMBS = (
    (UPPER, 5, 7, 0.056, 0.047, "shirt", 0.120),
    (FORE, 7, 9, 0.046, 0.034, "sleeve", 0.130),
    (HAND, 9, HAND_TIP, 0.034, 0.040, "skin", 0.135),
    (THIGH, 11, 13, 0.089, 0.062, "trousers", 0.0),
    (SHIN, 13, 15, 0.061, 0.042, "calf", -0.005),
    (FOOT, HEEL, TOE, 0.045, 0.034, "shoes", -0.010),
)
_START = np.array([limb[1] + side for limb in _LIMBS for side in (0, 1)])
_END = np.array([limb[2] + side for limb in _LIMBS for side in (0, 1)])
_RADII = np.array([limb[3:5] for limb in _LIMBS for _ in (0, 1)])
_LIGHT = np.array([0.3, 0.12])  # the light falls from the upper left


def body(
    figure: Figure, px: Points, near: NDArray[np.float64], scale: float
) -> tuple[list[Stroke], NDArray[np.float64]]:
    """Return the strokes and the (15, 2, 3) poses of the parts.

    ``px`` (26, 2) are the joints in the picture, ``near`` (26,) how many metres each is towards the camera,
    ``scale`` pixels per metre.
    """
    ra, rb = (_RADII * figure.girth * scale).T
    start, end = px[_START], px[_END]
    outline = capsules(start, end, ra, rb)
    shine = capsules(start - ra[:, None] * _LIGHT, end - rb[:, None] * _LIGHT, ra * 0.55, rb * 0.55)
    colours = {
        "shirt": figure.shirt,
        "sleeve": figure.shirt if figure.long_sleeves else figure.skin,
        "skin": figure.skin,
        "trousers": figure.trousers,
        "calf": figure.skin if figure.shorts else figure.trousers,
        "shoes": figure.shoes,
    }
    poses = np.zeros((_PARTS, 2, 3))
    layers: list[tuple[float, list[Stroke]]] = []
    for row, (a, b) in enumerate(zip(start, end, strict=True)):
        pair, _, _, _, _, cover, front = _LIMBS[row // 2]
        side = row % 2
        part, colour = pair[side], colours[cover]
        poses[part] = _pose(a, b, scale)
        behind = near[5 + side] < -0.02
        strokes = [Stroke(outline[row], tone(colour, 0.74 if behind else 0.9), part)]
        if not behind:
            strokes.append(Stroke(shine[row], colour))
        if pair in (THIGH, SHIN, FOOT):
            front += 0.1 * float(near[11 + side]) - 0.02
        else:
            front = 0.6 * float(near[5 + side]) + (0.0 if behind else front)
        layers.append((front, strokes))
    layers.append((0.03, _torso(figure, px, scale)))
    layers.append((0.05, _head(figure, px, near, scale)))
    if figure.pack is not None:
        layers.append((0.04 if near[BACK] > 0.02 else 0.025, _pack(figure.pack, px, scale)))
    layers.sort(key=lambda layer: layer[0])
    poses[TORSO] = poses[PACK] = _pose((px[11] + px[12]) / 2, px[NECK], scale)
    poses[HEAD] = [[scale, 0, px[HEAD_C, 0]], [0, scale, px[HEAD_C, 1]]]
    return [stroke for _, strokes in layers for stroke in strokes], poses


def _torso(figure: Figure, px: Points, scale: float) -> list[Stroke]:
    g = figure.girth * scale
    hips, chest = (px[11] + px[12]) / 2, (px[5] + px[6]) / 2
    waist = hips * 0.55 + chest * 0.45
    shoulders = np.concatenate([circle(px[5], 0.055 * g, 10), circle(px[6], 0.055 * g, 10)])
    ribs = circle((chest[0], chest[1] + 0.1 * g), 0.118 * g, 12)
    seat = np.concatenate([circle(px[11], 0.085 * g, 10), circle(px[12], 0.085 * g, 10)])
    shirt = hull(np.concatenate([shoulders, ribs, seat, circle(waist, 0.112 * g, 12)]))
    bright = np.concatenate([shoulders, ribs, circle(waist, 0.1 * g, 12)]) - waist
    bright = hull(bright * [0.66, 0.9] + waist - [0.035 * g, 0])
    neck = px[HEAD_C] * 0.55 + px[NECK] * 0.45
    return [
        Stroke(_capsule(px[NECK], neck, 0.05 * g, 0.045 * g), tone(figure.skin, 0.82), TORSO),
        Stroke(hull(seat + np.array([0, 0.012 * scale])), tone(figure.trousers, 0.88), TORSO),
        Stroke(shirt, tone(figure.shirt, 0.88), TORSO),
        Stroke(bright, figure.shirt),
    ]


def _head(figure: Figure, px: Points, near: NDArray[np.float64], scale: float) -> list[Stroke]:
    r, centre = figure.head * scale, px[HEAD_C]
    towards = near - near[HEAD_C]
    x, y = centre
    back = 0.45 * (x - px[0, 0])  # hair sits opposite to the nose
    strokes = [Stroke(circle((x + 0.9 * back, y - 0.04 * r), r * 1.08, 22), tone(figure.hair, 0.85), HEAD)]
    if figure.long_hair:
        tail = circle((x + 1.4 * back, y + 0.95 * r), r * 0.72, 12)
        fall = hull(np.concatenate([circle((x + back, y), r, 14), tail]))
        strokes.append(Stroke(fall, tone(figure.hair, 0.8), HEAD))
        if towards[0] > 0.6 * figure.head:  # the neck shows between the hair
            neck = _capsule(centre, px[NECK], 0.42 * r, 0.48 * r)
            strokes.append(Stroke(neck, tone(figure.skin, 0.82), HEAD))
    if towards[0] > -0.5 * figure.head:
        nose = circle(px[0] * 0.84 + centre * 0.16, r * 0.17, 8)
        face = hull(np.concatenate([circle(centre, r * 0.97, 20), nose]))
        strokes += [
            Stroke(face, tone(figure.skin, 0.93), HEAD),
            Stroke(circle((x - 0.2 * r, y + 0.02 * r), r * 0.68, 16), figure.skin),
            Stroke(_cap(x + 0.5 * back, y, r * 1.06, 0.38 * r), figure.hair, HEAD),
        ]
        eyes = [eye for eye in (1, 2) if towards[eye] > -0.2 * figure.head]
        strokes += [Stroke(circle(px[eye], max(r * 0.11, 0.55), 8), (36, 30, 34)) for eye in eyes]
    ears = [ear for ear in (3, 4) if towards[ear] > 0.3 * figure.head]
    strokes += [Stroke(circle(px[ear], r * 0.2, 8), tone(figure.skin, 0.85), HEAD) for ear in ears]
    if figure.cap is not None:
        brim = px[0] + (px[0] - centre) * 0.45 - np.array([0, 0.34 * r])
        peak = _capsule(np.array([x, y - 0.5 * r]), brim, r * 0.1, r * 0.08)
        strokes.append(Stroke(_cap(x, y, r * 1.12, 0.42 * r), figure.cap, HEAD))
        strokes.append(Stroke(peak, tone(figure.cap, 0.8), HEAD))
    return strokes


def _cap(x: float, y: float, radius: float, above: float) -> Points:
    """Return the part of a disc that lies more than ``above`` pixels over its centre."""
    low = np.arcsin(above / radius)
    turns = np.linspace(np.pi + low, 2 * np.pi - low, 12)
    return np.stack([x + radius * np.cos(turns), y + radius * np.sin(turns)], axis=1)


def _pack(colour: Colour, px: Points, scale: float) -> list[Stroke]:
    reach = np.array([0, 0.12 * scale])
    high, low = px[BACK] - reach, px[BACK] + reach
    return [
        Stroke(_capsule(high, low, 0.1 * scale, 0.11 * scale), tone(colour, 0.8), PACK),
        Stroke(_capsule(px[BACK] + reach * 0.8, low, 0.07 * scale, 0.07 * scale), tone(colour, 0.95)),
    ]


def _capsule(a: Points, b: Points, ra: float, rb: float) -> Points:
    outline: Points = capsules(a[None], b[None], np.array([ra]), np.array([rb]))[0]
    return outline


def _pose(a: Points, b: Points, scale: float) -> NDArray[np.float64]:
    """Return the (2, 3) similarity with its origin at ``a`` and its first axis towards ``b``."""
    dx, dy = b - a
    gain = scale / max(float(np.hypot(dx, dy)), 1e-6)
    return np.array([[dx * gain, -dy * gain, a[0]], [dy * gain, dx * gain, a[1]]])

"""Cars, balls and street furniture of a rendered scene."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from engines.scene_shapes import (
    Camera,
    Colour,
    Drawing,
    Outline,
    Points,
    Stroke,
    box,
    circle,
    placed,
    rounded,
    tone,
)

__all__ = ["Ball", "Car", "draw_ball", "draw_car", "draw_prop", "make_ball", "make_car"]

# fmt: off
_PAINT = (
    (204, 52, 48), (40, 96, 176), (236, 236, 232), (60, 66, 76), (150, 158, 166),
    (244, 178, 48), (54, 128, 100), (122, 40, 56), (110, 170, 206), (226, 120, 60),
)
_PAINT_OUT = (
    (90, 50, 140), (160, 200, 60), (20, 26, 34), (240, 130, 170), (196, 170, 120), (30, 180, 180),
)
_BALLS = (
    ((232, 64, 58), (250, 246, 240)), ((52, 120, 214), (250, 220, 70)), ((245, 140, 40), (60, 44, 40)),
    ((250, 250, 250), (36, 36, 44)), ((70, 176, 90), (250, 250, 240)), ((240, 100, 160), (250, 230, 120)),
)
_BALLS_OUT = (
    ((110, 40, 150), (240, 240, 90)), ((20, 140, 140), (240, 90, 60)), ((200, 220, 230), (180, 30, 60)),
)

# side views in metres, nose to the right, y up from the ground: body, windows, half the wheelbase
_BODIES: dict[str, tuple[Outline, list[Outline], float]] = {
    "sedan": (
        [(-2.2, 0.3), (-2.25, 0.78), (-2.1, 1.0), (-1.45, 1.04), (-0.85, 1.45), (0.35, 1.46), (1.05, 1.02),
         (1.95, 0.9), (2.25, 0.7), (2.25, 0.3)],
        [[(-1.2, 1.04), (-0.75, 1.38), (-0.2, 1.4), (-0.2, 1.04)],
         [(-0.1, 1.04), (-0.1, 1.4), (0.3, 1.39), (0.85, 1.04)]],
        1.36,
    ),
    "hatch": (
        [(-1.85, 0.3), (-1.95, 0.8), (-1.8, 1.12), (-1.45, 1.5), (-0.6, 1.56), (0.3, 1.54), (0.95, 1.06),
         (1.7, 0.94), (1.95, 0.72), (1.95, 0.3)],
        [[(-1.5, 1.1), (-1.3, 1.44), (-0.35, 1.48), (-0.35, 1.1)],
         [(-0.25, 1.1), (-0.25, 1.48), (0.25, 1.46), (0.75, 1.1)]],
        1.2,
    ),
    "suv": (
        [(-2.2, 0.36), (-2.3, 0.9), (-2.25, 1.3), (-2.0, 1.72), (-0.9, 1.78), (0.4, 1.75), (1.1, 1.18),
         (2.0, 1.08), (2.3, 0.85), (2.3, 0.36)],
        [[(-2.0, 1.24), (-1.85, 1.64), (-1.15, 1.68), (-1.15, 1.24)],
         [(-1.05, 1.24), (-1.05, 1.68), (-0.25, 1.68), (-0.25, 1.24)],
         [(-0.15, 1.24), (-0.15, 1.68), (0.35, 1.66), (0.9, 1.24)]],
        1.42,
    ),
    "van": (
        [(-2.3, 0.34), (-2.4, 1.0), (-2.35, 1.95), (-2.1, 2.12), (0.6, 2.12), (1.2, 1.95), (1.85, 1.2),
         (2.3, 1.05), (2.4, 0.8), (2.4, 0.34)],
        [[(0.35, 1.25), (0.35, 1.85), (1.05, 1.85), (1.6, 1.25)]],
        1.5,
    ),
    "pickup": (
        [(-2.5, 0.36), (-2.55, 1.1), (-2.5, 1.12), (-0.85, 1.12), (-0.75, 1.15), (-0.6, 1.72), (0.5, 1.76),
         (1.15, 1.2), (2.2, 1.1), (2.45, 0.85), (2.45, 0.36)],
        [[(-0.6, 1.22), (-0.48, 1.62), (0.0, 1.64), (0.0, 1.22)],
         [(0.1, 1.22), (0.1, 1.64), (0.5, 1.64), (0.95, 1.22)]],
        1.55,
    ),
}
# fmt: on


@dataclass(frozen=True, slots=True)
class Car:
    """What one car looks like."""

    body: str  # key of the side views
    paint: Colour
    size: float  # 1 = as measured above
    stripe: bool
    rims: Colour


@dataclass(frozen=True, slots=True)
class Ball:
    """What one ball looks like."""

    radius: float  # metres
    colours: tuple[Colour, Colour]
    pattern: str  # "panels", "patches", "ring"


def make_car(rng: np.random.Generator, held_out: bool) -> Car:
    """Choose a car; held-out cars have paint, and half of them a body, that the others never have."""
    bodies = ("pickup", "van") if held_out else ("sedan", "hatch", "suv", "sedan", "van", "hatch")
    paints = _PAINT_OUT if held_out else _PAINT
    return Car(
        bodies[int(rng.integers(len(bodies)))],
        paints[int(rng.integers(len(paints)))],
        float(rng.uniform(0.92, 1.06)),
        bool(rng.random() < 0.25),
        (200, 204, 210) if rng.random() < 0.7 else (90, 94, 100),
    )


def make_ball(rng: np.random.Generator, held_out: bool) -> Ball:
    """Choose a ball; held-out balls have colours that the others never have."""
    colours = _BALLS_OUT if held_out else _BALLS
    patterns = ("panels", "patches", "ring")
    return Ball(
        float(rng.uniform(0.17, 0.25)),
        colours[int(rng.integers(len(colours)))],
        patterns[int(rng.integers(3))],
    )


def draw_car(car: Car, x: float, depth: float, travelled: float, camera: Camera) -> Drawing:
    """Draw a car, its middle at ``x`` pixels; the metres ``travelled`` (negative: left) turn its wheels."""
    scale, ground = camera.scale(depth) * car.size, camera.ground(depth)
    face = 1.0 if travelled >= 0 else -1.0
    body = np.array([[face * scale, 0.0, x], [0.0, -scale, ground]])
    turn = -travelled * face / _WHEEL
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    outline, _, axle = _BODIES[car.body]
    poses = [body]
    for hub in (-axle, axle):
        centre = body @ [hub, _WHEEL, 1.0]
        poses.append(np.concatenate([body[:, :2] @ spin, centre[:, None]], axis=1))
    strokes = placed(_car_strokes(car), body)
    for part in (1, 2):
        strokes += placed(_wheel_strokes(car.rims, part), poses[part])
    left, right, high = outline[0][0], outline[-1][0], max(y for _, y in outline)
    shadow = (x, ground - 0.02 * scale, (right - left) * 0.58 * scale, 0.24 * scale)
    return Drawing(strokes, np.array(poses), shadow, 0.8 * (right - left) * high * scale * scale)


_WHEEL = 0.33  # radius in metres


@cache
def _car_strokes(car: Car) -> list[Stroke]:
    """Return the body in its own metres, nose to the right, y up."""
    outline, glass, axle = _BODIES[car.body]
    low, left, right = outline[0][1], outline[0][0], outline[-1][0]
    paint, dark = car.paint, (38, 40, 46)
    shoulder = min(y for pane in glass for _, y in pane) - 0.1
    door = glass[-1][0][0] - 0.05
    flank = [(left + 0.02, low), (left, 0.58), (right, 0.58), (right, low)]
    edge = [
        (left + 0.25, shoulder - 0.03),
        (left + 0.25, shoulder + 0.04),
        (right - 0.5, shoulder + 0.01),
        (right - 0.5, shoulder - 0.03),
    ]
    lamp = [(right - 0.28, 0.66), (right - 0.22, 0.8), (right - 0.03, 0.74), (right - 0.03, 0.62)]
    strokes = [
        Stroke(rounded(outline), tone(paint, 0.92), 0),
        Stroke(rounded(flank, 1), tone(paint, 0.7), 0),
        Stroke(rounded(box(left + 0.1, low - 0.02, right - 0.1, low + 0.12), 1), dark, 0),
        Stroke(rounded(edge, 1), tone(paint, 1.2)),
    ]
    if car.stripe:
        strokes.append(Stroke(np.array(box(left + 0.15, 0.64, right - 0.2, 0.72)), (244, 244, 240)))
    for pane in glass:
        strokes += [Stroke(rounded(pane, 1), (52, 66, 82), 0), Stroke(_shine(pane), (120, 146, 168))]
    strokes += [
        Stroke(np.array(box(door - 0.012, low + 0.15, door + 0.012, shoulder)), tone(paint, 0.6)),
        Stroke(np.array(box(door + 0.1, shoulder - 0.14, door + 0.28, shoulder - 0.1)), tone(paint, 0.55)),
        Stroke(rounded(lamp, 1), (255, 244, 200), 0),
        Stroke(rounded(box(left - 0.03, 0.7, left + 0.15, 0.89), 1), (206, 40, 44), 0),
    ]
    strokes += [Stroke(circle((hub, 0.36), 0.41, 22)[:12], (24, 25, 28)) for hub in (-axle, axle)]
    return strokes


def _shine(pane: Outline) -> Points:
    """Return the slanted reflection in a window."""
    low, high = pane[0][1], max(y for _, y in pane)
    middle = (min(x for x, _ in pane) + max(x for x, _ in pane)) / 2
    slant = [(-0.16, low + 0.03), (0.02, high - 0.06), (0.14, high - 0.06), (-0.04, low + 0.03)]
    return np.array([(middle + x, y) for x, y in slant])


@cache
def _wheel_strokes(rims: Colour, part: int) -> list[Stroke]:
    """Return a wheel around its hub, in metres."""
    strokes = [Stroke(circle((0, 0), _WHEEL, 22), (30, 31, 35), part), Stroke(circle((0, 0), 0.21, 18), rims)]
    for spoke in range(5):
        turns = spoke * 2 * np.pi / 5 + np.array([-0.3, -0.28, 0.28, 0.3])
        radii = np.array([0.1, 0.185, 0.185, 0.1])
        gap = np.stack([radii * np.cos(turns), radii * np.sin(turns)], axis=1)
        strokes.append(Stroke(gap, (56, 58, 64)))
    return strokes


def draw_ball(ball: Ball, x: float, depth: float, height: float, travelled: float, camera: Camera) -> Drawing:
    """Draw a ball at ``x`` pixels, ``height`` metres over the ground, turned by the way it ``travelled``."""
    scale, ground = camera.scale(depth), camera.ground(depth)
    turn = travelled / ball.radius
    c, s = np.cos(turn) * scale, np.sin(turn) * scale
    centre = (x, ground - (height + ball.radius) * scale)
    pose = np.array([[c, -s, centre[0]], [s, c, centre[1]]])
    r, spread = ball.radius * scale, 1 + 0.5 * height
    shadow = (x + 0.1 * scale, ground, 1.25 * r * spread, 0.36 * r * spread)
    strokes = placed(_ball_strokes(ball), pose)
    return Drawing(strokes, pose[None], shadow, np.pi * r * r, gloss=(*centre, r))


@cache
def _ball_strokes(ball: Ball) -> list[Stroke]:
    """Return the ball around its centre, in metres."""
    base, mark = ball.colours
    r = ball.radius
    strokes = [Stroke(circle((0, 0), r, 28), base, 0)]
    if ball.pattern == "panels":
        for k in range(3):
            arc = np.linspace(k * 2.0944, k * 2.0944 + 1.0472, 8)
            wedge = np.concatenate([[[0.0, 0.0]], 0.985 * r * np.stack([np.cos(arc), np.sin(arc)], axis=1)])
            strokes.append(Stroke(wedge, mark))
    elif ball.pattern == "patches":
        strokes.append(Stroke(circle((0, 0), 0.32 * r, 5), mark))
        for a in np.arange(5) * 1.2566 + 0.6283:
            strokes.append(Stroke(circle((0.74 * r * np.cos(a), 0.74 * r * np.sin(a)), 0.23 * r, 5), mark))
    else:
        strokes.append(Stroke(rounded(box(-0.96 * r, -0.2 * r, 0.96 * r, 0.2 * r), 1), mark))
    return strokes


def draw_prop(kind: str, x: float, depth: float, camera: Camera) -> Drawing:
    """Draw street furniture, which is in the way but nothing to be found: "lamp", "sign", "bin"."""
    scale, ground = camera.scale(depth), camera.ground(depth)
    pose = np.array([[scale, 0.0, x], [0.0, -scale, ground]])
    shadow = (x + 0.15 * scale, ground, 0.5 * scale, 0.09 * scale)
    return Drawing(placed(_prop_strokes(kind), pose), pose[None], shadow, 0.0)


@cache
def _prop_strokes(kind: str) -> list[Stroke]:
    """Return the piece in metres, standing at 0, y up."""
    if kind == "lamp":
        shaft = [(-0.055, 0.0), (-0.035, 4.2), (0.035, 4.2), (0.055, 0.0)]
        light = [(-0.02, 0.3), (-0.012, 4.2), (0.005, 4.2), (0.01, 0.3)]
        foot = [(-0.12, 0.0), (-0.1, 0.25), (0.1, 0.25), (0.12, 0.0)]
        head = [(-0.25, 4.2), (-0.2, 4.4), (0.2, 4.4), (0.25, 4.2)]
        grey = (62, 68, 74)
        return [
            Stroke(np.array(shaft), grey, 0),
            Stroke(np.array(light), (104, 112, 120)),
            Stroke(np.array(foot), (50, 55, 60), 0),
            Stroke(rounded(head, 1), grey, 0),
        ]
    if kind == "sign":
        white = (245, 245, 245)
        return [
            Stroke(np.array(box(-0.03, 0, 0.03, 2.0)), (128, 134, 140), 0),
            Stroke(circle((0, 2.25), 0.29, 26), (236, 238, 240), 0),
            Stroke(circle((0, 2.25), 0.26, 26), (34, 86, 168)),
            Stroke(np.array(box(-0.14, 2.2, 0.05, 2.3)), white),
            Stroke(np.array([(0.03, 2.13), (0.03, 2.37), (0.18, 2.25)]), white),
        ]
    return [
        Stroke(np.array([(-0.19, 0), (-0.22, 0.72), (0.22, 0.72), (0.19, 0)]), (58, 96, 78), 0),
        Stroke(np.array([(-0.13, 0.06), (-0.15, 0.68), (-0.07, 0.68), (-0.06, 0.06)]), (80, 126, 104)),
        Stroke(rounded([(-0.24, 0.7), (-0.22, 0.84), (0.22, 0.84), (0.24, 0.7)], 1), (44, 72, 60), 0),
    ]

"""Backgrounds of a rendered scene: a street, a park, and plain clutter; drawn once, then only copied."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engines.scene_shapes import Camera, Colour, Outline, Points, box, circle, tone

__all__ = ["Backdrop", "backdrop"]

Backdrop = Literal["street", "park", "clutter"]
Picture = NDArray[np.uint8]

_SKIES = (
    ((92, 152, 220), (218, 234, 246)), ((120, 140, 196), (255, 222, 184)), ((150, 170, 190), (226, 230, 232)),
    ((70, 120, 190), (250, 214, 196)),
)  # fmt: skip
_FACADES = (
    (206, 166, 134), (190, 110, 92), (222, 206, 178), (168, 176, 184), (152, 130, 118), (214, 186, 120),
    (140, 158, 160), (196, 142, 140), (236, 224, 208),
)  # fmt: skip
_GREENS = ((76, 122, 62), (98, 140, 66), (60, 106, 70), (120, 146, 72))
_AWNINGS = ((190, 60, 54), (52, 110, 90), (54, 84, 140), (214, 140, 60))


def backdrop(kind: Backdrop, camera: Camera, margin: int, rng: np.random.Generator) -> Picture:
    """Return a background (H, W + 2 margin, 3) RGB: ``margin`` pixels more than the picture on both sides."""
    width, height = camera.size[0] + 2 * margin, camera.size[1]
    paint = {"street": _street, "park": _park, "clutter": _clutter}[kind]
    picture = paint(Camera((width, height), camera.horizon, camera.height), rng)
    return _grain(picture, rng, 1.5 if kind != "clutter" else float(rng.uniform(1, 7)))


def _street(camera: Camera, rng: np.random.Generator) -> Picture:
    top, bottom = _SKIES[int(rng.integers(len(_SKIES)))]
    picture = _sky(camera, top, bottom, rng)
    _skyline(picture, camera, bottom, rng)
    _facades(picture, camera, rng)
    _band(picture, camera, 0.19, 0.36, (112, 148, 84), (96, 134, 72))
    _bushes(picture, camera, 0.23, rng)
    for x in np.arange(rng.uniform(0.05, 0.3), camera.size[0] / camera.size[1] + 0.2, 0.62):
        _tree(picture, camera, (x + rng.uniform(-0.12, 0.12)) * camera.size[1], 0.335, rng)
    _road(picture, camera, rng)
    return picture


def _park(camera: Camera, rng: np.random.Generator) -> Picture:
    top, bottom = (
        ((60, 110, 130), (220, 240, 220)) if rng.random() < 0.5 else ((180, 190, 220), (250, 236, 200))
    )
    picture = _sky(camera, top, bottom, rng)
    width, height = camera.size
    xs = np.linspace(0, width, 60)
    for k in range(3):
        rise = (0.16 - 0.045 * k) * height
        bumps = np.sin(xs / width * rng.uniform(4, 9) + rng.uniform(0, 6)) + np.sin(
            xs / width * rng.uniform(9, 17)
        )
        ys = camera.horizon + 3 - rise * (0.55 + 0.22 * bumps)
        hill = np.concatenate(
            [np.stack([xs, ys], axis=1), [[width, camera.horizon + 6], [0, camera.horizon + 6]]]
        )
        _fill(picture, hill, _blend((70, 120, 90), bottom, 0.62 - 0.25 * k))
    _band(picture, camera, 0.0, 1.01, (132, 168, 92), (88, 132, 66))
    _mottle(picture, camera, 0.0, 1.0, 9, rng)
    _bushes(picture, camera, 0.14, rng)
    for x in np.arange(rng.uniform(-0.1, 0.2), width / height + 0.2, 0.4):
        _tree(picture, camera, (x + rng.uniform(-0.15, 0.15)) * height, float(rng.uniform(0.15, 0.32)), rng)
    _fence(picture, camera, 0.36)
    path = (204, 184, 148) if rng.random() < 0.5 else (176, 170, 166)
    _band(picture, camera, 0.48, 0.82, tone(path, 0.95), path)
    _mottle(picture, camera, 0.48, 0.82, 6, rng)
    return picture


def _clutter(camera: Camera, rng: np.random.Generator) -> Picture:
    """Paint gradients, noise and shapes of no meaning, so that a model learns what is not to be found."""
    import cv2

    width, height = camera.size
    corners = rng.integers(20, 236, (2, 2, 3)).astype(np.uint8)
    picture: Picture = cv2.resize(corners, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(int(rng.integers(10, 46))):
        colour = _any(rng)
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        a, b = rng.uniform(0.01, 0.22, 2) * height
        kind = rng.integers(5)
        if kind == 0:
            _box(picture, x - a, y - b, x + a, y + b, colour)
        elif kind == 1:
            _fill(picture, rng.uniform(-1, 1, (4, 2)) * 2 * [a, b] + np.array([x, y]), colour)
        elif kind == 2:
            turn, thin = rng.uniform(0, np.pi), max(a * 0.08, 1)
            rod = np.array(box(-2.5 * b, -thin, 2.5 * b, thin))
            spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
            _fill(picture, rod @ spin + np.array([x, y]), colour)
        elif kind == 3:  # a plate or a ring: flat, unlike a ball, which is shaded
            _fill(picture, circle((x, y), a), colour)
            if rng.random() < 0.6:
                _fill(picture, circle((x, y), a * rng.uniform(0.3, 0.9)), _any(rng))
        else:
            for left in x + np.arange(int(rng.integers(3, 9))) * a / 2:
                _box(picture, left, y, left + a / 4, y + b, colour)
    if rng.random() < 0.5:
        picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.3, 2.5)) * height / 360)
    _mottle(picture, camera, -1.0, 1.0, float(rng.uniform(0, 16)), rng)
    return picture


def _sky(camera: Camera, top: Colour, bottom: Colour, rng: np.random.Generator) -> Picture:
    import cv2

    width, height = camera.size
    rows = np.clip(np.arange(height) / camera.horizon, 0, 1)[:, None]
    ramp = np.asarray(top) * (1 - rows) + np.asarray(bottom) * rows
    picture = np.repeat(ramp[:, None], width, axis=1)
    noise = np.zeros((height, width), np.float32)
    for cells, weight in ((5, 1.0), (11, 0.6), (23, 0.35), (47, 0.2)):
        grid = rng.standard_normal((cells, int(cells * width / height * 0.6) + 2)).astype(np.float32)
        noise += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    cloud = np.clip((noise - 0.25) * 0.8, 0, 1) * np.clip(1.15 - rows, 0, 1) * 0.75
    picture += (np.array([255.0, 252.0, 248.0]) - picture) * cloud[..., None]
    return np.clip(picture, 0, 255).astype(np.uint8)


def _skyline(picture: Picture, camera: Camera, haze: Colour, rng: np.random.Generator) -> None:
    width, height = camera.size
    base = camera.ground(0.2)
    for far, share in ((0.72, 0.25), (0.52, 0.17)):
        x = -0.1 * height
        while x < width:
            w, h = rng.uniform(0.06, 0.16) * height, rng.uniform(0.4, 1.0) * share * height
            _box(picture, x, camera.horizon - h, x + w, base, _blend((96, 108, 130), haze, far))
            x += w * rng.uniform(0.8, 1.5)


def _facades(picture: Picture, camera: Camera, rng: np.random.Generator) -> None:
    """Draw a row of houses with windows, cornices and shops along the far side."""
    width, height = camera.size
    base, scale = camera.ground(0.2), camera.scale(0.2)
    x = -rng.uniform(0, 0.3) * height
    while x < width:
        w = rng.uniform(5.5, 11) * scale
        if rng.random() < 0.16:
            x += rng.uniform(2, 5) * scale
            continue
        storeys = int(rng.integers(2, 4))
        _house(picture, (x, base, w, storeys), scale, rng)
        x += w
    _box(picture, 0, base - 0.12 * scale, width, base + 2, (150, 146, 140))


def _house(
    picture: Picture, place: tuple[float, float, float, int], scale: float, rng: np.random.Generator
) -> None:
    x, base, w, storeys = place
    wall = _FACADES[int(rng.integers(len(_FACADES)))]
    storey = 2.7 * scale
    top = base - storeys * storey - 0.5 * scale
    for band in range(6):  # lighter towards the sky
        y0, y1 = top + (base - top) * band / 6, top + (base - top) * (band + 1) / 6
        _box(picture, x, y0, x + w, y1, tone(wall, 1.06 - 0.035 * band))
    _box(picture, x - 0.1 * scale, top - 0.25 * scale, x + w + 0.1 * scale, top, tone(wall, 0.72))
    _box(picture, x - 0.05 * scale, top, x + w + 0.05 * scale, top + 0.12 * scale, tone(wall, 1.16))
    columns = max(int(w / (2.0 * scale)), 1)
    for floor in range(1, storeys):
        y = base - floor * storey - 0.55 * scale
        for column in range(columns):
            cx = x + w * (column + 0.5) / columns
            _window(picture, cx, y, scale, wall, bool(rng.random() < 0.12))
    awning = _AWNINGS[int(rng.integers(len(_AWNINGS)))]
    _box(picture, x + 0.4 * scale, base - 1.9 * scale, x + w - 0.4 * scale, base - 0.3 * scale, (62, 76, 88))
    _box(
        picture, x + 0.5 * scale, base - 1.8 * scale, x + w - 0.5 * scale, base - 1.25 * scale, (96, 116, 128)
    )
    _box(picture, x + w * 0.45, base - 1.9 * scale, x + w * 0.45 + 0.9 * scale, base, tone(wall, 0.5))
    stripes = max(int(w / (0.45 * scale)), 2)
    for k in range(stripes):
        x0, x1 = x + 0.3 * scale + (w - 0.6 * scale) * np.array([k, k + 1]) / stripes
        colour = awning if k % 2 else (240, 236, 226)
        flare = 0.12 * scale * ((k + 0.5) / stripes * 2 - 1)
        _fill(picture, [(x0, base - 2.3 * scale), (x1, base - 2.3 * scale), (x1 + flare, base - 1.8 * scale),
                        (x0 + flare, base - 1.8 * scale)], colour)  # fmt: skip


def _window(picture: Picture, x: float, y: float, scale: float, wall: Colour, lit: bool) -> None:
    w, h = 0.45 * scale, 1.35 * scale
    _box(
        picture,
        x - w - 0.1 * scale,
        y - h - 0.1 * scale,
        x + w + 0.1 * scale,
        y + 0.08 * scale,
        tone(wall, 1.2),
    )
    glass = (250, 214, 140) if lit else (82, 104, 126)
    _box(picture, x - w, y - h, x + w, y, glass)
    _box(picture, x - w, y - h, x + w, y - h * 0.62, tone(glass, 0.8))
    _box(picture, x - 0.03 * scale, y - h, x + 0.03 * scale, y, tone(wall, 1.2))
    _box(picture, x - w - 0.16 * scale, y, x + w + 0.16 * scale, y + 0.14 * scale, tone(wall, 0.8))


def _road(picture: Picture, camera: Camera, rng: np.random.Generator) -> None:
    walk = ((188, 182, 172), (172, 176, 180), (196, 180, 160))[int(rng.integers(3))]
    _band(picture, camera, 0.355, 0.5, tone(walk, 0.92), tone(walk, 0.98))
    _slabs(picture, camera, 0.355, 0.5, tone(walk, 0.82))
    _band(picture, camera, 0.49, 0.5, (206, 204, 198), (206, 204, 198))
    _band(picture, camera, 0.5, 0.516, (120, 118, 114), (112, 110, 108))
    _band(picture, camera, 0.516, 0.82, (92, 94, 100), (106, 107, 112))
    _mottle(picture, camera, 0.516, 0.82, 5, rng)
    middle = picture.shape[1] / 2
    for start in np.arange(-60, 60, 4.5):
        _quad(picture, camera, middle, (start, start + 2.2), (0.664, 0.678), (232, 230, 222))
    _band(picture, camera, 0.528, 0.533, (204, 202, 194), (204, 202, 194))
    if rng.random() < 0.6:
        at = float(rng.uniform(-5, 3))
        for stripe in np.arange(0.54, 0.80, 0.038):
            _quad(picture, camera, middle, (at, at + 3.0), (stripe, stripe + 0.019), (226, 224, 218))
    _band(picture, camera, 0.815, 0.828, (124, 122, 118), (132, 130, 126))
    _band(picture, camera, 0.828, 0.845, (210, 208, 202), (214, 212, 206))
    _band(picture, camera, 0.845, 1.02, tone(walk, 1.0), tone(walk, 1.07))
    _slabs(picture, camera, 0.845, 1.02, tone(walk, 0.86))
    _mottle(picture, camera, 0.845, 1.02, 4, rng)


def _slabs(picture: Picture, camera: Camera, near: float, far: float, colour: Colour) -> None:
    middle, line = picture.shape[1] / 2, 0.012
    for x in np.arange(-40, 40, 0.9):
        _quad(picture, camera, middle, (x, x + line * 2), (near, far), colour)
    for depth in 1 / np.linspace(1 / near, 1 / far, 4)[1:-1]:
        _band(picture, camera, depth, depth * 1.006, colour, colour)


def _quad(
    picture: Picture,
    camera: Camera,
    middle: float,
    x: tuple[float, float],
    depth: tuple[float, float],
    colour: Colour,
) -> None:
    """Fill a rectangle that lies on the ground: x in metres from the middle, depth as ground lines."""
    (x0, x1), (d0, d1) = x, depth
    s0, s1 = camera.scale(d0), camera.scale(d1)
    y0, y1 = camera.ground(d0), camera.ground(d1)
    corners = np.array(
        [(middle + x0 * s0, y0), (middle + x1 * s0, y0), (middle + x1 * s1, y1), (middle + x0 * s1, y1)]
    )
    if corners[:, 0].max() > 0 and corners[:, 0].min() < picture.shape[1]:
        _fill(picture, corners, colour)


def _band(picture: Picture, camera: Camera, near: float, far: float, first: Colour, last: Colour) -> None:
    """Fill whole rows between two ground lines with a vertical gradient."""
    height = picture.shape[0]
    y0, y1 = (min(max(round(camera.ground(depth)), 0), height) for depth in (near, far))
    mix = np.linspace(0, 1, max(y1 - y0, 1))[: y1 - y0, None]
    picture[y0:y1] = (np.asarray(first) * (1 - mix) + np.asarray(last) * mix).astype(np.uint8)[:, None]


def _mottle(
    picture: Picture, camera: Camera, near: float, far: float, strength: float, rng: np.random.Generator
) -> None:
    """Add uneven brightness between two ground lines: coarse patches and a fine texture."""
    import cv2

    height, width = picture.shape[:2]
    y0, y1 = (min(max(round(camera.ground(depth)), 0), height) for depth in (near, far))
    if y1 <= y0:
        return
    coarse = rng.standard_normal((max((y1 - y0) // 8, 2), max(width // 40, 2))).astype(np.float32)
    fine = rng.standard_normal((y1 - y0, max(width // 2, 2))).astype(np.float32)
    field = cv2.resize(coarse, (width, y1 - y0), interpolation=cv2.INTER_CUBIC) * 0.7
    field += cv2.resize(fine, (width, y1 - y0), interpolation=cv2.INTER_LINEAR)
    picture[y0:y1] = np.clip(picture[y0:y1] + (strength * field)[..., None], 0, 255).astype(np.uint8)


def _tree(picture: Picture, camera: Camera, x: float, depth: float, rng: np.random.Generator) -> None:
    scale, base = camera.scale(depth), camera.ground(depth)
    tall = rng.uniform(2.6, 3.4)
    trunk = (104, 82, 66)
    _fill(picture, _oval(x, base, 0.9 * scale, 0.16 * scale), (84, 118, 66))
    top = base - tall * scale
    foot, crown = 0.14 * scale, 0.07 * scale
    _fill(picture, [(x - foot, base), (x - crown, top), (x + crown, top), (x + foot, base)], trunk)
    _fill(picture, [(x, base), (x + 0.3 * crown, top), (x + crown, top), (x + foot, base)], tone(trunk, 0.8))
    green = _GREENS[int(rng.integers(len(_GREENS)))]
    centre = np.array([x, base - (tall + 0.5) * scale])
    leaves = centre + np.clip(rng.normal(0, 1, (26, 2)), -1.5, 1.5) * [0.75 * scale, 0.5 * scale]
    for light, lift in ((0.72, 0.12), (0.9, -0.05), (1.1, -0.22)):
        r = (0.5 if light < 0.8 else 0.42 if light < 1 else 0.27) * scale
        for leaf in leaves + np.array([lift * 0.5, lift * 1.3]) * scale:
            _fill(picture, circle(leaf, r, 14), tone(green, light))


def _bushes(picture: Picture, camera: Camera, depth: float, rng: np.random.Generator) -> None:
    scale, base = camera.scale(depth), camera.ground(depth)
    for light, lift in ((0.7, 0.0), (0.86, 0.12), (1.0, 0.26)):
        for x in np.arange(-0.5 * scale, picture.shape[1] + scale, 0.55 * scale):
            r = rng.uniform(0.34, 0.5) * scale * (1.0 if light < 0.8 else 0.7)
            centre = (x + rng.uniform(-0.2, 0.2) * scale, base - (0.3 + lift) * scale)
            _fill(picture, circle(centre, r, 12), tone((86, 128, 74), light * rng.uniform(0.94, 1.06)))


def _fence(picture: Picture, camera: Camera, depth: float) -> None:
    scale, base = camera.scale(depth), camera.ground(depth)
    for rail in (0.35, 0.75):
        _box(picture, 0, base - (rail + 0.07) * scale, picture.shape[1], base - rail * scale, (150, 122, 92))
    for x in np.arange(0.3 * scale, picture.shape[1], 1.6 * scale):
        _box(picture, x - 0.06 * scale, base - 1.0 * scale, x + 0.06 * scale, base, (128, 100, 74))


def _grain(picture: Picture, rng: np.random.Generator, strength: float) -> Picture:
    height, width = picture.shape[:2]
    noise = rng.standard_normal((height, width, 1), dtype=np.float32) * strength
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def _oval(x: float, y: float, rx: float, ry: float) -> Points:
    oval: Points = circle((0, 0), 1.0, 24) * [rx, ry] + np.array([x, y])
    return oval


def _box(picture: Picture, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
    _fill(picture, box(x0, y0, x1, y1), colour)


def _fill(picture: Picture, points: Points | Outline, colour: Colour) -> None:
    import cv2

    fixed = np.round((np.asarray(points, np.float64) - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(picture, [fixed], colour, cv2.LINE_AA, 4)


def _blend(a: Colour, b: Colour, share: float) -> Colour:
    red, green, blue = (round(p + (q - p) * share) for p, q in zip(a, b, strict=True))
    return red, green, blue


def _any(rng: np.random.Generator) -> Colour:
    red, green, blue = (int(c) for c in rng.integers(10, 246, 3))
    return red, green, blue

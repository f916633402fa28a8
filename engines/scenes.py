"""Moving scenes with exact truth: people, cars and balls on a street, rendered at any index of time.

Everything follows from (seed, index, size, fps): no picture needs the one before it. Objects move in
seconds, so fps only says where in time the pictures lie. Objects are painted from far to near; boxes, masks
and keypoint visibility are read off the painted labels, so they are exact by construction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.detections import Detections, Masks
from engines.errors import InputError
from engines.scene_backdrop import Backdrop, backdrop
from engines.scene_light import gloss, shade
from engines.scene_people import KEYPOINTS, SKELETON, Gait, draw_person, make_figure
from engines.scene_shapes import Camera, Drawing, fill
from engines.scene_things import draw_ball, draw_car, draw_prop, make_ball, make_car

__all__ = ["CLASSES", "KEYPOINTS", "SKELETON", "Scene"]

CLASSES = ("person", "car", "ball")

_PERSON, _CAR, _BALL, _PROP = 0, 1, 2, -1
_PARTS = 16  # labels that each object may use: label = 1 + object * _PARTS + part
_LEAST = 0.17  # share of an object's silhouette that must show for it to be told


@dataclass(frozen=True, slots=True)
class _Slot:
    """A lane of objects of one kind: each crosses the picture, leaves it, and the next one enters."""

    kind: int
    depth: float  # ground line
    speed: float  # metres per second; negative goes left
    offset: float  # seconds by which its time is ahead
    pause: float  # seconds that each one stands still on its way
    prop: str = ""
    x: float = 0.0  # of furniture: pixels from the left of the picture


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """One object at one moment."""

    kind: int
    id: int
    depth: float
    drawing: Drawing


@dataclass(slots=True, eq=False)
class Scene:
    """A scene that can be rendered at any index.

    ``held_out`` gives colours, limb widths, bodies and a background that no other scene has, so that a model
    trained on the others is not measured on texture it has memorised. ``pan`` turns the camera to and fro by
    that share of the picture's width. ``count`` is about how many objects are to be seen at once.
    Raises InputError for sides outside 64..8192, an fps that is not positive, a seed or count below 0.
    """

    size: tuple[int, int] = (640, 360)  # width, height
    fps: float = 30.0
    seed: int = 0
    held_out: bool = False
    count: int = 9
    pan: float = 0.0
    background: Backdrop | None = None  # None: a street, or a park when held out
    _camera: Camera = field(init=False, repr=False)
    _slots: list[_Slot] = field(init=False, repr=False)
    _back: NDArray[np.uint8] = field(init=False, repr=False)
    _looks: dict[tuple[int, int], Any] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        width, height = self.size
        if not (64 <= width <= 8192 and 64 <= height <= 8192):
            raise InputError(f"scene: size: {width}x{height}, both sides must be 64..8192 pixels")
        if not self.fps > 0:
            raise InputError(f"scene: fps: {self.fps}, must be above 0")
        for name in ("seed", "count"):
            if getattr(self, name) < 0:
                raise InputError(f"scene: {name}: {getattr(self, name)}, must be 0 or more")
        rng = np.random.default_rng([self.seed, self.held_out])
        self._camera = Camera(
            self.size, height * float(rng.uniform(0.33, 0.38)), float(rng.uniform(2.0, 2.5))
        )
        kind: Backdrop = self.background or ("park" if self.held_out else "street")
        self._slots = list(_slots(self.count, self._camera, rng))
        self._back = backdrop(kind, self._camera, self._margin(), rng)

    def render(self, index: int) -> tuple[NDArray[np.uint8], Detections]:
        """Return picture ``index`` (H, W, 3) RGB and its truth.

        Boxes are tight around the visible pixels, masks are those pixels (+1/-1 over the box), ids stay while
        an object crosses the picture and are never used again. Keypoints are COCO's 17 for people: v 2 is
        visible, 1 inside the picture but covered, 0 outside (x = y = 0); other classes have zeros. An object
        of which less than about a sixth shows is left out.
        """
        shown = self._shown(index)
        picture, labels = self._paint(index, shown)
        return picture, _truth(shown, labels)

    def flow(self, index: int) -> NDArray[np.float32]:
        """Return (H, W, 2) x, y: how far what each pixel of ``index`` shows has come since ``index - 1``.

        Sampling picture ``index - 1`` at (x, y) - flow gives picture ``index`` wherever both show the same
        thing. It is exact for the background, for cars with their wheels and for balls; a person is taken as
        rigid limbs, torso and head, which leaves out foreshortening. Light and shadow do not follow it, and
        what was not there before has the background's flow.
        """
        shown = self._shown(index)
        _, labels = self._paint(index, shown)
        before = {item.id: item for item in self._shown(index - 1)}
        turned = self._turned(index) - self._turned(index - 1)
        flow = np.zeros((*labels.shape, 2), np.float32)
        flow[..., 0] = turned
        for order, item in enumerate(shown):
            past = before.get(item.id)
            if past is not None:
                _part_flow(flow, labels, 1 + order * _PARTS, item.drawing, past.drawing)
        return flow

    def _shown(self, index: int) -> list[_Shown]:
        """Return what stands in the world at that picture, from far to near."""
        seconds = index / self.fps
        shown = [
            self._place(number, slot, seconds, self._turned(index)) for number, slot in enumerate(self._slots)
        ]
        return sorted(shown, key=lambda item: (item.depth, item.id))

    def _place(self, number: int, slot: _Slot, seconds: float, turned: int) -> _Shown:
        scale = self._camera.scale(slot.depth)
        if slot.kind == _PROP:
            drawing = draw_prop(slot.prop, slot.x + turned, slot.depth, self._camera)
            return _Shown(slot.kind, -1 - number, slot.depth, drawing)
        room = 2.8 if slot.kind == _CAR else 0.8  # metres by which an object waits outside
        span = self.size[0] / scale + 2 * room + 2 * self._margin() / scale
        turn = span / abs(slot.speed) + slot.pause
        number_of_pass, since = divmod(seconds + slot.offset, turn)
        look, at, wave = self._look(number, slot, int(number_of_pass))
        stop = at * span / abs(slot.speed)  # seconds after which it stands still
        way = abs(slot.speed) * (min(since, stop) + max(since - stop - slot.pause, 0.0))
        face = 1.0 if slot.speed > 0 else -1.0
        metres = way - room - self._margin() / scale
        x = (metres * scale if face > 0 else self.size[0] - metres * scale) + turned
        identity = 1 + number + len(self._slots) * int(number_of_pass)
        if slot.kind == _CAR:
            drawing = draw_car(look, x, slot.depth, face * (way + 1e-9), self._camera)
        elif slot.kind == _BALL:
            beat = 0.5 + at
            height = 4 * wave * 0.9 * (since / beat % 1) * (1 - since / beat % 1)
            drawing = draw_ball(look, x, slot.depth, height, face * way, self._camera)
        else:
            gait = _gait(slot, x, way, since - stop, wave)
            drawing = draw_person(look, gait, self._camera)
        return _Shown(slot.kind, identity, slot.depth, drawing)

    def _look(self, number: int, slot: _Slot, number_of_pass: int) -> tuple[Any, float, float]:
        """Return the look of one pass, and two numbers 0..1 that belong to it; kept while it lasts."""
        key = (number, number_of_pass)
        if key not in self._looks:
            rng = np.random.default_rng([self.seed, self.held_out, 7, number, number_of_pass])
            make = (make_figure, make_car, make_ball)[slot.kind]
            if len(self._looks) > 256:
                self._looks.clear()
            self._looks[key] = (make(rng, self.held_out), float(rng.uniform(0.3, 0.7)), float(rng.random()))
        look, at, wave = self._looks[key]
        return look, at, wave

    def _margin(self) -> int:
        return int(abs(self.pan) * self.size[0]) + 2 if self.pan else 0

    def _turned(self, index: int) -> int:
        """Return how many whole pixels the picture has moved to the right by the camera's turn."""
        return round(self.pan * self.size[0] * float(np.sin(2 * np.pi * index / self.fps / 12)))

    def _paint(self, index: int, shown: list[_Shown]) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        width, height = self.size
        left = self._margin() - self._turned(index)
        picture = self._back[:, left : left + width].copy()
        labels = np.zeros((height, width), np.int32)
        for item in shown:
            shade(picture, item.drawing.shadow)
        for order, item in enumerate(shown):
            fill(picture, labels, item.drawing.strokes, 1 + order * _PARTS)
            if item.drawing.gloss[2] > 0:
                gloss(picture, item.drawing.gloss)
        return picture, labels


def _slots(count: int, camera: Camera, rng: np.random.Generator) -> Iterator[_Slot]:
    """Choose lanes for about ``count`` objects, and the furniture between them."""
    cars, balls = round(count * 0.23), round(count * 0.22)
    lanes = [(0.605, 1.0), (0.765, -1.0)]
    for number in range(cars):
        depth, face = lanes[number % 2]
        speed = face * float(rng.uniform(4.5, 7.5))
        yield _Slot(_CAR, depth + number // 2 * 0.02, speed, float(rng.uniform(0, 8)), 0.0)
    for _ in range(balls):
        depth = float(rng.choice([rng.uniform(0.5, 0.7), rng.uniform(0.8, 0.97)]))
        yield _Slot(_BALL, depth, _sign(rng) * float(rng.uniform(1.2, 3.0)), float(rng.uniform(0, 20)), 0.0)
    for number in range(count - cars - balls):
        depth = float(rng.uniform(0.4, 0.49) if number % 5 in (1, 4) else rng.uniform(0.84, 1.0))
        if number % 5 == 3:
            depth = float(rng.uniform(0.5, 0.8))
        runs = rng.random() < 0.2
        speed = _sign(rng) * float(rng.uniform(2.2, 3.0) if runs else rng.uniform(0.9, 1.5))
        pause = float(rng.uniform(2.5, 5)) if not runs and rng.random() < 0.45 else 0.0
        yield _Slot(_PERSON, depth, speed, float(rng.uniform(0, 30)), pause)
    width = camera.size[0]
    for number in range(2):
        x = width * (number + float(rng.uniform(0.15, 0.85))) / 2
        prop = ("lamp", "sign", "bin")[int(rng.integers(3))]
        yield _Slot(_PROP, 0.835 if number else 0.495, 0.0, 0.0, 0.0, prop, x)


def _gait(slot: _Slot, x: float, way: float, rest: float, wave: float) -> Gait:
    """Return how a person moves ``rest`` seconds after its stop (negative: before), easing into it."""
    still = _ease(rest / 0.4 + 1) * _ease((slot.pause - rest) / 0.4 + 1) if slot.pause else 0.0
    away = 0.0 if slot.speed > 0 else np.pi
    side = (0.42 * np.sin(2 * np.pi * wave)) * (1 if slot.speed > 0 else -1)
    heading = away + side + (np.pi / 2 - away - side) * still
    speed = abs(slot.speed)
    swing = (1.0 if speed < 1.8 else 1.5) * (1 - still)
    stride = 1.45 if speed < 1.8 else 2.3
    raised = (
        _ease((rest - 0.5) / 0.4) * _ease((slot.pause - rest - 0.4) / 0.4)
        if slot.pause and wave > 0.35
        else 0.0
    )
    phase = 2 * np.pi * way / stride + 6 * wave
    return Gait(x, slot.depth, float(heading), phase, swing, raised, rest)


def _truth(shown: list[_Shown], labels: NDArray[np.int32]) -> Detections:
    """Read boxes, masks and keypoint visibility off the painted labels."""
    rows = []
    for order, item in enumerate(shown):
        if item.kind == _PROP:
            continue
        first = 1 + order * _PARTS
        found = _visible(labels, item.drawing, first)
        if found is None:
            continue
        box, mask = found
        if np.count_nonzero(mask) < max(_LEAST * item.drawing.bulk, 12):
            continue
        rows.append(
            (
                box,
                item.kind,
                item.id,
                np.where(mask, np.float32(1), np.float32(-1)),
                _keypoints(item, labels, first),
            )
        )
    if not rows:
        return Detections(keypoints=np.zeros((0, len(KEYPOINTS), 3), np.float32))
    boxes = np.array([row[0] for row in rows], np.float32)
    return Detections.of(
        boxes,
        np.ones(len(rows)),
        [row[1] for row in rows],
        ids=np.array([row[2] for row in rows], np.int64),
        keypoints=np.stack([row[4] for row in rows]),
        masks=Masks(tuple(row[3] for row in rows), boxes),
    )


def _visible(
    labels: NDArray[np.int32], drawing: Drawing, first: int
) -> tuple[tuple[int, int, int, int], NDArray[np.bool_]] | None:
    """Return the box of the pixels that show this object, and which of the box's pixels those are."""
    x0, y0, x1, y1 = _extent(drawing, labels.shape)
    window = labels[y0:y1, x0:x1]
    mask = (window >= first) & (window < first + _PARTS)
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if len(columns) == 0:
        return None
    left, right, top, bottom = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
    box = (x0 + int(left), y0 + int(top), x0 + int(right), y0 + int(bottom))
    return box, mask[top:bottom, left:right]


def _extent(drawing: Drawing, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return the whole-pixel rectangle inside the picture that holds every solid stroke."""
    points = np.concatenate([stroke.points for stroke in drawing.strokes if stroke.part >= 0])
    low, high = points.min(axis=0) - 2, points.max(axis=0) + 3
    x0, x1 = (min(max(int(x), 0), shape[1]) for x in (low[0], high[0]))
    y0, y1 = (min(max(int(y), 0), shape[0]) for y in (low[1], high[1]))
    return x0, y0, x1, y1


def _keypoints(item: _Shown, labels: NDArray[np.int32], first: int) -> NDArray[np.float32]:
    keypoints = np.zeros((len(KEYPOINTS), 3), np.float32)
    height, width = labels.shape
    for k, ((x, y), owners) in enumerate(zip(item.drawing.keypoints, item.drawing.owners, strict=False)):
        if 0 <= x < width and 0 <= y < height:
            top = int(labels[int(y), int(x)]) - first
            keypoints[k] = x, y, 2 if top in owners else 1
    return keypoints


def _part_flow(
    flow: NDArray[np.float32], labels: NDArray[np.int32], first: int, now: Drawing, past: Drawing
) -> None:
    x0, y0, x1, y1 = _extent(now, labels.shape)
    window = labels[y0:y1, x0:x1] - first
    for part in range(len(now.poses)):
        ys, xs = np.nonzero(window == part)
        if len(xs) == 0:
            continue
        here = np.stack([xs + x0 + 0.5, ys + y0 + 0.5])
        own = np.linalg.solve(now.poses[part][:, :2], here - now.poses[part][:, 2:])
        there = past.poses[part][:, :2] @ own + past.poses[part][:, 2:]
        flow[ys + y0, xs + x0] = (here - there).T


def _sign(rng: np.random.Generator) -> float:
    return 1.0 if rng.random() < 0.5 else -1.0


def _ease(t: float) -> float:
    """Return 0 below 0, 1 above 1, smooth between."""
    t = min(max(t, 0.0), 1.0)
    return t * t * (3 - 2 * t)

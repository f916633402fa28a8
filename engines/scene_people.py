"""People of a rendered scene: articulated figures that walk, run, stop and wave, with COCO's keypoints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.scene_body import (
    BACK,
    FOOT,
    FORE,
    HAND,
    HAND_TIP,
    HEAD,
    HEAD_C,
    HEEL,
    NECK,
    SHIN,
    THIGH,
    TOE,
    TORSO,
    UPPER,
    Figure,
    body,
)
from engines.scene_shapes import Camera, Colour, Drawing

__all__ = ["KEYPOINTS", "SKELETON", "Figure", "Gait", "draw_person", "make_figure"]

# fmt: off
KEYPOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip",
    "left_knee", "right_knee", "left_ankle", "right_ankle",
)
SKELETON = (
    (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8),
    (7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
)

_SKIN = ((255, 219, 190), (240, 194, 160), (214, 160, 122), (168, 116, 82), (122, 82, 60), (92, 62, 48))
_HAIR = ((40, 30, 28), (74, 50, 36), (120, 84, 52), (196, 152, 88), (140, 140, 146), (30, 30, 36))
_CLOTH = (
    (214, 62, 58), (240, 150, 50), (244, 200, 76), (92, 168, 96), (50, 130, 150), (64, 104, 190),
    (122, 88, 176), (226, 122, 150), (236, 236, 230), (70, 76, 92), (164, 60, 80), (150, 190, 214),
)
_TROUSERS = ((52, 62, 92), (44, 46, 56), (96, 84, 72), (120, 126, 138), (72, 92, 128), (150, 128, 98))
_CLOTH_OUT = (
    (30, 120, 70), (190, 40, 120), (20, 70, 120), (200, 210, 60), (110, 60, 30), (180, 180, 190),
    (250, 110, 20), (20, 150, 170), (60, 20, 80), (230, 215, 180),
)
_TROUSERS_OUT = ((120, 30, 40), (30, 70, 50), (200, 190, 170), (20, 20, 24), (70, 50, 110))
_SHOES = ((240, 240, 240), (50, 44, 44), (150, 60, 50), (60, 80, 120))
# fmt: on


@dataclass(frozen=True, slots=True)
class Gait:
    """Where a person is in its walk."""

    x: float  # pixels, where the pelvis stands
    depth: float  # ground line, see Camera.ground
    heading: float  # radians: 0 walks right, pi left, pi/2 faces the camera
    phase: float  # radians, one stride (two steps) is 2 pi
    swing: float  # 0 stands, 1 walks, 1.6 runs
    wave: float  # 0..1 how far the right arm is raised
    seconds: float  # for the hand that waves


def make_figure(rng: np.random.Generator, held_out: bool) -> Figure:
    """Choose a figure; held-out figures have limb widths and colours that the others never have."""
    cloth, trousers = (_CLOTH_OUT, _TROUSERS_OUT) if held_out else (_CLOTH, _TROUSERS)
    girth = (
        rng.choice([rng.uniform(0.74, 0.84), rng.uniform(1.2, 1.34)]) if held_out else rng.uniform(0.9, 1.14)
    )
    bag = rng.random() < 0.3
    return Figure(
        stature=float(rng.uniform(1.52, 1.9)),
        girth=float(girth),
        head=float(rng.uniform(0.112, 0.128)),
        skin=_pick(rng, _SKIN),
        hair=_pick(rng, _HAIR),
        shirt=_pick(rng, cloth),
        trousers=_pick(rng, trousers),
        shoes=_pick(rng, _SHOES),
        long_sleeves=bool(rng.random() < 0.5),
        shorts=bool(rng.random() < 0.3),
        long_hair=bool(rng.random() < 0.4),
        pack=_pick(rng, cloth) if bag else None,
        cap=_pick(rng, cloth) if rng.random() < 0.25 else None,
    )


def draw_person(figure: Figure, gait: Gait, camera: Camera) -> Drawing:
    """Draw the figure in its pose: strokes from far to near, 17 keypoints and the parts that own them."""
    joints = _joints(figure, gait)
    scale = camera.scale(gait.depth) * figure.stature / 1.72
    ground = camera.ground(gait.depth)
    turned = joints @ _turn(gait.heading)  # right, up, towards the camera
    px = np.stack(
        [gait.x + scale * turned[:, 0], ground - scale * (turned[:, 1] - 0.14 * turned[:, 2])], axis=1
    )
    near = turned[:, 2]
    shadow = (gait.x + 0.1 * scale, ground + 0.01 * scale, 0.46 * scale, 0.1 * scale)
    strokes, poses = body(figure, px, near, scale)
    return Drawing(strokes, poses, shadow, 0.44 * scale * scale, px[:17], _owners(near))


def _joints(figure: Figure, gait: Gait) -> NDArray[np.float64]:
    """Return (26, 3) joints as forward, left, up in metres, feet on the ground at 0."""
    joint = np.zeros((26, 3))
    run = max(gait.swing - 1, 0) / 0.6
    pelvis = 0.0
    legs = []
    for side in (0, 1):
        phase = gait.phase + np.pi * side
        thigh = gait.swing * 0.42 * np.sin(phase) + 0.10 * run + 0.03
        bend = 0.08 + gait.swing * (0.62 + 0.35 * run) * max(np.cos(phase - 0.25), 0.0) ** 1.4 + 0.12 * run
        shin = thigh - bend
        knee = np.array([np.sin(thigh), 0.0, -np.cos(thigh)]) * 0.43
        ankle = knee + np.array([np.sin(shin), 0.0, -np.cos(shin)]) * 0.42
        pitch = shin * 0.7 + 0.05
        toe = ankle + np.array(
            [np.cos(pitch) * 0.15 - np.sin(pitch) * -0.05, 0.0, -0.05 + np.sin(pitch) * 0.15]
        )
        heel = ankle + np.array([-0.05, 0.0, -0.05 - 0.05 * np.sin(pitch)])
        legs.append((knee, ankle, toe, heel))
        pelvis = max(pelvis, -min(toe[2], heel[2]) + 0.03)
    lean = 0.04 * gait.swing + 0.16 * run
    spine = np.array([np.sin(lean), 0.0, np.cos(lean)])
    centre = np.array([0.0, 0.0, pelvis])
    twist = 0.12 * gait.swing * np.sin(gait.phase)
    for side, left in ((0, 1.0), (1, -1.0)):
        knee, ankle, toe, heel = legs[side]
        hip = centre + np.array([0.0, 0.095 * left, 0.0])
        joint[11 + side], joint[13 + side], joint[15 + side] = hip, hip + knee, hip + ankle
        joint[TOE + side], joint[HEEL + side] = hip + toe, hip + heel
        shoulder = centre + spine * 0.49 + np.array([-twist * left, 0.175 * left * figure.girth**0.5, 0.0])
        raised = gait.wave if side else 0.0
        joint[5 + side] = shoulder
        elbow, wrist, hand = _arm(gait, side, left, raised, run)
        joint[7 + side], joint[9 + side], joint[HAND_TIP + side] = (
            shoulder + elbow,
            shoulder + wrist,
            shoulder + hand,
        )
    head = centre + spine * 0.70 + np.array([0.03, 0.0, 0.0])
    r = figure.head
    joint[0] = head + np.array([r * 1.04, 0.0, -0.02])
    joint[1:3] = head + np.array([[r * 0.84, r * 0.36, 0.022], [r * 0.84, -r * 0.36, 0.022]])
    joint[3:5] = head + np.array([[0.0, r * 0.92, 0.0], [0.0, -r * 0.92, 0.0]])
    joint[HEAD_C], joint[NECK] = head, centre + spine * 0.52
    joint[BACK] = centre + spine * 0.33 + np.array([-0.15, 0.0, 0.0])
    return joint


def _arm(
    gait: Gait, side: int, left: float, raised: float, run: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return elbow, wrist and hand from the shoulder: a swing blended into a raised, waving arm."""
    phase = gait.phase + np.pi * side
    upper = -gait.swing * 0.42 * np.sin(phase)
    fore = upper + 0.18 + 0.25 * gait.swing + 1.1 * run
    out = 0.09 * left
    elbow = np.array([np.sin(upper) * 0.27, out * 0.5, -np.cos(upper) * 0.27])
    reach = np.array([np.sin(fore), out * 0.4, -np.cos(fore)])
    hand_wave = 0.35 * np.sin(2 * np.pi * 1.6 * gait.seconds)
    up_elbow = np.array([0.05, 0.20 * left, 0.12])
    up_reach = np.array([0.1, (0.25 + hand_wave) * left, 0.95])
    elbow = elbow + (up_elbow - elbow) * raised
    reach = reach + (up_reach - reach) * raised
    reach = reach / np.linalg.norm(reach)
    return elbow, elbow + reach * 0.24, elbow + reach * 0.31


def _turn(heading: float) -> NDArray[np.float64]:
    """Return the (3, 3) matrix from (forward, left, up) rows to (right, up, towards the camera)."""
    c, s = np.cos(heading), np.sin(heading)
    return np.array([[c, 0.0, s], [s, 0.0, -c], [0.0, 1.0, 0.0]])


def _owners(near: NDArray[np.float64]) -> tuple[tuple[int, ...], ...]:
    """Return for each keypoint the parts that show it; none when it is on the far side of the head."""
    face = near[:5] - near[HEAD_C] > [-0.05, -0.025, -0.025, 0.0, 0.0]
    owners: list[tuple[int, ...]] = [(HEAD,) if seen else () for seen in face]
    for k in range(5, 17):
        parts = tuple(pair[(k + 1) % 2] for pair in _HOLDERS[(k - 5) // 2])
        on_trunk = k in (5, 6, 11, 12) and near[k] > -0.06
        owners.append((*parts, TORSO) if on_trunk else parts)
    return tuple(owners)


_HOLDERS = ((UPPER,), (UPPER, FORE), (FORE, HAND), (THIGH,), (THIGH, SHIN), (SHIN, FOOT))  # shoulder to ankle


def _pick(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    return colours[int(rng.integers(len(colours)))]

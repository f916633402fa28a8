"""Clips: a key frame of a rendered scene and frames that follow it, for models that look back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from engines.scenes import Scene
from trainers.data.batch import Sample
from trainers.data.scenes import scene_sample

__all__ = ["INTERVAL", "Clip", "render_clips", "render_pairs"]

INTERVAL = 5  # frames from one key frame to the next

Clip = tuple[Sample, ...]  # the key frame first

_EACH = 4  # pairs taken of one scene
_RATES = (30.0, 15.0, 10.0)  # frames per second that pairs are taken at
_PANS = (0.0, 0.0, 0.06, 0.15)  # how far their cameras turn, see engines.scenes


def render_pairs(
    count: int, first_seed: int, longest: int, tell: Callable[[int], None] = lambda done: None
) -> list[Clip]:
    """Render ``count`` clips of a key frame and one of those until the next; the same call, the same clips.

    They have no masks: what they teach is how pictures move. ``tell`` is called with the number done.
    """
    made: list[Clip] = []
    for number in range(-(-count // _EACH)):
        seed = first_seed + number
        rng = np.random.default_rng([seed, 98])
        ground: Literal["clutter"] | None = "clutter" if rng.random() < 0.35 else None
        pan, rate, most = float(rng.choice(_PANS)), float(rng.choice(_RATES)), int(rng.integers(5, 13))
        scene = Scene((480, 288), rate, seed, False, most, pan, ground)
        for _ in range(min(_EACH, count - len(made))):
            key, apart = int(rng.integers(0, 3000)), int(rng.integers(1, INTERVAL))
            made.append(tuple(scene_sample(scene, index, longest) for index in (key, key + apart)))
        tell(len(made))
    return made


def render_clips(count: int, first_seed: int, *, held_out: bool, fps: float = 30.0) -> list[Clip]:
    """Render ``count`` clips of a key frame and all frames until the next, with masks, 640x360 pixels."""
    made: list[Clip] = []
    for number in range(count):
        scene = Scene((640, 360), fps, first_seed + number, held_out)
        first = 37 * number
        made.append(
            tuple(scene_sample(scene, index, 640, "segment") for index in range(first, first + INTERVAL))
        )
    return made

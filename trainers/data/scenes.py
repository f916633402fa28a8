"""Rendered pictures as a data set: `engines.scenes` with varied sizes, counts and backgrounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from engines.scenes import CLASSES, Scene
from trainers.data.batch import Sample

__all__ = ["CLASSES", "SEEDS", "render_scenes"]

SEEDS = {"train": 1_000, "val": 1_000_000, "held_out": 2_000_000, "fresh": 3_000_000}  # first seed of each

_SIZES = ((640, 360), (640, 360), (480, 270), (426, 240), (320, 180), (480, 360), (360, 480))
_EACH = 4  # pictures taken of one scene


def render_scenes(
    count: int,
    first_seed: int,
    longest: int,
    *,
    held_out: bool = False,
    clutter: float = 0.0,
    fixed: tuple[int, int] | None = None,
    tell: Callable[[int], None] = lambda done: None,
) -> list[Sample]:
    """Render ``count`` pictures, the longer side at most ``longest`` pixels; the same call gives the same.

    ``clutter`` is the share of scenes before a background of no meaning; ``fixed`` renders all at one size.
    ``tell`` is called with the number of pictures done.
    """
    samples: list[Sample] = []
    for number in range(-(-count // _EACH)):
        seed = first_seed + number
        rng = np.random.default_rng([seed, 99])
        size = fixed or _SIZES[int(rng.integers(len(_SIZES)))]
        ground: Literal["clutter"] | None = "clutter" if rng.random() < clutter else None
        scene = Scene(size, 30.0, seed, held_out, int(rng.integers(5, 13)), background=ground)
        for _ in range(min(_EACH, count - len(samples))):
            samples.append(_sample(scene, int(rng.integers(0, 3000)), longest))
        tell(len(samples))
    return samples


def _sample(scene: Scene, index: int, longest: int) -> Sample:
    import cv2

    image, truth = scene.render(index)
    ratio = min(longest / max(scene.size), 1.0)
    boxes = truth.boxes
    if ratio < 1:
        width, height = (round(side * ratio) for side in scene.size)
        boxes = boxes * np.array([width / scene.size[0], height / scene.size[1]] * 2, np.float32)
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return Sample(image, boxes, truth.classes.astype(np.int64))

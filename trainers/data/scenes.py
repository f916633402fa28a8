"""Rendered pictures as a data set: `engines.scenes` with varied sizes, counts and backgrounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np

from engines.detections import Masks
from engines.scenes import CLASSES, Scene
from engines.spec import Task
from trainers.data.batch import Sample

__all__ = ["CLASSES", "SEEDS", "render_scenes", "scene_sample"]

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
    task: Task = "detect",
    tell: Callable[[int], None] = lambda done: None,
) -> list[Sample]:
    """Render ``count`` pictures, the longer side at most ``longest`` pixels, 0 = any; same call, same ones.

    ``clutter`` is the share of scenes before a background of no meaning; ``fixed`` renders all at one size.
    Masks come with the task ``segment``, keypoints with ``pose``. ``tell`` is called with the number of
    pictures done.
    """
    samples: list[Sample] = []
    for number in range(-(-count // _EACH)):
        seed = first_seed + number
        rng = np.random.default_rng([seed, 99])
        size = fixed or _SIZES[int(rng.integers(len(_SIZES)))]
        ground: Literal["clutter"] | None = "clutter" if rng.random() < clutter else None
        scene = Scene(size, 30.0, seed, held_out, int(rng.integers(5, 13)), background=ground)
        for _ in range(min(_EACH, count - len(samples))):
            samples.append(scene_sample(scene, int(rng.integers(0, 3000)), longest, task))
        tell(len(samples))
    return samples


def scene_sample(scene: Scene, index: int, longest: int, task: Task = "detect") -> Sample:
    """Return one picture of a scene as a sample, the longer side at most ``longest`` pixels, 0 for any."""
    import cv2

    image, truth = scene.render(index)
    ratio = min(longest / max(scene.size), 1.0) if longest else 1.0
    sides = (round(scene.size[0] * ratio), round(scene.size[1] * ratio))
    gain = np.array([sides[0] / scene.size[0], sides[1] / scene.size[1]], np.float32)
    if ratio < 1:
        image = cv2.resize(image, sides, interpolation=cv2.INTER_AREA)
    masks, keypoints = Masks(), np.zeros((0, 0, 3), np.float32)
    if task == "segment":
        masks = replace(truth.masks, regions=truth.masks.regions * np.tile(gain, 2))
    if task == "pose":
        keypoints = truth.keypoints * np.array([*gain, 1], np.float32)
    boxes = truth.boxes * np.tile(gain, 2)
    return Sample(image, boxes, truth.classes.astype(np.int64), masks, keypoints)

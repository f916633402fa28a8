"""Augmentation of samples and frames of a video; boxes, masks and keypoints move with the pixels.

What part is seen and where, flip, colour, blur, noise, other pictures mixed in.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engines.detections import Masks
from engines.letterbox import place
from engines.spec import Resize
from trainers.config import Augment
from trainers.data.batch import Sample
from trainers.mixing import joined, mixup, paste
from trainers.windows import around, wider

__all__ = ["View", "augment", "augment_frames", "fit", "flip", "view"]

_PAD = (114, 114, 114)
_SEEN = 0.15  # share of a box that must stay in the picture
_LEAST = 3.0  # pixels: smaller boxes are dropped
_MIRRORED = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]  # of COCO's 17 keypoints


class View(NamedTuple):
    """How a picture lies on the input: its pixel p comes to p * gain + origin."""

    gain: NDArray[np.float64]  # (2,) x, y
    origin: NDArray[np.float64]  # (2,) x, y in input pixels


def fit(sample: Sample, size: tuple[int, int], resize: Resize = "letterbox") -> Sample:
    """Lay a sample into (width, height), as the runtime does."""
    import cv2

    height, width = sample.image.shape[:2]
    at = place((width, height), size, resize)
    image = np.full((size[1], size[0], 3), 114, np.uint8)
    view = image[at.top : at.top + at.size[1], at.left : at.left + at.size[0]]
    cv2.resize(sample.image, at.size, dst=view, interpolation=cv2.INTER_LINEAR)
    gain = np.array([at.size[0] / width, at.size[1] / height], np.float32)
    return _moved(sample, image, gain, np.array([at.left, at.top], np.float32))


def augment(
    samples: Sequence[Sample],
    index: int,
    size: tuple[int, int],
    how: Augment,
    rng: np.random.Generator,
    resize: Resize = "letterbox",
) -> Sample:
    """Return sample ``index`` of ``samples`` changed at random to (width, height).

    ``resize`` is how the runtime lays pictures into the input: with "stretch" both sides fill it.
    """

    def other() -> Sample:
        return samples[int(rng.integers(0, len(samples)))]

    if rng.random() < how.mosaic:
        others = [samples[int(i)] for i in rng.integers(0, len(samples), 3)]
        sample = _mosaic([samples[index], *others], size, how, rng)
    else:
        sample = _laid(samples[index], view(samples[index], size, how, rng, resize), size)
    # no numbers are drawn for what is off, so that older runs stay what they were
    if how.paste and rng.random() < how.paste:
        more = other()
        sample = paste(sample, _laid(more, view(more, size, how, rng, resize), size), rng)
    if how.mixup and rng.random() < how.mixup:
        more = other()
        sample = mixup(sample, _laid(more, view(more, size, how, rng, resize), size), rng)
    if rng.random() < how.flip:
        sample = flip(sample)
    return replace(sample, image=_colour(sample.image, how, rng))


def augment_frames(
    frames: Sequence[Sample],
    size: tuple[int, int],
    how: Augment,
    rng: np.random.Generator,
    resize: Resize = "letterbox",
) -> list[Sample]:
    """Change frames of one video, all of the first one's size, in the same way; without other pictures."""
    seen = view(frames[0], size, how, rng, resize)
    laid = [_laid(frame, seen, size) for frame in frames]
    if rng.random() < how.flip:
        laid = [flip(frame) for frame in laid]
    return [replace(frame, image=_colour(frame.image, how, copy.deepcopy(rng))) for frame in laid]


def flip(sample: Sample) -> Sample:
    """Return the mirror image; left and right keypoints (COCO's order) change places."""
    width = np.float32(sample.image.shape[1])
    boxes, regions = sample.boxes.copy(), sample.masks.regions.copy()
    for sides in (boxes, regions):
        sides[:, [0, 2]] = width - sides[:, [2, 0]]
    keypoints = sample.keypoints
    if keypoints.size:
        keypoints = keypoints[:, _MIRRORED]
        keypoints[..., 0] = np.where(keypoints[..., 2] > 0, width - keypoints[..., 0], 0)
    masks = Masks(tuple(np.ascontiguousarray(grid[:, ::-1]) for grid in sample.masks.grids), regions)
    return Sample(np.ascontiguousarray(sample.image[:, ::-1]), boxes, sample.classes, masks, keypoints)


def view(
    sample: Sample, size: tuple[int, int], how: Augment, rng: np.random.Generator, resize: Resize
) -> View:
    """Draw which part of a picture fills the input, at what scale and where."""
    height, width = sample.image.shape[:2]
    part = np.array([0, 0, width, height], np.float64)
    if how.expand and rng.random() < how.expand:
        part = wider(part, rng)
    elif how.crop and rng.random() < how.crop:
        part = around(part, sample.boxes, rng)
    sides = part[2:] - part[:2]
    gain = size / sides if resize == "stretch" else np.full(2, (size / sides).min())
    gain = gain * float(rng.uniform(1 - how.scale, 1 + how.scale))
    shift = rng.uniform(-how.shift, how.shift, 2) * size
    return View(gain, (size - sides * gain) / 2 + shift - part[:2] * gain)


def _laid(sample: Sample, seen: View, size: tuple[int, int]) -> Sample:
    """Lay a picture and its objects on the input; what is hardly in it is dropped."""
    import cv2

    # pixel centres: a pixel covers [i, i + 1), OpenCV's lie on whole numbers
    (across, down), (left, top) = seen.gain.tolist(), seen.origin.tolist()
    matrix = np.array([[across, 0.0, left + (across - 1) / 2], [0.0, down, top + (down - 1) / 2]])
    image = cv2.warpAffine(sample.image, matrix, size, flags=cv2.INTER_LINEAR, borderValue=_PAD)
    moved = _moved(sample, image, seen.gain.astype(np.float32), seen.origin.astype(np.float32))
    clipped = np.clip(moved.boxes, 0, np.array([*size, *size], np.float32))
    whole, visible = _area(moved.boxes), _area(clipped)
    sides = clipped[:, 2:] - clipped[:, :2]
    keep = (visible >= _SEEN * whole) & (sides.min(axis=1, initial=np.inf) >= _LEAST)
    keypoints = moved.keypoints
    if keypoints.size:
        inside = ((keypoints[..., :2] >= 0) & (keypoints[..., :2] < np.array(size))).all(axis=2)
        keypoints = np.where(inside[..., None], keypoints, np.float32(0))
    return replace(moved, boxes=clipped, keypoints=keypoints).take(keep)


def _mosaic(four: list[Sample], size: tuple[int, int], how: Augment, rng: np.random.Generator) -> Sample:
    """Lay four pictures around a point near the middle."""
    middle = (rng.uniform(0.35, 0.65, 2) * size).round()
    image = np.full((size[1], size[0], 3), 114, np.uint8)
    tiles = []
    for number, sample in enumerate(four):
        column, row = number % 2, number // 2
        x0, x1 = ((0, int(middle[0])), (int(middle[0]), size[0]))[column]
        y0, y1 = ((0, int(middle[1])), (int(middle[1]), size[1]))[row]
        height, width = sample.image.shape[:2]
        gain = max((x1 - x0) / width, (y1 - y0) / height) * float(rng.uniform(1.0, 1 + how.scale))
        slack = np.array([width * gain - (x1 - x0), height * gain - (y1 - y0)])
        seen = View(np.full(2, gain), -slack * rng.random(2))
        tile = _laid(sample, seen, (x1 - x0, y1 - y0))
        image[y0:y1, x0:x1] = tile.image
        tiles.append(_moved(tile, image, np.ones(2, np.float32), np.array([x0, y0], np.float32)))
    return joined(image, tiles)


def _moved(
    sample: Sample, image: NDArray[np.uint8], gain: NDArray[np.float32], origin: NDArray[np.float32]
) -> Sample:
    """Return the objects on another picture: coordinates times ``gain`` (x, y) plus ``origin`` (x, y)."""
    keypoints = sample.keypoints
    if keypoints.size:
        known = keypoints[..., 2:] > 0
        keypoints = np.concatenate(
            [np.where(known, keypoints[..., :2] * gain + origin, 0), keypoints[..., 2:]], axis=2
        ).astype(np.float32)
    four, start = np.tile(gain, 2), np.tile(origin, 2)
    masks = replace(sample.masks, regions=sample.masks.regions * four + start)
    return Sample(image, sample.boxes * four + start, sample.classes, masks, keypoints)


def _area(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    area: NDArray[np.float32] = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return area


def _colour(image: NDArray[np.uint8], how: Augment, rng: np.random.Generator) -> NDArray[np.uint8]:
    import cv2

    turn, saturate, lighten = rng.uniform(-1, 1, 3) * [how.hue, how.saturation, how.value]
    if how.hue or how.saturation or how.value:
        levels = np.arange(256)
        hue = ((levels + round(turn * 180)) % 180).astype(np.uint8)
        saturation = np.clip(levels * (1 + saturate), 0, 255).astype(np.uint8)
        value = np.clip(levels * (1 + lighten), 0, 255).astype(np.uint8)
        table = np.stack([hue, saturation, value], axis=1)[None]
        hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), table)
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    if rng.random() < how.blur:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.3, 1.1)))
    spread = float(rng.uniform(0, how.noise)) * (rng.random() < 0.5)
    if spread > 0.5:
        noise = rng.standard_normal(image.shape, dtype=np.float32) * spread
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    return image

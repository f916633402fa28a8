"""Augmentation of a sample with boxes, masks and keypoints: affine, flip, colour, blur, noise, mosaic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engines.detections import Masks
from engines.letterbox import place
from engines.spec import Resize
from trainers.config import Augment
from trainers.data.batch import Sample

__all__ = ["augment", "fit", "flip"]

_PAD = (114, 114, 114)
_SEEN = 0.15  # share of a box that must stay in the picture
_LEAST = 3.0  # pixels: smaller boxes are dropped
_MIRRORED = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]  # of COCO's 17 keypoints

Fetch = Callable[[int], Sample]


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
    samples: Sequence[Sample], index: int, size: tuple[int, int], how: Augment, rng: np.random.Generator
) -> Sample:
    """Return sample ``index`` of ``samples`` changed at random to (width, height)."""
    if rng.random() < how.mosaic:
        others = [samples[int(i)] for i in rng.integers(0, len(samples), 3)]
        sample = _mosaic([samples[index], *others], size, how, rng)
    else:
        sample = _affine(samples[index], size, how, rng)
    if rng.random() < how.flip:
        sample = flip(sample)
    return replace(sample, image=_colour(sample.image, how, rng))


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


def _affine(sample: Sample, size: tuple[int, int], how: Augment, rng: np.random.Generator) -> Sample:
    """Scale and shift the picture within the input, around where the letterbox would lay it."""
    height, width = sample.image.shape[:2]
    gain = min(size[0] / width, size[1] / height) * float(rng.uniform(1 - how.scale, 1 + how.scale))
    shift = rng.uniform(-how.shift, how.shift, 2) * size
    left, top = (size - np.array([width, height]) * gain) / 2 + shift
    return _warp(sample, size, gain, float(left), float(top))


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
        left, top = -slack * rng.random(2)
        tile = _warp(sample, (x1 - x0, y1 - y0), gain, float(left), float(top))
        image[y0:y1, x0:x1] = tile.image
        tiles.append(_moved(tile, image, np.ones(2, np.float32), np.array([x0, y0], np.float32)))
    return Sample(
        image,
        np.concatenate([tile.boxes for tile in tiles]),
        np.concatenate([tile.classes for tile in tiles]),
        Masks(
            tuple(grid for tile in tiles for grid in tile.masks.grids),
            np.concatenate([tile.masks.regions for tile in tiles]),
        ),
        np.concatenate([tile.keypoints for tile in tiles]),
    )


def _warp(sample: Sample, size: tuple[int, int], gain: float, left: float, top: float) -> Sample:
    import cv2

    # pixel centres: a pixel covers [i, i + 1), OpenCV's lie on whole numbers
    shift = (gain - 1) / 2
    matrix = np.array([[gain, 0.0, left + shift], [0.0, gain, top + shift]])
    image = cv2.warpAffine(sample.image, matrix, size, flags=cv2.INTER_LINEAR, borderValue=_PAD)
    moved = _moved(sample, image, np.full(2, gain, np.float32), np.array([left, top], np.float32))
    clipped = np.clip(moved.boxes, 0, np.array([*size, *size], np.float32))
    whole, seen = _area(moved.boxes), _area(clipped)
    sides = clipped[:, 2:] - clipped[:, :2]
    keep = (seen >= _SEEN * whole) & (sides.min(axis=1, initial=np.inf) >= _LEAST)
    keypoints = moved.keypoints
    if keypoints.size:
        inside = ((keypoints[..., :2] >= 0) & (keypoints[..., :2] < np.array(size))).all(axis=2)
        keypoints = np.where(inside[..., None], keypoints, np.float32(0))
    return replace(moved, boxes=clipped, keypoints=keypoints).take(keep)


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

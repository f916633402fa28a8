"""A sheet of training pictures with their boxes, masks and keypoints, to look at before a run."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from engines.classes import COCO_SKELETON
from engines.errors import InputError
from engines.masks import bitmap
from trainers import checkpoints, files
from trainers.augment import augment
from trainers.config import Config
from trainers.data.batch import Sample
from trainers.data.dataset import check, open_dataset

__all__ = ["preview"]

_COLOURS = ((70, 220, 80), (60, 150, 255), (255, 80, 60), (250, 200, 40), (200, 90, 250), (60, 220, 220))
_GAP = 4  # pixels between pictures
_APART = 4  # of several pictures of one scene one is shown, where there are enough


def preview(config: Config, output: str | Path, columns: int = 4, rows: int = 4) -> Path:
    """Write ``rows`` x ``columns`` augmented pictures of the training set as one picture; return its path.

    They are what a run's first epoch sees: the same pictures, changed by the same numbers.
    """
    output = Path(output)
    if output.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InputError(f"{output}: a name that ends in .png or .jpg is right")
    few = config.data.model_copy(update={"train": min(config.data.train, _APART * rows * columns), "val": 1})
    dataset = open_dataset(config.model_copy(update={"data": few}))
    with torch.device("meta"):
        net = checkpoints.build(config, len(dataset.classes))
    check(config, net)
    samples, _ = dataset.samples(net.task, lambda done: None)
    apart = max(min(len(samples) // (rows * columns), _APART), 1)
    tiles = []
    for number in range(rows * columns):
        index = number * apart % len(samples)
        rng = np.random.default_rng([config.seed, 0, index])
        sample = augment(samples, index, config.size, config.augment, rng, net.input.resize)
        tile = drawn(sample, dataset.classes)
        tiles.append(cv2.copyMakeBorder(tile, 0, _GAP, 0, _GAP, cv2.BORDER_CONSTANT, value=(255, 255, 255)))
    sheet = np.vstack([np.hstack(tiles[row * columns : (row + 1) * columns]) for row in range(rows)])
    files.write(output, cv2.imencode(output.suffix, sheet[..., ::-1])[1].tobytes())
    return output


def drawn(sample: Sample, classes: tuple[str, ...]) -> NDArray[np.uint8]:
    """Return the picture (H, W, 3) RGB of a sample with what its labels say."""
    image = np.ascontiguousarray(sample.image).copy()
    size = (image.shape[1], image.shape[0])
    for row, kind in enumerate(sample.classes.tolist()):
        colour = _COLOURS[kind % len(_COLOURS)]
        if len(sample.masks):
            left, top, pixels = bitmap(sample.masks, row, sample.boxes[row], size)
            part = image[top : top + pixels.shape[0], left : left + pixels.shape[1]]
            part[pixels > 0] = part[pixels > 0] // 2 + np.array(colour, np.uint8) // 2
        if len(sample.keypoints):
            _pose(image, sample.keypoints[row], colour)
        x0, y0, x1, y1 = sample.boxes[row].round().astype(int).tolist()
        cv2.rectangle(image, (x0, y0), (x1 - 1, y1 - 1), colour, 1)
        cv2.putText(
            image, classes[kind], (x0 + 1, y0 + 9), cv2.FONT_HERSHEY_SIMPLEX, 0.3, colour, 1, cv2.LINE_AA
        )
    return image


def _pose(image: NDArray[np.uint8], points: NDArray[np.float32], colour: tuple[int, int, int]) -> None:
    """Draw bones and joints: filled where visible, open where hidden."""
    at = points[:, :2].round().astype(int).tolist()
    for a, b in COCO_SKELETON if len(points) == 17 else ():
        if points[a, 2] and points[b, 2]:
            cv2.line(image, at[a], at[b], colour, 1, cv2.LINE_AA)
    for (x, y), seen in zip(at, points[:, 2], strict=True):
        if seen:
            cv2.circle(image, (x, y), 2, colour, -1 if seen == 2 else 1, cv2.LINE_AA)

"""A sheet of training pictures with their boxes, to look at before a run."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from engines.errors import InputError
from trainers.augment import augment
from trainers.config import Config
from trainers.data.scenes import SEEDS, render_scenes

__all__ = ["preview"]

_COLOURS = ((70, 220, 80), (60, 150, 255), (255, 80, 60))


def preview(config: Config, output: str | Path, columns: int = 4, rows: int = 4) -> Path:
    """Write ``rows`` x ``columns`` augmented pictures of the training set as one picture."""
    import cv2

    output = Path(output)
    if output.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InputError(f"{output}: a name that ends in .png or .jpg is right")
    longest = max(config.size) * 5 // 4
    samples = render_scenes(4 * rows * columns, SEEDS["train"], longest, clutter=config.data.clutter)
    tiles = []
    for number in range(rows * columns):
        rng = np.random.default_rng([config.seed, 0, number])
        sample = augment(samples, number * 4, config.size, config.augment, rng)
        tile = np.ascontiguousarray(sample.image)
        for (x0, y0, x1, y1), kind in zip(sample.boxes.astype(int).tolist(), sample.classes, strict=True):
            cv2.rectangle(tile, (x0, y0), (x1 - 1, y1 - 1), _COLOURS[int(kind) % len(_COLOURS)], 1)
        tiles.append(tile)
    sheet = np.vstack([np.hstack(tiles[row * columns : (row + 1) * columns]) for row in range(rows)])
    done, data = cv2.imencode(output.suffix, sheet[..., ::-1])
    if not done:
        raise InputError(f"{output}: cannot be encoded")
    draft = output.with_suffix(".tmp")
    draft.write_bytes(data.tobytes())
    os.replace(draft, output)
    return output

"""Parts of a picture that training shows instead of the whole: wider ones, and ones around objects (SSD)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.suppress import iou_matrix

__all__ = ["around", "wider"]

_MOST = 4.0  # times the picture's sides
_OVERLAPS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)  # of which one is drawn, as in Liu et al. 2016
_LEAST = 0.3  # of the picture's sides
_TRIES = 40


def wider(part: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a rectangle xyxy around ``part``, one to four times its sides, that holds it anywhere."""
    sides = part[2:] - part[:2]
    margin = sides * (float(rng.uniform(1, _MOST)) - 1)
    start = part[:2] - margin * rng.random(2)
    return np.concatenate([start, start + sides + margin])


def around(
    part: NDArray[np.float64], boxes: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return a rectangle xyxy within ``part`` that some box (M, 4) overlaps by a drawn IoU and lies in.

    Its sides are .3 to 1 of the part's, none twice as stretched; the part itself where none is found.
    """
    if not len(boxes):
        return part
    least, sides = float(rng.choice(_OVERLAPS)), part[2:] - part[:2]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    for _ in range(_TRIES):
        share = rng.uniform(_LEAST, 1, 2)
        if not 0.5 <= share[0] / share[1] <= 2:
            continue
        start = part[:2] + sides * (1 - share) * rng.random(2)
        tried = np.concatenate([start, start + sides * share])
        within = ((centres > tried[:2]) & (centres < tried[2:])).all(axis=1)
        overlap = iou_matrix(tried[None].astype(np.float32), boxes)[0]
        if (within & (overlap >= least)).any():
            return tried
    return part

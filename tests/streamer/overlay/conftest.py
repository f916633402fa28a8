"""Pictures to draw on, and the standards' own formulas to look at them with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from streamer.frame import Matrix, Planes

WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}  # Kr, Kb

Noise = Callable[..., Planes]
Decode = Callable[[Planes], NDArray[np.float64]]


@pytest.fixture
def noise() -> Noise:
    """Make writable planes of repeatable noise."""

    def make(
        size: tuple[int, int],
        subsampling: tuple[int, int] = (1, 1),
        matrix: Matrix = "bt601",
        full_range: bool = False,
    ) -> Planes:
        random = np.random.default_rng(7)
        (width, height), (sx, sy) = size, subsampling
        chroma = (-(-height // sy), -(-width // sx))
        y = random.integers(60, 190, (height, width)).astype(np.uint8)
        u, v = (random.integers(100, 150, chroma).astype(np.uint8) for _ in range(2))
        return Planes(y, u, v, matrix, full_range)

    return make


@pytest.fixture
def decode() -> Decode:
    """Turn planes into unclipped float RGB (H, W, 3) by the equations of BT.601/709/2020, chroma repeated."""

    def to_rgb(planes: Planes) -> NDArray[np.float64]:
        (width, height), (sx, sy) = planes.size, planes.subsampling
        y, u, v = (plane.astype(np.float64) for plane in (planes.y, planes.u, planes.v))
        u, v = (np.repeat(np.repeat(p, sy, 0), sx, 1)[:height, :width] for p in (u, v))
        luma, cb, cr = (y - 16) / 219, (u - 128) / 224, (v - 128) / 224
        if planes.full_range:
            luma, cb, cr = y / 255, (u - 128) / 255, (v - 128) / 255
        red, blue = WEIGHTS[planes.matrix]
        r, b = luma + 2 * (1 - red) * cr, luma + 2 * (1 - blue) * cb
        g = (luma - red * r - blue * b) / (1 - red - blue)
        return np.stack([r, g, b], axis=-1) * 255

    return to_rgb

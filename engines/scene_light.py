"""Light in a rendered scene: soft shadows on the ground, and the gloss that makes a disc a sphere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["gloss", "shade"]

_SOFT = np.clip(1.25 - 1.25 * np.hypot(*np.mgrid[-1:1:48j, -1:1:48j]), 0, 1).astype(np.float32) ** 1.2


def shade(picture: NDArray[np.uint8], shadow: tuple[float, float, float, float]) -> None:
    """Darken an ellipse on the ground, softly."""
    import cv2

    x, y, rx, ry = shadow
    height, width = picture.shape[:2]
    x0, x1, y0, y1 = (
        max(int(x - rx), 0),
        min(int(x + rx) + 1, width),
        max(int(y - ry), 0),
        min(int(y + ry) + 1, height),
    )
    if x1 <= x0 or y1 <= y0 or rx < 1 or ry < 0.5:
        return
    scale = np.array(
        [[24 / rx, 0, (x0 + 0.5 - x) * 24 / rx + 23.5], [0, 24 / ry, (y0 + 0.5 - y) * 24 / ry + 23.5]]
    )
    soft = cv2.warpAffine(_SOFT, scale, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    window = picture[y0:y1, x0:x1]
    window[...] = cv2.multiply(window, cv2.merge([1 - 0.5 * soft] * 3), dtype=cv2.CV_8U)


_ROWS, _COLUMNS = np.mgrid[-1:1:64j, -1:1:64j]
_LIT = np.clip(1.08 - 0.55 * np.hypot(_COLUMNS + 0.35, _ROWS + 0.4) ** 1.7, 0.42, 1.06).astype(np.float32)
_SPARK = np.clip(1.4 - 4.5 * np.hypot(_COLUMNS + 0.36, _ROWS + 0.42), 0, 1).astype(np.float32) * 110


def gloss(picture: NDArray[np.uint8], sphere: tuple[float, float, float]) -> None:
    """Shade a disc as a lit sphere."""
    import cv2

    x, y, r = sphere
    height, width = picture.shape[:2]
    x0, x1, y0, y1 = (
        max(int(x - r), 0),
        min(int(x + r) + 1, width),
        max(int(y - r), 0),
        min(int(y + r) + 1, height),
    )
    if x1 <= x0 or y1 <= y0:
        return
    scale = np.array(
        [[32 / r, 0, (x0 + 0.5 - x) * 32 / r + 31.5], [0, 32 / r, (y0 + 0.5 - y) * 32 / r + 31.5]]
    )
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    lit = cv2.warpAffine(_LIT, scale, (x1 - x0, y1 - y0), flags=how, borderMode=cv2.BORDER_REPLICATE)
    spark = cv2.warpAffine(_SPARK, scale, (x1 - x0, y1 - y0), flags=how)
    ys, xs = np.ogrid[y0:y1, x0:x1]
    inside = np.clip(r + 0.5 - np.hypot(xs + 0.5 - x, ys + 0.5 - y), 0, 1).astype(np.float32)
    window = picture[y0:y1, x0:x1]
    lit, spark = 1 + (lit - 1) * inside, spark * inside
    window[...] = np.clip(window * lit[..., None] + spark[..., None], 0, 255).astype(np.uint8)

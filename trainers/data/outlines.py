"""Outlines: polygons around objects, drawn from bitmaps and painted as masks by COCO's own rule."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.detections import Masks

__all__ = ["Outline", "painted", "traced"]

Outline = tuple[NDArray[np.float32], ...]  # polygons (P, 2) x, y, in shares of the picture

ROUNDING = np.float32(1 / 4096)  # pixels that a share may have lost; at half of COCO's grid it would tip over


def traced(bitmap: NDArray[np.uint8]) -> Outline:
    """Return what `painted` makes the same pixels of, holes too, out of a bitmap (H, W) of 0 and 1.

    One polygon goes around all parts and holes, to each and back by the same way: by the even-odd rule, such
    a way is nothing. It keeps to the object's side of the edge, a quarter of a pixel from it, so that no
    rounding changes a pixel. Nothing is returned for no pixels.
    """
    import cv2

    rows, columns = np.flatnonzero(bitmap.any(axis=1)), np.flatnonzero(bitmap.any(axis=0))
    if not len(rows):
        return ()
    y, x = int(rows[0]), int(columns[0])
    part = bitmap[y : rows[-1] + 1, x : columns[-1] + 1]
    fine = np.ascontiguousarray(part.repeat(2, axis=0).repeat(2, axis=1))
    rings, _ = cv2.findContours(fine, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    start = rings[0][:1, 0]
    way = np.concatenate([part for ring in rings for part in (ring[:, 0], ring[:1, 0], start)])
    corner, sides = np.array([x, y], np.float32), np.array(bitmap.shape[::-1], np.float32)
    return (((way.astype(np.float32) + 0.5) / 2 + corner) / sides,)


def painted(outlines: tuple[Outline, ...], shape: tuple[int, int]) -> Masks:
    """Return bitmaps of +1 and -1 on a picture of ``shape`` (height, width), with a margin of -1 around.

    The margin ends what a larger box would make of the outermost pixels. Polygons of one outline are one
    object, overlapping or not; which pixels are theirs is pycocotools' rule.
    """
    from pycocotools import mask

    sides = np.array(shape[::-1], np.float32)
    grids, regions = [], np.zeros((len(outlines), 4), np.float32)
    for row, outline in enumerate(outlines):
        parts = [part * sides + ROUNDING for part in outline]
        low = np.floor(np.min([part.min(axis=0) for part in parts], axis=0)) - 1
        high = np.ceil(np.max([part.max(axis=0) for part in parts], axis=0)) + 1
        width, height = (high - low).astype(int).tolist()
        flat = [(part - low).ravel().tolist() for part in parts if len(part) > 2]
        pixels = np.zeros((height, width), np.uint8)
        if flat:
            pixels = mask.decode(mask.merge(mask.frPyObjects(flat, height, width)))
        grids.append(np.where(pixels, np.float32(1), np.float32(-1)))
        regions[row] = (*low, *high)
    return Masks(tuple(grids), regions)

"""Sprite: a small drawing with its own opacity, made once and laid on many pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.frame import Matrix, Planes
from streamer.overlay.glyphs import glyphs
from streamer.overlay.palette import Rgb, ink_on, to_yuv

__all__ = ["Kind", "Sprite", "kind_of", "panel", "tag"]

Plane = NDArray[np.uint8]
Share = NDArray[np.float32]  # 0..1 for each pixel
Kind = tuple[tuple[int, int], Matrix, bool]  # subsampling, matrix, full range: what a sprite is made for


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """Planes of one kind, both sides even; laid on a picture it gives picture * clear / 255 + colour."""

    size: tuple[int, int]  # width, height in luma pixels
    colour: tuple[Plane, Plane, Plane] = field(repr=False)  # Y, U, V, already weighted by their opacity
    clear: tuple[Plane, Plane, Plane] = field(repr=False)  # what is let through, 255 = all


def kind_of(planes: Planes) -> Kind:
    """Return what a sprite must be made for to be laid on these planes."""
    return planes.subsampling, planes.matrix, planes.full_range


@lru_cache(maxsize=512)
def tag(text: str, fill: Rgb, measures: tuple[int, int, int], kind: Kind) -> Sprite:
    """Return one line of text on a rounded ground, in black or white, whichever is read more easily.

    measures: height of a capital, padding around the text, radius of the corners, all in pixels.
    """
    height, padding, radius = measures
    line = glyphs(text, height)
    width, tall = _even(line.coverage.shape[1] + 2 * padding), _even(height + 2 * padding)
    ink = np.zeros((tall, width), np.float32)
    _lay(line.coverage, ink, (width - line.coverage.shape[1]) // 2, (tall - height) // 2 - line.cap_top)
    ground = _rounded(width, tall, radius) * (1 - ink)
    return _sprite(ground, ink, to_yuv(fill, *kind[1:]), to_yuv(ink_on(fill), *kind[1:]), kind[0])


@lru_cache(maxsize=64)
def panel(size: tuple[int, int], fill: Rgb, opacity: float, radius: int, kind: Kind) -> Sprite:
    """Return an empty ground with round corners, its size (width, height) made even."""
    width, tall = map(_even, size)
    ground = _rounded(width, tall, radius) * np.float32(opacity)
    colour = to_yuv(fill, *kind[1:])
    return _sprite(ground, np.zeros_like(ground), colour, colour, kind[0])


def _sprite(
    ground: Share,
    ink: Share,
    ground_yuv: tuple[int, int, int],
    ink_yuv: tuple[int, int, int],
    subsampling: tuple[int, int],
) -> Sprite:
    tall, width = ground.shape
    coarse = (width // subsampling[0], tall // subsampling[1])
    chroma_ground = cv2.resize(ground, coarse, interpolation=cv2.INTER_AREA)
    chroma_ink = cv2.resize(ink, coarse, interpolation=cv2.INTER_AREA)
    grounds, inks = (ground, chroma_ground, chroma_ground), (ink, chroma_ink, chroma_ink)
    colour = tuple(_bytes(grounds[i] * ground_yuv[i] + inks[i] * ink_yuv[i]) for i in range(3))
    clear, chroma_clear = _bytes(255 * (1 - ground - ink)), _bytes(255 * (1 - chroma_ground - chroma_ink))
    return Sprite((width, tall), (colour[0], colour[1], colour[2]), (clear, chroma_clear, chroma_clear))


def _lay(coverage: Plane, ink: Share, left: int, top: int) -> None:
    """Write glyphs into the panel; rows that it is too low for are cut off."""
    rows = slice(max(-top, 0), min(ink.shape[0] - top, coverage.shape[0]))
    ink[rows.start + top : rows.stop + top, left : left + coverage.shape[1]] = coverage[rows] / np.float32(
        255
    )


def _rounded(width: int, height: int, radius: int) -> Share:
    """Coverage of a rounded rectangle, by the signed distance of each pixel's centre to its edge."""
    x = np.abs(np.arange(width, dtype=np.float32) + 0.5 - width / 2) - (width / 2 - radius)
    y = np.abs(np.arange(height, dtype=np.float32) + 0.5 - height / 2) - (height / 2 - radius)
    outside = np.hypot(np.maximum(x, 0)[None, :], np.maximum(y, 0)[:, None])
    share: Share = np.clip(radius + 0.5 - outside, 0, 1).astype(np.float32)
    return share


def _even(length: int) -> int:
    return length + length % 2


def _bytes(values: Share) -> Plane:
    plane: Plane = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    plane.flags.writeable = False
    return plane

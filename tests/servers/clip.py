"""Clips of H.264 made in code, each picture carrying its own number in black and white blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import av
import cv2
import numpy as np

__all__ = ["Clip", "encode", "number_of", "still"]

BITS = 12  # of the number
PART = 20  # a block's side is this part of the picture's width
Paint = Callable[[int, tuple[int, int]], np.ndarray]


@dataclass(frozen=True, slots=True)
class Clip:
    """Encoded pictures that can be repeated without end."""

    size: tuple[int, int]
    fps: float
    units: tuple[bytes, ...]  # one access unit each, Annex B start codes; keyframes carry SPS and PPS


def moving(number: int, size: tuple[int, int]) -> np.ndarray:
    """A textured ground, a bright ball that moves, and the number; RGB."""
    width, height = size
    noise = np.random.default_rng(7).integers(60, 180, (9, 16, 3)).astype(np.uint8)
    rgb = cv2.resize(noise, size, interpolation=cv2.INTER_LINEAR)
    cv2.circle(rgb, (number * 7 % width, height * 2 // 3), height // 8, (250, 240, 40), -1)
    side = width // PART
    for bit in range(BITS):
        rgb[:side, bit * side : (bit + 1) * side] = 235 if number >> bit & 1 else 20
    return rgb


def still(number: int, size: tuple[int, int]) -> np.ndarray:
    """The same picture whatever the number."""
    return moving(0, size)


def black(number: int, size: tuple[int, int]) -> np.ndarray:
    """What many encoders send when their sensor is gone."""
    return np.zeros((size[1], size[0], 3), np.uint8)


def encode(
    count: int = 60,
    size: tuple[int, int] = (320, 180),
    *,
    fps: float = 30.0,
    gop: int = 30,
    paint: Paint = moving,
    bframes: int = 0,
) -> Clip:
    """Encode ``count`` pictures with a keyframe every ``gop``."""
    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt = *size, "yuv420p"
    codec.time_base = Fraction(1, round(fps))
    codec.framerate = Fraction(round(fps))
    codec.thread_count = 1
    codec.options = {
        "preset": "ultrafast" if not bframes else "veryfast",
        "crf": "18",
        "x264-params": f"keyint={gop}:min-keyint={gop}:scenecut=0:repeat-headers=1:bframes={bframes}"
        ":rc-lookahead=0:sync-lookahead=0:sliced-threads=0:annexb=1",
    }
    packets = []
    for number in range(count):
        frame = av.VideoFrame.from_ndarray(paint(number, size)).reformat(format="yuv420p")
        frame.pts = number
        packets += codec.encode(frame)
    packets += codec.encode(None)
    return Clip(size, fps, tuple(bytes(packet) for packet in packets))


def number_of(luma: np.ndarray) -> int:
    """Read the number that ``moving`` painted, whatever the picture was scaled to."""
    side = luma.shape[1] / PART
    middles = ((np.arange(BITS) + 0.5) * side).astype(int)
    return int(sum((luma[int(side / 2), x] > 128) << bit for bit, x in enumerate(middles.tolist())))

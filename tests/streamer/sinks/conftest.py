"""Frames and files made in code, and readers that are not ours, for the tests of all sinks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from engines.spec import ModelSpec
from streamer.frame import Frame, Planes
from streamer.sinks import Sink, open_sink
from streamer.sources import SourceInfo

SPEC = ModelSpec("toy", "detect", "detections", ("person", "car"), (320, 320))


def picture(
    index: int, size: tuple[int, int] = (160, 96), subsampling: tuple[int, int] = (2, 2), **rest: object
) -> Planes:
    """Return a smooth picture with a square that moves with the index."""
    width, height = size
    sx, sy = subsampling
    y = np.add.outer(np.arange(height), np.arange(width)).astype(np.float32)
    y = (40 + 120 * y / y.max()).astype(np.uint8)
    left = index * 3 % max(width - 16, 1)
    y[height // 4 : height // 2, left : left + 16] = 220
    u = np.full((-(-height // sy), -(-width // sx)), 100, np.uint8)
    return Planes(y, u, 255 - u, **rest)  # type: ignore[arg-type]


@pytest.fixture
def frames() -> Callable[..., list[Frame]]:
    """Make frames at the given times."""

    def make(times: Iterable[float], *, stream: str = "cam", **how: object) -> list[Frame]:
        pictures = ((pts, picture(index, **how)) for index, pts in enumerate(times))  # type: ignore[arg-type]
        return [Frame(stream, index, pts, planes) for index, (pts, planes) in enumerate(pictures)]

    return make


@pytest.fixture
def sink() -> Callable[..., Sink]:
    """Open a sink of the toy model."""

    def open_one(url: str | Path, *, fps: float = 30.0, stream: str = "cam", **info: object) -> Sink:
        known = SourceInfo((160, 96), fps, **info)  # type: ignore[arg-type]
        return open_sink(str(url), stream=stream, info=known, spec=SPEC)

    return open_one


@pytest.fixture
def write(sink: Callable[..., Sink]) -> Callable[..., None]:
    """Write frames to a sink and close it."""

    def write_all(url: str | Path, frames: Iterable[Frame], **how: object) -> None:
        opened = sink(url, **how)
        for frame in frames:
            opened.write(frame)
        opened.close()

    return write_all


@pytest.fixture
def times_of() -> Callable[[Path], list[float]]:
    """Decode a file by PyAV and return the pts of its pictures."""

    def read(path: Path) -> list[float]:
        with av.open(str(path)) as container:
            return [float(frame.pts * Fraction(frame.time_base)) for frame in container.decode(video=0)]

    return read

"""Films made in code, so that what a source must find in them is known exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

Film = Callable[..., Path]


def picture(number: int, size: tuple[int, int] = (96, 64)) -> np.ndarray:
    """A colourful picture without hard edges, another for each number, different from every side."""
    noise = np.random.default_rng(number).integers(40, 216, (3, 4, 3)).astype(np.uint8)
    rgb = cv2.resize(noise, size, interpolation=cv2.INTER_LINEAR)
    rgb[: size[1] // 4, : size[0] // 4] = (220, 40, 40)
    return rgb


@pytest.fixture
def film(tmp_path: Path) -> Film:
    """Write pictures, one every tenth of a second or at ``times``, nearly without loss."""

    def write(
        name: str = "film.mp4",
        pictures: Sequence[np.ndarray] = tuple(picture(number) for number in range(10)),
        *,
        times: Sequence[float] = (),
        codec: str = "libx264",
        form: str = "yuv420p",
        aspect: Fraction | None = None,
        turn: tuple[float, bool, bool] | None = None,
        sound: float = 0.0,
        sound_codec: str = "aac",
        options: dict[str, str] | None = None,
    ) -> Path:
        path = tmp_path / name
        height, width = pictures[0].shape[:2]
        with av.open(str(path), "w", options=options or {}) as container:
            stream = container.add_stream(codec, rate=10, options={"crf": "4"} if "264" in codec else {})
            stream.width, stream.height, stream.pix_fmt = width, height, form
            stream.codec_context.time_base = Fraction(1, 1000)
            if aspect:
                stream.codec_context.sample_aspect_ratio = aspect
            if turn:
                stream.set_display_rotation(turn[0], hflip=turn[1], vflip=turn[2])
            tone = container.add_stream(sound_codec, rate=48000, layout="mono") if sound else None
            for number, rgb in enumerate(pictures):
                frame = av.VideoFrame.from_ndarray(rgb).reformat(format=form)
                frame.pts = round((times[number] if times else number / 10) * 1000)
                frame.time_base = Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
            if tone:
                _play(container, tone, sound)
        return path

    return write


def _play(container: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    for start in range(0, round(seconds * 48000), 1024):
        wave = (np.sin(np.arange(start, start + 1024) / 20) * 9000).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(wave, "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())

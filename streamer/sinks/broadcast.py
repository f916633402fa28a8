"""Broadcast: one stream as live H.264 in a container that somebody else carries away."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from engines.errors import nearest
from streamer import planes as pixels
from streamer.frame import Frame
from streamer.sinks.film import COLOURS, FULL, LIMITED, LOOKAHEAD, STAMPING, TIME_BASE, Clock
from streamer.sinks.fit import Fit
from streamer.sources import SourceInfo

if TYPE_CHECKING:
    from av.video.stream import VideoStream

__all__ = ["Broadcast", "Hose", "Settings", "best_encoder"]

log = logging.getLogger(__name__)

Encoder = Literal["auto", "x264", "nvenc", "qsv"]
CODECS = {"x264": "libx264", "nvenc": "h264_nvenc", "qsv": "h264_qsv"}
FASTEST = {  # encoder -> options that let no picture wait for another
    "x264": {"tune": "zerolatency"},
    "nvenc": {"preset": "p3", "tune": "ull", "zerolatency": "1", "delay": "0"},
    "qsv": {"preset": "veryfast", "async_depth": "1", "look_ahead": "0"},
}
KEYFRAMES = 2.0  # seconds from one to the next where nobody asks for one
PIXELS_PER_THREAD = 1_000_000
MOST_THREADS = 4
INTRA = 1  # AV_PICTURE_TYPE_I


@dataclass(frozen=True, slots=True)
class Settings:
    """How to encode for the network. ValueError for what cannot be."""

    bitrate: int = 0  # kbit/s at most, 0 = as `crf` needs
    crf: int = 23  # 0..51
    preset: str = "superfast"  # x264's
    gop: int = 0  # most frames from one keyframe to the next, 0 = two seconds of them
    encoder: str = "auto"  # one of Encoder; auto takes the machine's own where it opens

    def __post_init__(self) -> None:
        for name, value, known in (
            ("preset", self.preset, tuple(LOOKAHEAD)),
            ("encoder", self.encoder, get_args(Encoder)),
        ):
            if value not in known:
                hint = nearest(value, known) or f", must be one of {', '.join(known)}"
                raise ValueError(f"{name}: {value!r}{hint}")
        for name, number, most in (
            ("crf", self.crf, 51),
            ("gop", self.gop, 10_000),
            ("bitrate", self.bitrate, 1_000_000),
        ):
            if not 0 <= number <= most:
                raise ValueError(f"{name}: {number}, must be from 0 to {most}")


class Hose(Protocol):
    """Takes what the muxer writes; must neither block nor raise."""

    def write(self, data: bytes) -> int: ...


class Broadcast:
    """An encoder and a container; a picture that goes in comes out with the same call where the form allows.

    ``out`` is a Hose or a path. Raises OSError, av.FFmpegError where the container cannot be opened.
    """

    def __init__(
        self,
        out: Hose | str,
        form: tuple[str, Mapping[str, str]],
        first: Frame,
        info: SourceInfo,
        settings: Settings,
    ) -> None:
        """Begin with the size and colours of a frame; ``form`` is a container's name and its options."""
        import av

        self._fit = Fit(first.planes)
        self._clock = Clock()
        self._step = first.duration or (1 / info.fps if info.fps else 0.0)
        self._container: Any = av.open(out, "w", format=form[0], options=dict(form[1]))
        self._video = self._add_video(settings)
        self._container.start_encoding()

    def write(self, frame: Frame, *, key: bool = False) -> bool:
        """Encode and mux a frame; return whether it came out as one to begin with; ``key`` asks for that.

        Raises OSError, av.FFmpegError.
        """
        picture = pixels.to_video_frame(self._fit(frame.planes))
        pts = self._clock.tick(frame.pts)
        with STAMPING[id(picture) // 16 % len(STAMPING)]:
            picture.pts, picture.time_base = pts, TIME_BASE
            picture.duration = round((frame.duration or self._step) / TIME_BASE)
            picture.pict_type = INTRA if key else 0
            packets = self._video.encode(picture)
        for packet in packets:
            self._container.mux_one(packet)
        return any(packet.is_keyframe for packet in packets)

    def close(self) -> None:
        """Write the end. Raises OSError, av.FFmpegError."""
        try:
            for packet in self._video.encode(None):
                self._container.mux_one(packet)
        finally:
            self._container.close()

    def _add_video(self, settings: Settings) -> VideoStream:
        encoder = best_encoder() if settings.encoder == "auto" else settings.encoder
        fps = Fraction(1 / self._step).limit_denominator(1001) if self._step else Fraction(30)
        options = {"forced-idr": "1", **FASTEST[encoder]}
        if encoder == "x264":
            options |= {"preset": settings.preset, "crf": str(settings.crf)}
        if settings.bitrate:
            options |= {"maxrate": f"{settings.bitrate}k", "bufsize": f"{settings.bitrate}k"}
        stream: VideoStream = self._container.add_stream(CODECS[encoder], rate=fps, options=options)
        context = stream.codec_context
        context.width, context.height = self._fit.size
        context.pix_fmt = "nv12" if encoder == "qsv" else "yuv420p"
        context.colorspace, context.color_primaries, context.color_trc = COLOURS[self._fit.matrix]
        context.color_range = FULL if self._fit.full_range else LIMITED
        context.gop_size = settings.gop or max(round(KEYFRAMES * fps), 1)
        context.max_b_frames = 0
        area = self._fit.size[0] * self._fit.size[1]
        context.thread_count = min(1 + area // PIXELS_PER_THREAD, MOST_THREADS)
        if settings.bitrate and encoder != "x264":
            context.bit_rate = settings.bitrate * 1000
        context.time_base = stream.time_base = TIME_BASE
        return stream


@lru_cache
def best_encoder() -> str:
    """Return the first of nvenc and qsv that opens on this machine, else x264."""
    import av
    import av.logging

    for name in ("nvenc", "qsv"):
        try:
            with av.logging.Capture():
                context = av.CodecContext.create(CODECS[name], "w")
                context.width, context.height = 640, 360  # type: ignore[attr-defined]
                context.pix_fmt = "nv12" if name == "qsv" else "yuv420p"  # type: ignore[attr-defined]
                context.time_base = Fraction(1, 30)
                context.open()
        except (av.FFmpegError, OSError, ValueError):
            continue
        log.info("live video is encoded by %s", name)
        return name
    return "x264"

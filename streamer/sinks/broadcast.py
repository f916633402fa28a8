"""Broadcast: one stream as live H.264, and the containers in which it is carried away."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from engines.errors import nearest
from streamer import planes as pixels
from streamer.frame import Frame, Planes
from streamer.sinks.film import COLOURS, FULL, LIMITED, LOOKAHEAD, STAMPING, TICKS, TIME_BASE, Clock
from streamer.sinks.fit import Fit

if TYPE_CHECKING:
    from av.video.stream import VideoStream

    from streamer.sinks.soundtrack import Soundtrack

__all__ = ["PROMPT", "Encoded", "Encoder", "Hose", "Mux", "Settings", "best_encoder"]

log = logging.getLogger(__name__)

Kind = Literal["auto", "x264", "nvenc", "qsv"]
CODECS = {"x264": "libx264", "nvenc": "h264_nvenc", "qsv": "h264_qsv"}
FASTEST = {  # encoder -> options that let no picture wait for another
    "x264": {"tune": "zerolatency"},
    "nvenc": {"preset": "p3", "tune": "ull", "zerolatency": "1", "delay": "0"},
    "qsv": {"preset": "veryfast", "async_depth": "1", "look_ahead": "0"},
}
KEYFRAMES = 2.0  # seconds from one to the next where nobody asks for one
PIXELS_PER_THREAD = 1_000_000
MOST_THREADS = 4
PROMPT = "1"  # microseconds for which a picture may wait for sound that is older; 0 would be for ever
INTRA = 1  # AV_PICTURE_TYPE_I
GLOBAL_HEADER = 1 << 22  # AV_CODEC_FLAG_GLOBAL_HEADER: parameter sets once, beside the stream


@dataclass(frozen=True, slots=True)
class Settings:
    """How to encode for the network. ValueError for what cannot be."""

    bitrate: int = 0  # kbit/s at most, 0 = as `crf` needs
    crf: int = 23  # 0..51
    preset: str = "superfast"  # x264's
    gop: int = 0  # most frames from one keyframe to the next, 0 = two seconds of them
    encoder: str = "auto"  # one of Kind; auto takes the machine's own where it opens

    def __post_init__(self) -> None:
        for name, value, known in (
            ("preset", self.preset, tuple(LOOKAHEAD)),
            ("encoder", self.encoder, get_args(Kind)),
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

    def plain(self) -> Settings:
        """Return what of them, or of a sink's own with more fields, decides what the pictures are."""
        return Settings(self.bitrate, self.crf, self.preset, self.gop, self.encoder)


class Hose(Protocol):
    """Takes what the muxer writes; must neither block nor raise."""

    def write(self, data: bytes) -> int: ...


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """One picture as H.264 in Annex B form, without the parameter sets."""

    data: bytes
    is_key: bool  # decodable without any before it
    tick: int  # its time, TICKS to the second
    duration: int  # how long it lasts, in the same
    captured: float  # of its frame, monotonic seconds
    shift: float = 0.0  # seconds from its source's time to `tick`


class Encoder:
    """Encodes without B-frames and without looking ahead; what goes in comes out where the encoder allows."""

    def __init__(self, first: Frame, settings: Settings, *, fps: float = 0.0, width: int = 0) -> None:
        """Begin with the size and colours of a frame; wider ones than ``width`` are scaled down, 0 = none."""
        import av

        self._size = _smaller(first.size, width)
        self._fit = Fit(self._scaled(first.planes))
        self._clock = Clock()
        self._step = first.duration or (1 / fps if fps else 0.0)
        self._under_way: deque[tuple[float, float]] = deque()  # captured and shift of frames
        own = best_encoder() if settings.encoder == "auto" else settings.encoder
        try:
            self._open(own, settings)
        except (OSError, av.FFmpegError):
            if settings.encoder != "auto" or own == "x264":
                raise
            log.warning("%s: %s takes no further stream, or none of this size: x264 does", first.stream, own)
            self._open("x264", settings)
        self.head = bytes(self.stream.codec_context.extradata or b"")  # the parameter sets

    def encode(self, frame: Frame, *, key: bool = False) -> list[Encoded]:
        """Encode a frame, if asked as one to begin with. Raises OSError, av.FFmpegError."""
        picture = pixels.to_video_frame(self._fit(self._scaled(frame.planes)))
        pts = self._clock.tick(frame.pts)
        duration = round((frame.duration or self._step) * TICKS)
        self._under_way.append((frame.captured, self._clock.shift))
        with STAMPING[id(picture) // 16 % len(STAMPING)]:
            picture.pts, picture.time_base, picture.duration = pts, TIME_BASE, duration
            picture.pict_type = INTRA if key else 0
            packets = self.stream.encode(picture)
        return [
            Encoded(bytes(packet), packet.is_keyframe, packet.pts or 0, duration, *self._under_way.popleft())
            for packet in packets
        ]

    def close(self) -> None:
        """Free the encoder."""
        self._container.close()

    def _scaled(self, planes: Planes) -> Planes:
        """Return a picture like the first one at the first one's size; others are fitted into it."""
        wanted = self._size if _alike(planes.size, self._size) else planes.size
        return planes if planes.size == wanted else pixels.scale(planes, wanted)

    def _open(self, encoder: str, settings: Settings) -> None:
        import av

        self._container: Any = av.open(_Nowhere(), "w", format="null")
        self.stream = self._add_video(encoder, settings)
        self._container.start_encoding()

    def _add_video(self, encoder: str, settings: Settings) -> VideoStream:
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
        context.flags |= GLOBAL_HEADER
        context.time_base = stream.time_base = TIME_BASE
        return stream


class Mux:
    """A container for what an encoder makes. Raises OSError, av.FFmpegError where it cannot be opened."""

    def __init__(
        self,
        out: Hose | str,
        form: tuple[str, Mapping[str, str]],
        encoder: Encoder,
        *,
        in_band: bool = False,
        sound: Soundtrack | None = None,
        io_open: Callable[[str, int, Mapping[str, str]], object] | None = None,
    ) -> None:
        """Open a container by its name and options; ``in_band``: parameter sets before every keyframe.

        ``sound`` is carried beside the pictures, where it has a track to copy.
        ``io_open`` opens each file that the container consists of, by its URL, flags and options.
        """
        import av

        self._head = encoder.head if in_band else b""
        self._sound = sound

        def begin() -> None:
            options = {"max_interleave_delta": PROMPT, **form[1]}
            self._container: Any = av.open(out, "w", format=form[0], options=options, io_open=io_open)
            self._stream = self._container.add_stream_from_template(encoder.stream)
            self._stream.time_base = TIME_BASE
            if sound is not None:
                sound.join(self._container)
            self._container.start_encoding()

        try:
            begin()
        except (OSError, av.FFmpegError, ValueError) as error:
            if sound is None or sound.track is None:
                raise
            sound.lose(error)
            begin()

    def write(self, part: Encoded, tick: int = -1) -> None:
        """Add a picture, at its own time or at another. Raises OSError, av.FFmpegError."""
        import av

        packet = av.Packet(self._head + part.data if part.is_key else part.data)
        packet.pts = packet.dts = part.tick if tick < 0 else tick
        packet.duration, packet.time_base = part.duration, TIME_BASE
        packet.is_keyframe = part.is_key
        packet.stream = self._stream
        self._container.mux_one(packet)
        if self._sound is not None:
            self._sound.follow(part)

    def write_sound(self, frame: Frame) -> None:
        """Add what came with a frame. Raises OSError, av.FFmpegError."""
        if self._sound is None:
            return
        for packet in self._sound.packets(frame):
            try:
                self._container.mux_one(packet)
            except (PermissionError, ValueError) as error:  # EPERM, EINVAL, and data that is not valid
                self._sound.lose(error)
                return

    def close(self) -> None:
        """Write the end. Raises OSError, av.FFmpegError."""
        self._container.close()


class _Nowhere:
    """Where the container writes that only holds the encoder."""

    def write(self, data: bytes) -> int:
        return len(data)


def _smaller(size: tuple[int, int], width: int) -> tuple[int, int]:
    """Return a size not wider than ``width``, of the same shape; 0 = any."""
    if not width or size[0] <= width:
        return size
    return width & ~1, max(round(size[1] * width / size[0] / 2) * 2, 2)


def _alike(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Tell whether two sizes have one shape, to a pixel or two."""
    return abs(one[0] * other[1] - other[0] * one[1]) <= 2 * max(*one, *other)


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

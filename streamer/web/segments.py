"""Segments: a stream's pictures as fragmented MP4, one fragment each, for Media Source Extensions."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from streamer import planes as pixels
from streamer.frame import Frame
from streamer.sinks.fit import Fit

if TYPE_CHECKING:
    from av.video.stream import VideoStream

__all__ = ["Segment", "Segmenter"]

TIME_BASE = Fraction(1, 90_000)
JUMP = 2.0  # seconds; a pts further from the one before starts a new stretch of time
KEYFRAMES = 2.0  # seconds from one to the next where nobody asks for one
MOST_THREADS = 4
PIXELS_PER_THREAD = 1_000_000
INTRA = 1  # AV_PICTURE_TYPE_I
LIMITED, FULL = 1, 2  # AVColorRange
# Matrix -> AVColorSpace, AVColorPrimaries, AVColorTransferCharacteristic (ITU-T H.273).
COLOURS = {"bt601": (6, 6, 6), "bt709": (1, 1, 1), "bt2020": (9, 9, 14)}
MP4 = {"movflags": "frag_every_frame+empty_moov+default_base_moof", "flush_packets": "1"}


@dataclass(frozen=True, slots=True)
class Segment:
    """One picture's `moof` and `mdat`."""

    data: bytes
    is_key: bool  # decodable without any before it
    time: float  # seconds in the film's own time
    captured: float  # Unix time in seconds


class Segmenter:
    """Encodes without B-frames and without looking ahead; what goes in comes out with the next picture.

    The muxer waits for that next picture to know how long one lasts, so that no gaps arise.
    """

    def __init__(self, first: Frame, *, crf: int, width: int, fps: float) -> None:
        import av

        self._size = _smaller(first.size, width)
        self._fit = Fit(pixels.scale(first.planes, self._size))
        self._tank = _Tank()
        self._muxed: deque[tuple[bool, float, float]] = deque()  # of each packet: is_key, time, captured
        self._last = -1  # tick of the last picture
        self._shift = 0.0  # seconds from the source's time to the film's
        self._container = av.open(self._tank, "w", format="mp4", options=MP4)
        self._video: VideoStream = self._container.add_stream(
            "libx264",
            rate=Fraction(fps or 30.0).limit_denominator(1001),
            options={"preset": "ultrafast", "tune": "zerolatency", "crf": str(crf), "forced-idr": "1"},
        )
        context = self._video.codec_context
        context.width, context.height = self._fit.size
        context.pix_fmt = "yuv420p"
        context.colorspace, context.color_primaries, context.color_trc = COLOURS[self._fit.matrix]
        context.color_range = FULL if self._fit.full_range else LIMITED
        context.gop_size = max(round(KEYFRAMES * (fps or 30.0)), 1)
        context.thread_count = min(
            1 + self._fit.size[0] * self._fit.size[1] // PIXELS_PER_THREAD, MOST_THREADS
        )
        context.time_base = self._video.time_base = TIME_BASE
        self._container.start_encoding()
        self.head = self._tank.take(b"moov")[0]
        self.codec = _codec(self.head)

    def encode(self, frame: Frame, *, key: bool = False) -> list[Segment]:
        """Take a frame whose planes nobody else encodes; return the segments that are whole now.

        ``key``: make this picture one that a viewer can begin with.
        """
        planes = frame.planes
        if planes.size != self._size:
            planes = pixels.scale(planes, self._size if _alike(planes.size, self._size) else planes.size)
        picture = pixels.to_video_frame(self._fit(planes))
        picture.pts, picture.time_base = self._tick(frame.pts), TIME_BASE
        picture.pict_type = INTRA if key else 0
        captured = time.time() - (time.monotonic() - frame.captured)
        for packet in self._video.encode(picture):
            self._muxed.append((packet.is_keyframe, float((packet.pts or 0) * TIME_BASE), captured))
            self._container.mux_one(packet)
        return [Segment(data, *self._muxed.popleft()) for data in self._tank.take(b"mdat")]

    def close(self) -> None:
        """Free the encoder."""
        self._container.close()

    def _tick(self, pts: float) -> int:
        before = self._last * TIME_BASE - self._shift
        if self._last < 0:
            self._shift = -pts
        elif abs(pts - float(before)) > JUMP:
            self._shift = float((self._last + 1) * TIME_BASE) - pts
        self._last = max(round((pts + self._shift) / TIME_BASE), self._last + 1)
        return self._last


class _Tank:
    """What the muxer writes, cut behind whole boxes of a kind (ISO 14496-12: size, type, contents)."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def write(self, data: bytes) -> int:
        self._bytes += data
        return len(data)

    def take(self, last: bytes) -> list[bytes]:
        """Return the pieces that end with a box of type ``last``."""
        pieces, start, at = [], 0, 0
        while at + 8 <= len(self._bytes):
            end = at + int.from_bytes(self._bytes[at : at + 4], "big")
            if end > len(self._bytes):
                break
            if self._bytes[at + 4 : at + 8] == last:
                pieces.append(bytes(self._bytes[start:end]))
                start = end
            at = end
        del self._bytes[:start]
        return pieces


def _codec(head: bytes) -> str:
    """Return the codec as RFC 6381 names it: profile, constraints and level of the `avcC` box."""
    at = head.index(b"avcC") + 5
    return f"avc1.{head[at : at + 3].hex()}"


def _smaller(size: tuple[int, int], width: int) -> tuple[int, int]:
    """Return a size not wider than ``width``, of the same shape."""
    if size[0] <= width:
        return size
    return width & ~1, max(round(size[1] * width / size[0] / 2) * 2, 2)


def _alike(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Tell whether two sizes have one shape, to a pixel or two."""
    return abs(one[0] * other[1] - other[0] * one[1]) <= 2 * max(*one, *other)

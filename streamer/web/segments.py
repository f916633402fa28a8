"""Segments: a stream's pictures as fragmented MP4, one fragment each, for Media Source Extensions."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

from streamer.sinks.broadcast import Encoded, Encoder, Mux
from streamer.sinks.film import TICKS

__all__ = ["Segment", "Segmenter"]

JUMP = 2.0  # seconds; a time further from the one before starts a new stretch
# skip_trailer: else the muxer keeps an entry for every fragment, for an index that nobody reads.
MOVFLAGS = "frag_every_frame+empty_moov+default_base_moof+skip_trailer"
MP4 = ("mp4", {"movflags": MOVFLAGS, "flush_packets": "1"})


@dataclass(frozen=True, slots=True)
class Segment:
    """One picture's `moof` and `mdat`."""

    data: bytes
    is_key: bool  # decodable without any before it
    time: float  # seconds in the film's own time
    captured: float  # Unix time in seconds


class Segmenter:
    """Cuts what an encoder makes; a picture comes out with the next one.

    The muxer waits for that next picture to know how long one lasts, so that no gaps arise.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._tank = _Tank()
        self._mux = Mux(self._tank, MP4, encoder)
        self._muxed: deque[tuple[bool, float, float]] = deque()  # of each picture: is_key, time, captured
        self._last = -1  # tick of the last picture
        self._shift = 0  # ticks from the encoder's time to the film's
        self.head = self._tank.take(b"moov")[0]
        self.codec = _codec(self.head)

    def add(self, part: Encoded) -> list[Segment]:
        """Take the next picture; return the segments that are whole now."""
        tick = self._tick(part.tick)
        captured = time.time() - (time.monotonic() - part.captured)
        self._muxed.append((part.is_key, tick / TICKS, captured))
        self._mux.write(part, tick)
        return [Segment(data, *self._muxed.popleft()) for data in self._tank.take(b"mdat")]

    def close(self) -> None:
        """Free the muxer."""
        self._mux.close()

    def _tick(self, told: int) -> int:
        if self._last < 0:
            self._shift = -told
        elif abs(told + self._shift - self._last) > JUMP * TICKS:
            self._shift = self._last + 1 - told
        self._last = max(told + self._shift, self._last + 1)
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

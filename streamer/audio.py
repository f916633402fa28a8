"""Sound that travels beside the pictures, compressed as it came and never decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

__all__ = ["MOST_CARRIED", "AudioPacket", "AudioTrack", "carry", "move"]

MOST_CARRIED = 256  # packets: some five seconds of AAC or Opus


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """What a muxer must know to copy a stream of packets."""

    codec: str  # FFmpeg's name: aac, opus, mp3
    rate: int  # Hz
    layout: str  # mono, stereo, 5.1
    time_base: Fraction  # unit of pts, dts and duration below
    extradata: bytes = field(default=b"", repr=False)
    others: int = 0  # tracks of the source beside this one, which nobody carries


@dataclass(frozen=True, slots=True)
class AudioPacket:
    """One compressed packet; times are in its track's time base, on the pictures' time line."""

    data: bytes = field(repr=False)
    pts: int
    dts: int
    duration: int


def carry(late: Sequence[AudioPacket], own: Sequence[AudioPacket]) -> tuple[AudioPacket, ...]:
    """Return a picture's own sound behind that of the pictures before it that were given up.

    Of theirs the oldest goes where it is more than MOST_CARRIED packets.
    """
    return (*late[-MOST_CARRIED:], *own)


def move(audio: Sequence[AudioPacket], seconds: float, track: AudioTrack | None) -> tuple[AudioPacket, ...]:
    """Return a track's packets at a later time; nothing where it is not known what their time is."""
    if track is None:
        return ()
    shift = round(seconds / track.time_base)
    return tuple(replace(packet, pts=packet.pts + shift, dts=packet.dts + shift) for packet in audio)

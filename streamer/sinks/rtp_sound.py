"""RTP for sound: AAC by RFC 3640, Opus by RFC 7587, G.711 by RFC 3551; how it is described and packed."""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterable, Iterator
from fractions import Fraction

from streamer.audio import AudioPacket, AudioTrack
from streamer.sinks.rtcp import Sender
from streamer.sinks.sound import Order, takes

__all__ = ["RtpSound", "describe"]

PAYLOAD = 97  # RTP's payload type, where a codec has none of its own
G711 = {"pcm_mulaw": ("PCMU", 0), "pcm_alaw": ("PCMA", 8)}  # name, and payload type of 8000 Hz in mono
LARGEST = 1400 - 12  # bytes of a payload
LARGEST_UNIT = (1 << 13) - 1  # bytes of AAC that its 13 bits can tell
OPUS_CLOCK = 48_000  # whatever its rate (RFC 7587, 4.1)


def describe(track: AudioTrack) -> tuple[str, ...]:
    """Return the lines of SDP (RFC 8866) from m= on; none for what is not sent."""
    channels = _channels(track)
    if not takes("rtp", track) or (track.codec == "opus" and channels > 2):
        return ()
    kind = _payload_type(track)
    head = f"m=audio 0 RTP/AVP {kind}"
    if track.codec == "opus":
        stereo = f"a=fmtp:{kind} sprop-stereo={int(channels == 2)}"
        return head, f"a=rtpmap:{kind} opus/{OPUS_CLOCK}/2", stereo
    if track.codec in G711:
        return head, f"a=rtpmap:{kind} {G711[track.codec][0]}/{track.rate}/{channels}"
    sizes = "mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3"
    form = f"streamtype=5;profile-level-id=1;{sizes};config={track.extradata.hex()}"
    return head, f"a=rtpmap:{kind} mpeg4-generic/{track.rate}/{channels}", f"a=fmtp:{kind} {form}"


class RtpSound:
    """One track's packets."""

    def __init__(self, track: AudioTrack, name: bytes) -> None:
        """Begin a track that `describe` has lines for; ``name``: see `Sender`."""
        self._track = track
        self._order = Order(track)
        self._clock = OPUS_CLOCK if track.codec == "opus" else track.rate
        self._kind = _payload_type(track)
        self._source = secrets.randbits(32)
        self._base = secrets.randbits(32)
        self._number = secrets.randbits(16)
        self.sender = Sender(self._clock, name, source=self._source, stamp=self._base)

    @property
    def astray(self) -> float:
        """Seconds from a packet that was left out for it to its picture; the last one's."""
        return self._order.astray

    def packets(
        self, audio: Iterable[AudioPacket], shift: float, at: float
    ) -> Iterator[tuple[float, list[bytes]]]:
        """Yield seconds and RTP packets of sound, ``shift`` seconds later, of a picture ``at`` a second."""
        track = self._track
        for piece in self._order.follow(audio, shift, at, Fraction(1, self._clock)):
            time = piece.pts * track.time_base
            stamp = self._base + round(time * self._clock)
            parts = self._parts(piece)
            packets = [self._packet(stamp + later, is_last, part) for later, is_last, part in parts]
            self.sender.note(float(time), packets)
            yield float(time), packets

    def _parts(self, piece: AudioPacket) -> Iterator[tuple[int, bool, bytes]]:
        """Yield ticks after the packet's time, RTP's marker and the payload of each part."""
        data = piece.data
        if self._track.codec == "opus":
            yield 0, False, data
        elif self._track.codec in G711:
            channels = _channels(self._track)
            step = LARGEST // channels * channels
            for at in range(0, len(data), step):
                yield at // channels, False, data[at : at + step]
        elif len(data) <= LARGEST_UNIT:
            head = struct.pack(">HH", 16, len(data) << 3)  # one AU header of 16 bits, of the whole unit
            step = LARGEST - len(head)
            for at in range(0, len(data), step):
                yield 0, at + step >= len(data), head + data[at : at + step]

    def _packet(self, stamp: int, is_marked: bool, payload: bytes) -> bytes:
        self._number = (self._number + 1) & 0xFFFF
        second = is_marked << 7 | self._kind
        head = struct.pack(">BBHII", 2 << 6, second, self._number, stamp & 0xFFFFFFFF, self._source)
        return head + payload


def _payload_type(track: AudioTrack) -> int:
    _, own = G711.get(track.codec, ("", PAYLOAD))
    return own if (track.rate, _channels(track)) == (8000, 1) else PAYLOAD


def _channels(track: AudioTrack) -> int:
    import av

    return av.AudioLayout(track.layout).nb_channels

"""Sound: compressed audio packets copied into a container beside the pictures."""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from streamer.audio import AudioPacket, AudioTrack

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.packet import Packet

__all__ = ["Order", "Remarks", "Sound", "takes"]

log = logging.getLogger(__name__)

# FFmpeg's codec name -> Matroska's CodecID and bit depth (0 = not needed), from the Matroska codec registry.
CODECS: dict[str, tuple[bytes, int]] = {
    "aac": (b"A_AAC", 0),
    "ac3": (b"A_AC3", 0),
    "alac": (b"A_ALAC", 0),
    "dts": (b"A_DTS", 0),
    "eac3": (b"A_EAC3", 0),
    "flac": (b"A_FLAC", 0),
    "mp2": (b"A_MPEG/L2", 0),
    "mp3": (b"A_MPEG/L3", 0),
    "opus": (b"A_OPUS", 0),
    "pcm_alaw": (b"A_MS/ACM", 8),
    "pcm_f32le": (b"A_PCM/FLOAT/IEEE", 32),
    "pcm_mulaw": (b"A_MS/ACM", 8),
    "pcm_s16be": (b"A_PCM/INT/BIG", 16),
    "pcm_s16le": (b"A_PCM/INT/LIT", 16),
    "pcm_s24le": (b"A_PCM/INT/LIT", 24),
    "pcm_s32le": (b"A_PCM/INT/LIT", 32),
    "pcm_u8": (b"A_PCM/INT/LIT", 8),
    "truehd": (b"A_TRUEHD", 0),
    "vorbis": (b"A_VORBIS", 0),
}
PCM = frozenset(name for name in CODECS if name.startswith("pcm_"))
TAKEN = {  # by the muxer's name, of what carries the packets in the end
    "flv": frozenset({"aac", "mp3"}),
    "hls": frozenset({"aac", "ac3", "eac3", "flac", "mp3", "opus"}),  # MP4's that browsers play
    "mpegts": frozenset({"aac", "ac3", "eac3", "mp2", "mp3", "opus"}),
    "rtp": frozenset({"aac", "opus", "pcm_alaw", "pcm_mulaw"}),  # what rtp_sound packs
    "rtsp": frozenset({"aac", "mp2", "mp3", "opus", "pcm_alaw", "pcm_mulaw"}),
    "mp4": frozenset({"aac", "ac3", "alac", "eac3", "flac", "mp2", "mp3", "opus"}),
    "mov": frozenset({"aac", "ac3", "alac", "eac3", "mp2", "mp3"}) | PCM,
    "matroska": frozenset(CODECS) - {"pcm_alaw", "pcm_mulaw"},
}
WAVE_FORMATS = {"pcm_alaw": 6, "pcm_mulaw": 7}  # WAVEFORMATEX wFormatTag
APART = 30.0  # seconds from a packet to its picture that no interleaving and no decoder's delay explains


def takes(form: str, track: AudioTrack) -> bool:
    """Tell whether packets of a track can be copied into this kind of container."""
    return track.codec in TAKEN.get(form, ()) and (track.codec != "aac" or bool(track.extradata))


class Remarks:
    """What is said, under an output's name, of sound that is left out."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._has_strayed = False  # and this was said

    def tell_of_others(self, track: AudioTrack) -> None:
        """Say that one track of several is kept."""
        if track.others:
            kept = track.codec, track.others
            log.warning("%s: one track of sound is kept (%s), %d left out", self._name, *kept)

    def tell_of_strays(self, astray: float) -> None:
        """Say, once, that packets lie this many seconds from their picture; 0: they do not."""
        if astray and not self._has_strayed:
            self._has_strayed = True
            log.warning("%s: sound lies %+.0f s from its picture, left out while it does", self._name, astray)

    def tell_of_loss(self, error: Exception) -> None:
        """Say that the output goes on without sound."""
        words = (getattr(error, "strerror", "") or str(error)).lower()
        log.warning("%s: the sound cannot be written, left out from here: %s", self._name, words)


class Order:
    """Which packets of a track go on: none that goes back in time or lies far from its picture.

    The clock of one of the two is wrong then, and FFmpeg's muxer for MP4 aborts the process where sound leaps
    by half a day.
    """

    def __init__(self, track: AudioTrack) -> None:
        self.astray = 0.0  # seconds from a packet that was left out for it to its picture; the last one's
        self._time_base = track.time_base
        self._last: int | None = None  # dts in the unit of the packets given out
        self._before: float | None = None  # where the picture before lies, in seconds

    def follow(
        self, audio: Iterable[AudioPacket], shift: float, at: float, unit: Fraction
    ) -> Iterator[AudioPacket]:
        """Yield packets, ``shift`` seconds later, of a picture ``at`` a second; no two in one ``unit``."""
        ticks, scale = round(shift / self._time_base), self._time_base / unit
        earliest = (at if self._before is None else min(self._before, at)) - APART
        self._before = at
        for piece in audio:
            time = float((piece.dts + ticks) * self._time_base)
            dts = round((piece.dts + ticks) * scale)
            if not earliest <= time <= at + APART:
                self.astray = time - at
            elif self._last is None or dts > self._last:
                self._last = dts
                yield AudioPacket(piece.data, piece.pts + ticks, piece.dts + ticks, piece.duration)


class Sound:
    """The audio stream of one output file."""

    def __init__(
        self, container: OutputContainer, track: AudioTrack, first: Iterable[AudioPacket], form: str = ""
    ) -> None:
        """Add the track to the container; ValueError where it does not take this codec.

        ``first`` are the packets known so far. Audio may begin before zero, by the samples that prime its
        decoder; Matroska stores no time before zero, but that lead as the codec's delay. ``form`` is what
        has to take the codec where that is another container than this one, which leads there.
        """
        form = form or container.format.name
        if not takes(form, track):
            raise ValueError(f"{form} does not take {track.codec}, or it is not described")
        leads = (-packet.pts * track.time_base for packet in first)
        lead = max((lead for lead in leads if lead < APART), default=Fraction(0))
        self._stream = _add_stream(container, track, max(float(lead), 0.0))
        self._matroska = form == "matroska"
        self._earliest = -round(lead / track.time_base) if self._matroska else None
        self._track = track
        self._order = Order(track)

    @property
    def astray(self) -> float:
        """Seconds from a packet that was left out for it to its picture; the last one's."""
        return self._order.astray

    def packets(self, audio: Iterable[AudioPacket], shift: float, at: float) -> Iterator[Packet[Any]]:
        """Yield packets ready to mux, ``shift`` seconds later, of a picture that lies ``at`` a second.

        Left out are those that `Order` leaves out.
        """
        from av.packet import Packet

        track = self._track
        # Matroska takes several packets in one of its milliseconds; elsewhere no two may share a tick.
        unit = track.time_base if self._matroska else self._stream.time_base or track.time_base
        scale = track.time_base / unit
        for piece in self._order.follow(audio, shift, at, unit):
            if self._is_too_early(piece.pts):
                continue
            packet = Packet(piece.data)
            packet.stream = self._stream
            packet.time_base, packet.is_keyframe = unit, True
            dts = round(piece.dts * scale)
            packet.pts, packet.dts = max(round(piece.pts * scale), dts), dts
            packet.duration = round(min(piece.duration * track.time_base, Fraction(1)) / unit)
            yield packet

    def _is_too_early(self, pts: int) -> bool:
        return self._earliest is not None and pts < min(self._earliest, 0)


def _add_stream(container: OutputContainer, track: AudioTrack, lead: float) -> AudioStream:
    """Add a stream with the track's parameters, which PyAV takes from another stream only."""
    import av

    with av.open(io.BytesIO(_template(track, lead)), format="matroska") as template:
        stream = container.add_stream_from_template(template.streams.audio[0])
    stream.time_base = track.time_base
    return stream


def _template(track: AudioTrack, lead: float) -> bytes:
    """Return a Matroska file (RFC 9559) that declares the track and holds no packet."""
    import av

    if track.codec not in CODECS:
        raise ValueError(f"no way to describe {track.codec!r}")
    codec, depth = CODECS[track.codec]
    channels = av.AudioLayout(track.layout).nb_channels
    audio = _element(0xB5, struct.pack(">d", track.rate)) + _number(0x9F, channels)
    if depth:
        audio += _number(0x6264, depth)
    entry = _number(0xD7, 1) + _number(0x73C5, 1) + _number(0x83, 2) + _element(0x86, codec)
    if private := _private(track, channels):
        entry += _element(0x63A2, private)
    if lead:
        entry += _number(0x56AA, round(lead * 1e9))
    entry += _element(0xE1, audio)
    header = _element(0x4282, b"matroska") + _number(0x4287, 4) + _number(0x4285, 2)
    info = _element(0x1549A966, _number(0x2AD7B1, 1_000_000))
    tracks = _element(0x1654AE6B, _element(0xAE, entry))
    cluster = _element(0x1F43B675, _number(0xE7, 0))
    return _element(0x1A45DFA3, header) + _element(0x18538067, info + tracks + cluster)


def _private(track: AudioTrack, channels: int) -> bytes:
    """Return what Matroska keeps as CodecPrivate for FFmpeg's extradata of this codec."""
    if track.codec in WAVE_FORMATS:
        tag = WAVE_FORMATS[track.codec]
        return struct.pack("<HHIIHHH", tag, channels, track.rate, track.rate * channels, channels, 8, 0)
    if track.codec == "flac" and not track.extradata.startswith(b"fLaC"):
        return b"fLaC" + struct.pack(">I", 0x80 << 24 | len(track.extradata)) + track.extradata
    if track.codec == "alac":
        return track.extradata[12:]  # without the head of the MP4 box
    return track.extradata


def _element(name: int, content: bytes) -> bytes:
    """Return an EBML element (RFC 8794) with its length in eight bytes."""
    head = name.to_bytes((name.bit_length() + 7) // 8, "big")
    return head + struct.pack(">Q", len(content) | 1 << 56) + content


def _number(name: int, value: int) -> bytes:
    return _element(name, struct.pack(">Q", value))

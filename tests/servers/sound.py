"""Sound made in code: packets as a demuxer gives them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from statistics import median

import av
import numpy as np

from streamer.audio import AudioPacket, AudioTrack

from .clip import number_of

__all__ = ["ENCODERS", "RATE", "SECONDS", "Match", "Track", "encode", "match", "read_back", "up_to"]

RATE = 48_000
SECONDS = 3
ENCODERS = {
    "aac": ("aac", "fltp"),
    "mp3": ("libmp3lame", "fltp"),
    "opus": ("libopus", "s16"),
    "flac": ("flac", "s16"),
    "alac": ("alac", "s16p"),
    "ac3": ("ac3", "fltp"),
    "eac3": ("eac3", "fltp"),
    "mp2": ("mp2", "s16"),
    "pcm_s16le": ("pcm_s16le", "s16"),
    "pcm_mulaw": ("pcm_mulaw", "s16"),
}

Track = tuple[AudioTrack, list[AudioPacket]]

ADTS = 7  # bytes of the head that MPEG-TS puts before each packet of AAC


@dataclass(slots=True)
class Match:
    """What a reader got of numbered pictures and of known sound."""

    codec: str = ""
    pictures: list[int] = field(default_factory=list)  # their numbers
    packets: list[int] = field(default_factory=list)  # which of the source's they are; -1 = none
    data: bytearray = field(default_factory=bytearray)  # of all packets
    strays: list[float] = field(default_factory=list)  # seconds by which each comes later than in the source
    shifts: list[float] = field(default_factory=list)  # the same of pictures

    @property
    def skew(self) -> float:
        """Seconds by which the sound lags behind the pictures, of the source's own."""
        return median(self.strays) - median(self.shifts)


def match(
    container: av.container.InputContainer,
    sound: Track,
    fps: float,
    enough: Callable[[Match], bool] = lambda found: False,
) -> Match:
    """Read pictures and packets until it is enough, or all."""
    track, packets = sound
    known = {packet.data: at for at, packet in enumerate(packets)}
    found = Match(container.streams.audio[0].codec_context.codec.canonical_name)
    for packet in container.demux(video=0, audio=0):
        if packet.stream.type == "audio" and packet.size:
            at = known.get(bytes(packet), known.get(bytes(packet)[ADTS:], -1))
            found.packets.append(at)
            if packet.pts is not None:
                time = float(packets[at].pts * track.time_base)
                found.strays.append(float(packet.pts * packet.time_base) - time)
        elif packet.stream.type == "video":
            for frame in packet.decode():
                number = number_of(frame.to_ndarray(format="gray"))
                found.pictures.append(number)
                if frame.time is not None:  # as FFmpeg tells none of the first one by RTSP
                    found.shifts.append(frame.time - number / fps)
        if enough(found):
            break
    return found


def up_to(sound: Track, time: float, start: int = 0) -> tuple[AudioPacket, ...]:
    """Return the packets from number ``start`` on that are not later than a time."""
    track, packets = sound
    end = start
    while end < len(packets) and packets[end].pts * track.time_base <= time:
        end += 1
    return tuple(packets[start:end])


def encode(folder: Path, codec: str, seconds: int = SECONDS) -> Track:
    """Encode a tone that rises, so that no packet equals another; return what a demuxer reads back."""
    encoder, layout = ENCODERS[codec]
    path = folder / "source.mka"
    if codec in ("aac", "alac"):
        path = folder / "source.m4a"  # sound that starts before zero
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=RATE)
        stream.codec_context.format = layout
        stream.codec_context.layout = "stereo"
        times = np.arange(seconds * RATE) / RATE
        wave = 0.3 * np.sin(2 * np.pi * (440 + 40 * times) * times)
        resampler = av.AudioResampler(layout, "stereo", RATE, frame_size=960 if codec == "opus" else 1024)
        samples = av.AudioFrame.from_ndarray(np.stack([wave, wave]).astype(np.float32), "fltp", "stereo")
        samples.sample_rate, samples.pts, samples.time_base = RATE, 0, Fraction(1, RATE)
        for piece in [*resampler.resample(samples), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode())
    return read_back(path)


def read_back(path: Path) -> Track:
    """Return the sound of a file."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        context = stream.codec_context
        name = context.codec.canonical_name
        track = AudioTrack(
            name, context.sample_rate, context.layout.name, stream.time_base, context.extradata or b""
        )
        packets = [
            AudioPacket(bytes(packet), packet.pts, packet.dts, packet.duration or 0)
            for packet in container.demux(stream)
            if packet.size
        ]
    return track, packets

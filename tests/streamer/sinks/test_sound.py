"""Sound beside the pictures: the same packets at the same times, in every container that takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from streamer.audio import AudioPacket, AudioTrack
from streamer.frame import Frame
from streamer.graph import heir
from streamer.inbox import Inbox
from streamer.sinks import Sink
from streamer.sinks.sound import TAKEN as FITTING
from streamer.sinks.sound import Sound
from tests.servers.sound import RATE, SECONDS, encode, read_back

TAKEN = {
    ".mp4": ["aac", "mp3", "opus", "flac", "alac", "ac3"],
    ".mov": ["aac", "mp3", "alac", "ac3", "pcm_s16le", "pcm_mulaw"],
    ".mkv": ["aac", "mp3", "opus", "flac", "alac", "ac3", "mp2", "pcm_s16le"],
}


@pytest.mark.parametrize(
    ("suffix", "codec"), [(suffix, codec) for suffix, codecs in TAKEN.items() for codec in codecs]
)
def test_packets_arrive_as_they_left(
    tmp_path: Path,
    frames: Callable[..., list[Frame]],
    write: Callable[..., None],
    times_of: Callable[[Path], list[float]],
    suffix: str,
    codec: str,
) -> None:
    track, packets = encode(tmp_path, codec)
    path = tmp_path / f"a{suffix}"
    write(path, _together(frames, track, packets), audio=track)

    found, arrived = read_back(path)
    assert found.codec == codec
    assert (found.rate, found.layout) == (track.rate, track.layout)
    assert [packet.data for packet in arrived] == [packet.data for packet in packets]
    exact = codec in ("aac", "alac") and suffix != ".mkv"  # Matroska counts in milliseconds
    assert _times(arrived, found) == pytest.approx(_times(packets, track), abs=1e-6 if exact else 1.1e-3)
    assert times_of(path) == pytest.approx([index / 25 for index in range(SECONDS * 25)], abs=1e-3)
    assert _loudness(path) == pytest.approx(0.21, abs=0.02)  # 0.3 / sqrt(2)
    with av.open(str(path)) as container:  # else FFmpeg 7 and later leave it out where they copy
        assert all(packet.is_keyframe for packet in container.demux(audio=0) if packet.size)


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        (".mp4", "pcm_mulaw"),
        (".mkv", "pcm_mulaw"),
        (".mp4", "speex"),
        (".mkv", "speex"),
        (".mov", "flac"),
        (".mov", "opus"),
        (".mp4", "aac"),  # which nothing describes
    ],
)
def test_a_codec_that_the_container_does_not_take_is_left_out_and_said_once(
    tmp_path: Path,
    frames: Callable[..., list[Frame]],
    write: Callable[..., None],
    times_of: Callable[[Path], list[float]],
    caplog: pytest.LogCaptureFixture,
    suffix: str,
    codec: str,
) -> None:
    track = AudioTrack(codec, 8000, "mono", Fraction(1, 8000))
    packets = [AudioPacket(b"\x7f" * 800, index * 800, index * 800, 800) for index in range(10)]
    path = tmp_path / f"a{suffix}"
    write(path, _together(frames, track, packets), audio=track)
    with av.open(str(path)) as container:
        assert len(container.streams.audio) == 0
    assert len(times_of(path)) == SECONDS * 25
    assert caplog.text.count(f"{codec} sound") == 1


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_moves_with_pictures_that_are_moved(
    tmp_path: Path, frames: Callable[..., list[Frame]], write: Callable[..., None], suffix: str
) -> None:
    track, packets = encode(tmp_path, "aac")
    start = 1000 * RATE
    late = [AudioPacket(p.data, p.pts + start, p.dts + start, p.duration) for p in packets]
    pictures = _together(frames, track, packets)
    for picture in pictures:
        picture.pts += 1000
        picture.audio = tuple(late[packets.index(packet)] for packet in picture.audio)
    path = tmp_path / f"a{suffix}"
    write(path, pictures, audio=track)
    found, arrived = read_back(path)
    assert _times(arrived, found) == pytest.approx(_times(packets, track)[-len(arrived) :], abs=1.1e-3)
    assert len(packets) - len(arrived) <= (1 if suffix == ".mkv" else 0)


def test_packets_that_repeat_or_go_back_are_left_out(
    tmp_path: Path, frames: Callable[..., list[Frame]], write: Callable[..., None]
) -> None:
    track, packets = encode(tmp_path, "aac")
    pictures = frames([0.0, 0.1, 0.2])
    pictures[0].audio = tuple(packets[:5])
    pictures[1].audio = tuple(packets[3:8])
    pictures[2].audio = tuple(packets[8:9])
    write(tmp_path / "a.mp4", pictures, audio=track)
    _, arrived = read_back(tmp_path / "a.mp4")
    assert [packet.data for packet in arrived] == [packet.data for packet in packets[:9]]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("live", [False, True])
def test_sound_that_comes_later_than_the_first_picture_is_kept(
    tmp_path: Path,
    frames: Callable[..., list[Frame]],
    write: Callable[..., None],
    times_of: Callable[[Path], list[float]],
    suffix: str,
    live: bool,
) -> None:
    track, packets = encode(tmp_path, "aac")
    pictures = _together(frames, track, packets)
    for picture in pictures:
        picture.live, picture.audio = live, picture.audio if picture.pts > 0.9 else ()
    path = tmp_path / f"a{suffix}"
    write(path, pictures, audio=track)
    found, arrived = read_back(path)
    kept = [packet for picture in pictures for packet in picture.audio]
    assert [packet.data for packet in arrived] == [packet.data for packet in kept]
    assert _times(arrived, found) == pytest.approx(_times(kept, track), abs=1.1e-3)
    assert times_of(path) == pytest.approx([picture.pts for picture in pictures], abs=1e-3)


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_live_stream_whose_sound_does_not_come_is_on_disk_without(
    tmp_path: Path,
    frames: Callable[..., list[Frame]],
    sink: Callable[..., Sink],
    times_of: Callable[[Path], list[float]],
    caplog: pytest.LogCaptureFixture,
    suffix: str,
) -> None:
    track, packets = encode(tmp_path, "aac")
    pictures = frames(index / 25 for index in range(SECONDS * 25))
    path = tmp_path / f"a{suffix}"
    film = sink(f"{path}?preset=ultrafast", fps=25, audio=track)
    for picture in pictures:
        picture.live, picture.audio = True, tuple(packets[-3:]) if picture.pts > 2 else ()
        film.write(picture)
    assert len(times_of(path)) > 25  # as it would be if the process were killed now
    assert caplog.text.count("no aac sound in 1 s, left out") == 1
    film.close()
    assert times_of(path) == pytest.approx([picture.pts for picture in pictures], abs=1e-3)
    with av.open(str(path)) as container:
        assert not container.streams.audio


def test_a_file_without_the_sound_that_it_announces_is_whole(
    tmp_path: Path,
    frames: Callable[..., list[Frame]],
    write: Callable[..., None],
    times_of: Callable[[Path], list[float]],
) -> None:
    track, _ = encode(tmp_path, "aac")
    write(tmp_path / "a.mp4", frames([0.0, 0.1, 0.2]), audio=track)
    assert times_of(tmp_path / "a.mp4") == pytest.approx([0.0, 0.1, 0.2], abs=1e-3)


def test_other_tracks_of_sound_are_left_out_and_said_once(
    tmp_path: Path,
    frames: Callable[..., list[Frame]],
    write: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    track, packets = encode(tmp_path, "aac")
    write(tmp_path / "a.mp4", _together(frames, track, packets), audio=replace(track, others=2))
    assert caplog.text.count("one track of sound is kept (aac), 2 left out") == 1


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("leap", [50_000, -50_000, 60])
def test_sound_whose_clock_leaps_is_left_out_until_it_comes_back(
    tmp_path: Path,
    frames: Callable[..., list[Frame]],
    write: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
    suffix: str,
    leap: int,
) -> None:
    track, packets = encode(tmp_path, "aac")
    pictures = _together(frames, track, packets)
    for picture in pictures[20:40]:
        picture.audio = tuple(
            replace(packet, pts=packet.pts + leap * RATE, dts=packet.dts + leap * RATE)
            for packet in picture.audio
        )
    path = tmp_path / f"a{suffix}"
    write(path, pictures, audio=track)
    _, arrived = read_back(path)
    kept = [packet.data for picture in pictures[:20] + pictures[40:] for packet in picture.audio]
    assert [packet.data for packet in arrived] == kept
    assert caplog.text.count("from its picture") == 1


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_may_lie_anywhere_between_two_pictures(
    tmp_path: Path, frames: Callable[..., list[Frame]], write: Callable[..., None], suffix: str
) -> None:
    track, packets = encode(tmp_path, "aac")
    pictures = frames([0.0, 500.0])
    pictures[0].audio = tuple(packets[:5])
    late = round(495 * RATE)
    pictures[1].audio = tuple(packets[5:70]) + tuple(
        replace(packet, pts=packet.pts + late, dts=packet.dts + late) for packet in packets[70:80]
    )
    write(tmp_path / f"a{suffix}", pictures, audio=track)
    _, arrived = read_back(tmp_path / f"a{suffix}")
    assert [packet.data for packet in arrived] == [packet.data for packet in packets[:80]]


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_times_that_are_one_tick_of_the_file_cost_a_packet_and_no_picture(
    tmp_path: Path,
    frames: Callable[..., list[Frame]],
    write: Callable[..., None],
    times_of: Callable[[Path], list[float]],
    suffix: str,
) -> None:
    track, packets = encode(tmp_path, "aac")
    track = replace(track, time_base=Fraction(1, 90_000))
    pictures = frames(index / 25 for index in range(25))
    for index, picture in enumerate(pictures):
        at = index * 3600
        picture.audio = (
            replace(packets[2 * index], pts=at, dts=at, duration=1800),
            replace(packets[2 * index + 1], pts=at + 1, dts=at + 1, duration=1800),
        )
    path = tmp_path / f"a{suffix}"
    write(path, pictures, audio=track)
    assert len(times_of(path)) == 25
    _, arrived = read_back(path)
    assert len(arrived) >= 25


def test_sound_that_the_muxer_refuses_costs_the_sound_only(
    tmp_path: Path,
    frames: Callable[..., list[Frame]],
    write: Callable[..., None],
    times_of: Callable[[Path], list[float]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    track, packets = encode(tmp_path, "aac")
    packets_of = Sound.packets

    def repeat(*given: object) -> Iterator[av.Packet]:
        for packet in packets_of(*given):  # type: ignore[arg-type]
            packet.pts = packet.dts = min(packet.dts, RATE)
            yield packet

    monkeypatch.setattr(Sound, "packets", repeat)
    path = tmp_path / "a.mp4"
    write(path, _together(frames, track, packets), audio=track)
    assert len(times_of(path)) == SECONDS * 25
    assert caplog.text.count("sound cannot be written, left out from here: invalid argument") == 1


def test_a_container_that_cannot_be_begun_with_sound_is_begun_without(
    tmp_path: Path,
    frames: Callable[..., list[Frame]],
    write: Callable[..., None],
    times_of: Callable[[Path], list[float]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    track, packets = encode(tmp_path, "flac")
    monkeypatch.setitem(FITTING, "mov", frozenset({"flac"}))
    path = tmp_path / "a.mov"
    write(path, _together(frames, track, packets), audio=track)
    assert len(times_of(path)) == SECONDS * 25
    assert caplog.text.count("sound cannot be written") == 1


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_of_pictures_that_came_too_late_is_in_the_file(
    tmp_path: Path, frames: Callable[..., list[Frame]], write: Callable[..., None], suffix: str
) -> None:
    track, packets = encode(tmp_path, "aac")
    inbox: Inbox[Frame] = Inbox(inherit=heir)
    lane = inbox.lane("cam", policy="latest", capacity=2)
    taken: list[Frame] = []
    for number, picture in enumerate(_together(frames, track, packets)):
        lane.put(picture)
        if number % 5 == 4:
            taken += inbox.take(1)
    lane.close()
    taken += inbox
    write(tmp_path / f"a{suffix}", taken, audio=track)
    assert len(taken) < SECONDS * 25 / 4
    _, arrived = read_back(tmp_path / f"a{suffix}")
    assert [packet.data for packet in arrived] == [packet.data for packet in packets]


def _together(
    frames: Callable[..., list[Frame]], track: AudioTrack, packets: list[AudioPacket]
) -> list[Frame]:
    """Spread packets over frames of 25 fps, each with the first frame that is not before it."""
    pictures = frames(index / 25 for index in range(SECONDS * 25))
    ends = [picture.pts for picture in pictures[:-1]] + [float("inf")]
    left = list(packets)
    for picture, end in zip(pictures, ends, strict=True):
        count = sum(float(packet.pts * track.time_base) <= end for packet in left)
        picture.audio, left = tuple(left[:count]), left[count:]
    return pictures


def _times(packets: list[AudioPacket], track: AudioTrack) -> list[float]:
    return [float(packet.pts * track.time_base) for packet in packets]


def _loudness(path: Path) -> float:
    """Decode and return the root mean square of the middle second."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("flt", "stereo", RATE)
        pieces = [
            piece.to_ndarray().ravel()
            for frame in container.decode(audio=0)
            for piece in resampler.resample(frame)
        ]
    wave = np.concatenate(pieces)[2 * RATE : 4 * RATE]
    return float(np.sqrt(np.mean(wave**2)))

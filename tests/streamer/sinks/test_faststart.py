"""faststart: a regular file of the same packets, in one step."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from streamer.audio import AudioPacket, AudioTrack
from streamer.frame import Frame
from streamer.sinks.faststart import faststart


@pytest.fixture
def fragmented(
    tmp_path: Path,
    frames: Callable[..., list[Frame]],
    write: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Path, int]:
    """A file whose index is as large as one can be: no two packets of its two tracks last equally long."""
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.02, 0.5, 400)).tolist()
    pictures = frames(times, size=(32, 32))
    starts = [round(time * 44100) for time in times]
    for picture, start in zip(pictures, starts, strict=True):
        picture.audio = (AudioPacket(bytes(rng.bytes(60)), start, start, 1024),)
    track = AudioTrack("aac", 44100, "stereo", Fraction(1, 44100), b"\x12\x10")
    path = tmp_path / "a.mp4"
    monkeypatch.setattr("streamer.sinks.video.faststart", lambda *_: None)
    write(f"{path}?gop=1", pictures, audio=track)
    return path, 800


def test_packets_and_times_are_untouched(fragmented: tuple[Path, int]) -> None:
    path, count = fragmented
    before = _packets(path)
    assert len(before) == count
    assert b"moof" in path.read_bytes()
    faststart(str(path), "mp4", count)
    assert _packets(path) == before
    data = path.read_bytes()
    assert b"moof" not in data
    assert data.index(b"moov") < data.index(b"mdat")


def test_a_failure_leaves_the_old_file_and_nothing_else(fragmented: tuple[Path, int]) -> None:
    path, count = fragmented
    before = path.read_bytes()
    with pytest.raises((OSError, av.FFmpegError)):
        faststart(str(path), "mp4", -300)  # no room for the index
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["a.mp4"]
    assert count == len(_packets(path))


def _packets(path: Path) -> list[tuple[int, bytes, Fraction]]:
    with av.open(str(path)) as container:
        found = [
            (packet.stream.index, bytes(packet), packet.pts * Fraction(packet.time_base))
            for packet in container.demux()
            if packet.size
        ]
    return sorted(found, key=lambda packet: (packet[0], packet[2]))

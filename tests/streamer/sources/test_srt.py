"""SRT through a child that can be killed; its passphrase is in no command line."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamer.ffmpeg import find_ffmpeg
from streamer.sources import Unavailable, open_source, srt

from .conftest import Film, picture

pytestmark = [
    pytest.mark.skipif(not find_ffmpeg("srt"), reason="no ffmpeg that knows SRT"),
    pytest.mark.timeout(60),
]
SECRET = "hush-hush-hush"


@pytest.fixture
def sender(film: Film) -> Iterator[str]:
    """Send a film over and over to whoever calls."""
    path = film("a.ts", [picture(number) for number in range(30)])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    listen = f"srt://127.0.0.1:{port}?mode=listener&passphrase={SECRET}"
    command = [find_ffmpeg("srt"), "-loglevel", "error", "-re", "-stream_loop", "-1", "-i", str(path)]
    child = subprocess.Popen([*command, "-c", "copy", "-f", "mpegts", listen], stderr=subprocess.DEVNULL)
    yield f"srt://127.0.0.1:{port}?passphrase={SECRET}"
    child.kill()
    child.wait()


def children() -> set[str]:
    pid = os.getpid()
    return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def test_pictures_come_the_secret_is_not_shown_and_the_child_ends(sender):
    before = children()
    source = open_source(sender)
    frames = iter(source)
    assert [next(frames).size for _ in range(10)] == [(96, 64)] * 10
    assert SECRET.encode() not in Path(f"/proc/{source.child.pid}/cmdline").read_bytes()
    source.stop()
    list(frames)
    source.close()
    assert children() == before


def test_silence_ends_by_time_out_and_leaves_no_child(monkeypatch):
    monkeypatch.setattr(srt, "OPEN_TIMEOUT", 0.5)
    before = children()
    with pytest.raises(Unavailable, match="no stream of video") as refusal:
        open_source(f"srt://127.0.0.1:9?passphrase={SECRET}")
    assert SECRET not in str(refusal.value)
    assert children() == before

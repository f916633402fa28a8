"""Pushing: what real receivers get, and targets that never read, die and return."""

from __future__ import annotations

import io
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import av
import pytest

from engines.errors import InputError
from streamer.frame import Frame
from streamer.sinks import Sink, check_sink
from streamer.sinks.broadcast import Mux, Settings
from streamer.sinks.push import NUT, _Tap
from streamer.sinks.studio import Studio
from tests.servers.camera import FPS, Camera, until
from tests.servers.clip import number_of
from tests.servers.sound import Track, encode, match
from tests.streamer.test_cli import start

pytestmark = [
    pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg: apt-get install ffmpeg"),
    pytest.mark.timeout(120),
]


INDEX = b"NX\xdd\x67\x2f\x23\xe6\x4e"  # what NUT's index begins with


class Receiver:
    """ffmpeg as a server that writes so many pictures to a file and ends."""

    def __init__(self, scheme: str, port: int, path: Path, count: int, *, analysis: float = 0.1) -> None:
        """``analysis``: seconds in which it finds out what comes; sound may precede the first keyframe."""
        self.path = path
        place = f"127.0.0.1:{port}"
        how = {
            "rtsp": ["-rtsp_flags", "listen", "-i", f"rtsp://{place}/live/cam"],
            "rtmp": ["-listen", "1", "-i", f"rtmp://{place}/live/cam"],
            "srt": ["-i", f"srt://{place}?mode=listener"],
        }[scheme]
        self._process = subprocess.Popen(
            [
                "ffmpeg",
                "-v",
                "error",
                "-y",
                "-analyzeduration",
                str(round(analysis * 1e6)),
                *how,
                "-c",
                "copy",
                "-flush_packets",
                "1",
                "-max_interleave_delta",
                "1",
                "-frames:v",
                str(count),
                str(path),
            ],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def wait(self) -> list[int]:
        """Return the numbers of the pictures that came."""
        self._process.wait(60)
        with av.open(str(self.path)) as container:
            return [number_of(frame.to_ndarray(format="gray")) for frame in container.decode(video=0)]

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def _deaf(port: int) -> Iterator[list[socket.socket]]:
    """Accept connections and never read."""
    server = socket.create_server(("127.0.0.1", port))
    peers: list[socket.socket] = []

    def accept() -> None:
        try:
            while True:
                peers.append(server.accept()[0])
        except OSError:
            pass

    threading.Thread(target=accept, daemon=True).start()
    yield peers
    server.shutdown(socket.SHUT_RDWR)
    for one in (server, *peers):
        one.close()


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        number: int = probe.getsockname()[1]
        return number


@pytest.fixture
def push(sink: Callable[..., Sink], port: int) -> Iterator[Callable[..., tuple[Sink, Camera]]]:
    made: list[tuple[Sink, Camera]] = []

    def start(scheme: str, query: str = "", sound: Track | None = None) -> tuple[Sink, Camera]:
        path = "" if scheme == "srt" else "/live/cam"
        url = f"push+{scheme}://127.0.0.1:{port}{path}?preset=ultrafast&gop=15{query}"
        opened = sink(url, fps=FPS, audio=sound[0] if sound else None)
        made.append((opened, Camera(opened, sound=sound)))
        return made[-1]

    yield start
    for opened, running in made:
        running.stop()
        opened.close()


@pytest.mark.parametrize("scheme", ["rtsp", "rtmp", "srt"])
def test_a_receiver_that_comes_late_gets_every_picture_from_then_on(
    tmp_path: Path, port: int, push: Callable[..., tuple[Sink, Camera]], scheme: str
) -> None:
    if scheme == "srt" and not _has_srt():
        pytest.skip("this ffmpeg knows no SRT")
    sink, _ = push(scheme)
    counts = lambda: sink.counts  # type: ignore[attr-defined]  # noqa: E731
    if scheme != "srt":  # by UDP nobody refuses
        until(lambda: counts()["lost"] > 0)
    numbers = Receiver(scheme, port, tmp_path / "got.nut", 40).wait()
    assert len(numbers) >= 38
    assert {(later - earlier) % 256 for earlier, later in pairwise(numbers)} == {1}


def _has_srt() -> bool:
    return b" srt" in subprocess.run(["ffmpeg", "-protocols"], capture_output=True).stdout


@pytest.mark.parametrize(
    ("scheme", "codec"),
    [
        ("rtsp", "aac"),
        ("rtsp", "opus"),
        ("rtmp", "aac"),
        ("rtmp", "mp3"),
        ("srt", "aac"),
        ("srt", "ac3"),
        ("srt", "opus"),
    ],
)
def test_sound_arrives_as_it_left_and_in_step_with_the_pictures(
    tmp_path: Path, port: int, push: Callable[..., tuple[Sink, Camera]], scheme: str, codec: str
) -> None:
    if scheme == "srt" and not _has_srt():
        pytest.skip("this ffmpeg knows no SRT")
    sound = encode(tmp_path, codec, 30)
    receiver = Receiver(scheme, port, tmp_path / "got.mkv", 40, analysis=1.0)
    push(scheme, sound=sound)
    assert len(receiver.wait()) >= 38
    with av.open(str(receiver.path)) as container:
        found = match(container, sound, FPS)
    assert found.codec == codec
    assert len(found.packets) > 30
    assert found.packets == list(range(found.packets[0], found.packets[0] + len(found.packets)))
    assert found.skew == pytest.approx(0, abs=0.05)


def test_sound_that_the_far_end_does_not_take_is_left_out_and_said_once(
    tmp_path: Path, port: int, push: Callable[..., tuple[Sink, Camera]], caplog: pytest.LogCaptureFixture
) -> None:
    receiver = Receiver("rtmp", port, tmp_path / "got.mkv", 20)
    push("rtmp", sound=encode(tmp_path, "opus", 10))
    assert len(receiver.wait()) >= 18
    with av.open(str(receiver.path)) as container:
        assert not container.streams.audio
    assert caplog.text.count("opus sound does not fit flv, left out") == 1


def test_sound_that_ends_does_not_hold_the_pictures(
    tmp_path: Path, port: int, push: Callable[..., tuple[Sink, Camera]]
) -> None:
    """FFmpeg by itself keeps ten seconds of pictures back for it."""
    receiver = Receiver("rtmp", port, tmp_path / "got.mkv", 60, analysis=1.0)
    _, camera = push("rtmp", sound=encode(tmp_path, "aac", 2))
    numbers = receiver.wait()
    assert camera.written - numbers[-1] < 5 * FPS


def test_what_the_child_reads_ends_without_an_index(frames: Callable[..., list[Frame]]) -> None:
    """The muxer would hold more of it in memory with every keyframe."""
    tap, share = _Tap(), Studio(fps=lambda: FPS).share(Settings(gop=5))
    parts = [part for frame in frames(at / FPS for at in range(20)) for part in share.write(frame)]
    mux = Mux(tap, NUT, share.encoder, in_band=True)
    for part in parts:
        mux.write(part)
    mux.close()
    share.rest()
    data = b"".join(iter(lambda: tap.take(0), b""))
    assert INDEX not in data
    with av.open(io.BytesIO(data)) as container:
        assert len(list(container.decode(video=0))) == 20


@pytest.mark.parametrize("scheme", ["rtsp", "rtmp"])
def test_a_target_that_never_reads_dies_and_returns_costs_no_frame_of_the_graph(
    tmp_path: Path, port: int, push: Callable[..., tuple[Sink, Camera]], scheme: str
) -> None:
    with _deaf(port) as peers:
        sink, camera = push(scheme, "&crf=1&patience=0.5")
        counts = lambda: sink.counts  # type: ignore[attr-defined]  # noqa: E731
        until(lambda: len(peers) >= 2)
        assert counts()["lost"] >= 1
    lost, written = counts()["lost"], camera.written
    until(lambda: counts()["lost"] > lost)
    assert len(Receiver(scheme, port, tmp_path / "got.nut", 20).wait()) >= 18
    assert camera.written > written
    assert counts()["started"] >= counts()["lost"]
    assert counts()["sent"] + counts()["away"] >= camera.written - 1


def test_a_receiver_that_is_killed_is_served_again_when_it_returns(
    tmp_path: Path, port: int, push: Callable[..., tuple[Sink, Camera]]
) -> None:
    first = Receiver("rtmp", port, tmp_path / "first.nut", 100_000)
    sink, _ = push("rtmp")
    counts = lambda: sink.counts  # type: ignore[attr-defined]  # noqa: E731
    until(lambda: first.path.exists() and first.path.stat().st_size > 0)
    first.kill()
    lost = counts()["lost"]
    until(lambda: counts()["lost"] > lost)
    assert len(Receiver("rtmp", port, tmp_path / "second.nut", 20).wait()) >= 18


def test_the_end_of_the_run_ends_the_push(
    tmp_path: Path, port: int, sink: Callable[..., Sink], caplog: pytest.LogCaptureFixture
) -> None:
    receiver = Receiver("rtmp", port, tmp_path / "got.nut", 100_000)
    opened = sink(f"push+rtmp://me:secret@127.0.0.1:{port}/live/cam?preset=ultrafast", fps=FPS)
    camera = Camera(opened)
    until(lambda: receiver.path.exists() and receiver.path.stat().st_size > 0)
    camera.stop()
    opened.close()
    numbers = receiver.wait()
    assert numbers[-1] == (camera.written - 1) % 256
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    "signals", [[signal.SIGKILL], [signal.SIGINT, signal.SIGINT]], ids=["kill", "Ctrl-C twice"]
)
def test_a_run_that_is_ended_at_once_leaves_no_child_behind(port: int, signals: list[signal.Signals]) -> None:
    """The child waits for an answer that does not come; its end closes the connection."""
    with _deaf(port) as peers:
        url = f"push+rtmp://127.0.0.1:{port}/live/cam"
        run = start("run", "synthetic:?live=1&count=0", "-m", "tiny-yolo", "-q", "--sink", url)
        try:
            until(lambda: bool(peers))
            for number in signals:
                run.send_signal(number)
            assert run.wait(20) in (-signal.SIGKILL, 128 + signal.SIGINT)
            peers[0].settimeout(20)
            with suppress(ConnectionError):
                while peers[0].recv(65536):
                    pass
        finally:
            run.kill()
            run.wait()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("push+rtsp://host", ["no path", "push+rtsp://HOST:554/PATH"]),
        ("push+rtmp://me:secret@host/a?gopp=3", ["gopp", "did you mean 'gop'"]),
        ("push+srt://host:9000?patience=0", ["patience", "0.1 to 600"]),
        ("push+http://host/x", ["push+http", "did you mean"]),
    ],
)
def test_a_wrong_url_is_refused_with_what_would_be_right(url: str, words: list[str]) -> None:
    with pytest.raises(InputError) as refused:
        check_sink(url)
    assert [word for word in words if word not in str(refused.value)] == []
    assert "secret" not in str(refused.value)


def test_a_machine_without_ffmpeg_is_told_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(InputError, match=r"no ffmpeg to push with: pip install 'streamer\[publish\]'"):
        check_sink("push+srt://host:9000")

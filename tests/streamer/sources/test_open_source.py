"""Opening by URL: the right kind of source, a fit name, and one sentence for what cannot be opened."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from engines.errors import InputError, WorkError
from streamer.sources import SOURCES, is_local, kind_of, open_source, stream_name, video
from streamer.sources.opening import Opening, settle

from .conftest import Film, picture


@pytest.mark.parametrize("target", SOURCES.values())
def test_table_names_functions_that_exist(target):
    module, _, function = target.partition(":")
    assert callable(getattr(import_module(module), function))


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("0", "camera"),
        ("0?size=640x480", "camera"),
        ("/dev/video2", "camera"),
        ("/dev/v4l/by-id/usb-cam", "camera"),
        ("camera:1", "camera"),
        ("clip.mp4", "file"),
        ("file:clip.mp4", "file"),
        ("C:clip.mp4", "file"),
        ("/tmp", "images"),
        ("/tmp?fps=3", "images"),
        ("a/b.JPEG", "images"),
        ("a/*", "images"),
        ("a/[0-9].png", "images"),
        ("rtsp://u:p@cam/1", "rtsp"),
        ("synthetic:", "synthetic"),
    ],
)
def test_kind_follows_from_what_was_written(url, kind):
    assert kind_of(url) == kind


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("clip.mp4", True),
        ("photos/*.jpg", True),
        ("synthetic:?count=9", True),
        ("record:clip.mp4?to=session", True),
        ("record:rtsp://cam/1?to=session", False),
        ("rtsp://cam/1", False),
        ("https://site/clip.mp4", False),
        ("/dev/video0?fps=5", False),
        ("0", False),
        ("chaos:clip.mp4?eof@3s", False),
        ("replay:session", False),
    ],
)
def test_files_and_what_is_made_here_are_local(url, local):
    assert is_local(url) == local


@pytest.mark.parametrize("url", ["", " ", "chaos:", "chaos:?drop=1%"])
def test_nothing_is_no_source(url: str):
    with pytest.raises(InputError, match="source: empty"):
        settle([Opening(url)])


def test_a_file_with_a_colon_in_its_name_is_a_file(film: Film, monkeypatch, tmp_path: Path):
    film("door:2.mp4")
    monkeypatch.chdir(tmp_path)
    source = open_source("door:2.mp4")
    assert source.info.frames == 10
    source.close()


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("clips/street.v2.mp4", "street.v2"),
        ("clip.mp4", "clip"),
        ("3", "camera3"),
        ("3?fps=5", "camera3"),
        ("/dev/video3?fps=5", "video3"),
        ("rtsp://admin:secret@10.0.0.5:554/live/door", "door"),
        ("rtsp://admin:secret@10.0.0.5", "10.0.0.5"),
        ("tcp://127.0.0.1:9000", "127.0.0.1-9000"),
        ("file:///data/clip.mp4", "clip"),
        ("file:clip.mp4", "clip"),
        ("images:photos", "photos"),
        ("door:2.mp4", "door-2"),
        ("http://cam/video.mjpg?token=secret", "video"),
        ("synthetic:?seed=4", "synthetic"),
        ("lavfi:testsrc2=size=64x48", "lavfi"),
        ("photos/", "photos"),
        ("photos/*.jpg", "stream"),
        ("rtsp://cam/user=admin_password=secret_channel=1.sdp", "user-admin_password-_channel-1"),
        ("rtsp:/admin:secret@cam", "rtsp"),
    ],
)
def test_name_is_fit_for_a_file_and_without_secrets(url, name):
    assert stream_name(url) == name


def make_tiny(path: Path) -> None:
    path.write_text("text\n")


def make_text(path: Path) -> None:
    path.write_text("no video here\n" * 100)


def make_cut(path: Path) -> None:
    whole = path.with_name("whole.mp4")
    with av.open(str(whole), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(picture(number))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    data = whole.read_bytes()
    path.write_bytes(data[: data.rindex(b"moov") - 4])


def make_sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        (
            "gone.mp4",
            lambda path: path.with_name("gome.mp4").touch(),
            "no such file, did you mean 'gome.mp4'?",
        ),
        ("none/gone.mp4", lambda path: None, "no such file"),
        ("empty.mp4", Path.touch, "the file is empty"),
        ("text.mp4", make_text, "not a video or picture that FFmpeg can read"),
        ("tiny.mp4", make_tiny, "not a video or picture that FFmpeg can read"),
        ("text.txt", make_text, "not a video"),
        ("cut.mp4", make_cut, "damaged or cut short: the index (moov) of this MP4 is missing"),
        ("song.mp4", make_sound, "no video stream, it holds: audio"),
        ("folder", Path.mkdir, "no pictures in this folder"),
        ("*.jpg", lambda path: None, "no picture matches"),
    ],
)
def test_unusable_files_are_refused_in_one_sentence(
    tmp_path: Path, name, make: Callable[[Path], object], words
):
    make(tmp_path / name)
    with pytest.raises(InputError) as caught:
        open_source(str(tmp_path / name))
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("rstp://cam/1", "unknown scheme 'rstp', did you mean 'rtsp'?"),
        ("gopher://cam/1", "unknown scheme 'gopher', known are camera, chaos, file"),
        ("lavfi:nosuchfilter", "not a filter graph"),
        ("synthetic:?cuont=3", "unknown key 'cuont', did you mean 'count'?"),
    ],
)
def test_unusable_urls_are_refused_in_one_sentence(url, words):
    with pytest.raises(InputError) as caught:
        open_source(url)
    assert str(caught.value).startswith(f"{url}: ")
    assert words in str(caught.value)


@contextmanager
def tcp_server(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Serve each connection on a loopback port that the system chose, until the block ends."""
    done = threading.Event()

    def listen(server: socket.socket) -> None:
        while not done.is_set():
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                try:
                    serve(connection)
                except OSError:
                    continue

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=listen, args=(server,))
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            done.set()
            server.shutdown(socket.SHUT_RDWR)
    thread.join()


def answer(status: str, connection: socket.socket) -> None:
    request = connection.recv(4096).decode()
    number = next((line.split()[1] for line in request.splitlines() if line.startswith("CSeq")), "1")
    connection.sendall(
        f"{request.split()[2]} {status}\r\nCSeq: {number}\r\n\r\n".encode() if request else b""
    )


def never_answer(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("401 Unauthorized", "another user name and password"),
        ("403 Forbidden", "another user name and password"),
        ("404 Not Found", "no such path"),
        ("500 Internal Server Error", "cannot be opened"),
    ],
)
@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_refusals_of_a_server_are_told_apart(scheme, status, words):
    served = partial(answer, status)
    if scheme == "http":
        status_line = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()

        def served(connection: socket.socket) -> None:
            connection.recv(4096)
            connection.sendall(status_line)

    with tcp_server(served) as port, pytest.raises(InputError, match=words) as caught:
        open_source(f"{scheme}://admin:hunter2@127.0.0.1:{port}/cam")
    shown = [str(caught.value), repr(caught.value.__cause__), *getattr(caught.value, "__notes__", [])]
    assert f"{scheme}://admin:***@127.0.0.1:{port}/cam: " in shown[0]
    assert not any("hunter2" in text for text in shown)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("scheme", ["rtsp", "http", "tcp", "rtmp"])
def test_nobody_listening_is_said(scheme):
    with socket.socket() as taken:  # bound but not listening: nobody else can get the port
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(InputError, match="connection refused, is a server running"):
            open_source(f"{scheme}://127.0.0.1:{taken.getsockname()[1]}/cam")


@pytest.mark.parametrize("scheme", ["rtsp", "http", "tcp"])
def test_silence_ends_by_time_out(scheme, monkeypatch):
    monkeypatch.setattr(video, "OPEN_TIMEOUT", 0.3)
    monkeypatch.setattr(video, "READ_TIMEOUT", 0.3)
    with tcp_server(never_answer) as port, pytest.raises(InputError, match="no answer within"):
        open_source(f"{scheme}://127.0.0.1:{port}/cam")


def test_stream_from_the_network_is_live_and_ends_with_its_sender(film: Film):
    data = film("a.ts").read_bytes()
    began = time.monotonic()
    with tcp_server(lambda connection: connection.sendall(data)) as port:
        source = open_source(f"tcp://127.0.0.1:{port}")
        frames = list(source)
        source.close()
    assert source.live
    assert [frame.index for frame in frames] == list(range(10))
    assert np.diff([frame.pts for frame in frames]) == pytest.approx(0.1)
    assert all(began < frame.captured < time.monotonic() for frame in frames)


def test_stall_of_a_live_stream_is_a_lost_connection(film: Film, monkeypatch):
    monkeypatch.setattr(video, "READ_TIMEOUT", 0.3)
    data = film("a.ts", [picture(number) for number in range(60)]).read_bytes()

    def stall(connection: socket.socket) -> None:
        connection.sendall(data)
        never_answer(connection)

    with tcp_server(stall) as port:
        source = open_source(f"tcp://127.0.0.1:{port}")
        with pytest.raises(WorkError, match=f"tcp://127.0.0.1:{port}: connection lost"):
            list(source)
        source.close()


def test_file_on_a_web_server_waits_for_us(film: Film, tmp_path: Path):
    film("a.mp4")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        source = open_source(f"http://127.0.0.1:{server.server_port}/a.mp4")
        assert (source.live, source.info.frames, len(list(source))) == (False, 10, 10)
        source.close()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_motion_jpeg_is_stamped_on_arrival():
    parts = []
    for number in range(12):
        jpeg = cv2.imencode(".jpg", picture(number))[1].tobytes()
        parts.append(
            b"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(jpeg), jpeg)
        )

    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(
            b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=cut\r\n\r\n"
        )
        connection.sendall(b"".join(parts) + b"--cut--\r\n")

    with tcp_server(serve) as port:
        source = open_source(f"http://127.0.0.1:{port}/video")
        frames = []
        with suppress(WorkError):  # this demuxer takes the end of the answer for a failure
            frames.extend(source)
        source.close()
    assert source.live
    assert len(frames) >= 11
    spread = frames[-1].pts - frames[0].pts
    assert spread == pytest.approx(frames[-1].captured - frames[0].captured, abs=len(frames) * 0.001)


@pytest.mark.parametrize(("megabytes", "read"), [(8, 0), (64, 20_000_000)])
def test_a_picture_that_takes_more_memory_than_is_allowed_is_not_read(megabytes, read):
    """In a process of its own, since the limit holds for the whole of it."""

    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        head = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=cut\r\n\r\n"
        connection.sendall(head + b"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: 20000000\r\n\r\n")
        with suppress(OSError):
            connection.sendall(bytes(20_000_000))

    reader = """
import sys
from av.error import FFmpegError
from streamer.sources import container
url, megabytes = sys.argv[1:]
container.LARGEST_BLOCK = int(megabytes) << 20
container.bound_memory()
try:
    print(next(container.open_container(url, url, container.Opening(format="mpjpeg")).demux()).size)
except FFmpegError:
    print(0)
"""
    with tcp_server(serve) as port:
        words = [sys.executable, "-c", reader, f"http://127.0.0.1:{port}/video", str(megabytes)]
        found = subprocess.run(words, capture_output=True, text=True, timeout=30)
    assert int(found.stdout or -1) == read, found.stderr

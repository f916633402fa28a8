"""The RTSP server: what players that are not ours see, and what those who misbehave do to others."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from engines.errors import InputError
from streamer.frame import Frame
from streamer.sinks import Sink, check_sink, rtsp_server
from streamer.sinks.rtsp_lines import Datagrams
from tests.servers.camera import FPS, PICTURES, SIZE, Camera, until
from tests.servers.clip import number_of
from tests.servers.gstreamer import has_elements
from tests.servers.sound import Track, encode, match

REPORT = b"\x80\xc9\x00\x01\x00\x00\x00\x07"  # RTCP's receiver report (RFC 3550), of nothing


@pytest.fixture
def camera(sink: Callable[..., Sink]) -> Iterator[Callable[..., tuple[str, Sink, Camera]]]:
    """Serve numbered pictures; give their URL, the sink and the camera."""
    made: list[tuple[Sink, Camera]] = []

    def start(
        query: str = "",
        *,
        login: str = "",
        port: int = 0,
        name: str = "cam",
        sound: Track | None = None,
    ) -> tuple[str, Sink, Camera]:
        url = f"rtsp://{login}:{port}/{name}{query}"
        opened = sink(url, fps=FPS, stream=name, audio=sound[0] if sound else None)
        made.append((opened, Camera(opened, name, sound)))
        return f"rtsp://127.0.0.1:{opened.port}/{name}", *made[-1]  # type: ignore[attr-defined]

    yield start
    for opened, running in made:
        running.stop()
        opened.close()


def _watch(
    url: str, count: int, transport: str = "tcp", seen: Callable[[int], None] = lambda number: None
) -> list[int]:
    """Read pictures by PyAV and return their numbers; `seen` is told of each at once."""
    options = {"rtsp_transport": transport, "fflags": "nobuffer", "flags": "low_delay"}
    numbers: list[int] = []
    with av.open(url, options=options, timeout=(15, 10)) as container:
        for frame in container.decode(video=0):
            assert (frame.width, frame.height) == SIZE
            numbers.append(number_of(frame.to_ndarray(format="gray")))
            seen(numbers[-1])
            if len(numbers) == count:
                return numbers
    return numbers


def _opencv(url: str, count: int) -> int:
    cv2 = pytest.importorskip("cv2")
    capture, found = cv2.VideoCapture(url), 0
    while found < count and capture.read()[0]:
        found += 1
    capture.release()
    return found


def _talk(url: str, *requests: str) -> list[str]:
    """Send requests over one connection and return the first line of each answer."""
    _, _, place = url.partition("//")
    answers = []
    with socket.create_connection(("127.0.0.1", int(place.partition(":")[2].partition("/")[0])), 10) as peer:
        file = peer.makefile("rb")
        for at, request in enumerate(requests):
            peer.sendall(f"{request}CSeq: {at}\r\n\r\n".encode())
            answers.append(file.readline().decode().strip())
            size = 0
            while (line := file.readline()) not in (b"\r\n", b""):
                size = int(line.split(b":")[1]) if line.startswith(b"Content-Length") else size
            file.read(size)
    return answers


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_pictures_arrive_whole_and_in_order(
    camera: Callable[..., tuple[str, Sink, Camera]], transport: str
) -> None:
    url, _, _ = camera()
    numbers = _watch(url, 45, transport)
    assert len(numbers) == 45
    steps = {(later - earlier) % len(PICTURES) for earlier, later in pairwise(numbers)}
    assert steps == {1}


def test_opencv_plays_it(camera: Callable[..., tuple[str, Sink, Camera]]) -> None:
    assert _opencv(camera()[0], 20) == 20


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg")
def test_ffmpeg_and_ffprobe_find_no_fault(
    camera: Callable[..., tuple[str, Sink, Camera]], transport: str
) -> None:
    url, _, _ = camera()
    show = ["-show_entries", "stream=codec_name,width,height", "-of", "csv=p=0"]
    probe = subprocess.run(
        ["ffprobe", "-v", "warning", "-rtsp_transport", transport, *show, url],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (probe.stdout.strip(), probe.stderr) == ("h264,320,180", "")
    play = ["-rtsp_transport", transport, "-i", url, "-frames:v", "20", "-f", "null", "-"]
    run = subprocess.run(["ffmpeg", "-v", "warning", *play], capture_output=True, text=True, timeout=30)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_gstreamer_plays_it(camera: Callable[..., tuple[str, Sink, Camera]], transport: str, tmp_path: Path):
    if not has_elements("rtspsrc", "rtph264depay", "avdec_h264"):
        pytest.skip(
            "no GStreamer: apt-get install gstreamer1.0-tools gstreamer1.0-plugins-good gstreamer1.0-libav"
        )
    url, _, _ = camera()
    play = (
        f"rtspsrc location={url} protocols={transport} latency=50 ! rtph264depay ! avdec_h264 ! videoconvert"
    )
    grey = f"video/x-raw,format=GRAY8,width={SIZE[0]},height={SIZE[1]}"
    kept = f"{grey} ! identity eos-after=40 ! filesink location={tmp_path}/grey"
    command = ["gst-launch-1.0", "-q", *f"{play} ! {kept}".split()]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    # once in a hundred times GStreamer 1.22 stumbles over its own PAUSE as it goes, its connection still open
    assert run.returncode == 0 or "gst_rtspsrc_pause" in run.stderr, run.stderr
    pictures = np.fromfile(tmp_path / "grey", np.uint8).reshape(-1, SIZE[1], SIZE[0])
    numbers = [number_of(picture) for picture in pictures]
    assert len(numbers) >= 39
    assert {(later - earlier) % len(PICTURES) for earlier, later in pairwise(numbers)} == {1}


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("codec", ["aac", "opus", "pcm_mulaw"])
def test_sound_arrives_as_it_left_and_in_step_with_the_pictures(
    camera: Callable[..., tuple[str, Sink, Camera]], tmp_path: Path, transport: str, codec: str
) -> None:
    sound = encode(tmp_path, codec, 20)
    url, _, running = camera(sound=sound)
    until(lambda: running.written > 7)
    with av.open(url, options={"rtsp_transport": transport}, timeout=(15, 10)) as container:
        found = match(container, sound, FPS, lambda found: len(found.pictures) >= 40)
    assert found.codec == codec
    assert len(found.packets) > 30
    assert found.data in b"".join(packet.data for packet in sound[1])
    if codec != "pcm_mulaw":  # whose packets are cut to what one of RTP's holds
        assert found.packets == list(range(found.packets[0], found.packets[0] + len(found.packets)))
        assert found.skew == pytest.approx(0, abs=0.05)
        assert sound[1][found.packets[0]].pts * sound[0].time_base >= found.pictures[0] / FPS


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_who_wants_the_pictures_only_gets_them_as_ever(
    camera: Callable[..., tuple[str, Sink, Camera]], tmp_path: Path, transport: str
) -> None:
    url, _, running = camera(sound=encode(tmp_path, "aac", 10))
    until(lambda: running.written > 1)
    options = {"rtsp_transport": transport, "allowed_media_types": "video"}
    with av.open(url, options=options, timeout=(15, 10)) as container:
        pictures = container.decode(video=0)
        numbers = [number_of(next(pictures).to_ndarray(format="gray")) for _ in range(20)]
        assert not container.streams.audio
    assert {later - earlier for earlier, later in pairwise(numbers)} == {1}


def test_each_track_has_its_own_channels_and_its_reports_tell_one_time(
    camera: Callable[..., tuple[str, Sink, Camera]], tmp_path: Path
) -> None:
    """Both reports are of the first picture's moment and of one name; the first sound follows at once."""
    url, sink, _ = camera(sound=encode(tmp_path, "aac", 10))
    reports: dict[int, bytes] = {}
    stamps: dict[int, int] = {}
    with socket.create_connection(("127.0.0.1", sink.port), 10) as peer, peer.makefile("rb") as file:  # type: ignore[attr-defined]
        for track, pair in ((0, "4-5"), (1, "2-3")):
            setup = f"SETUP {url}/trackID={track} RTSP/1.0\r\nTransport: RTP/AVP/TCP;interleaved={pair}"
            peer.sendall(f"{setup}\r\n\r\n".encode())
            assert b"200 OK" in b"".join(iter(file.readline, b"\r\n"))
        peer.sendall(f"PLAY {url} RTSP/1.0\r\n\r\n".encode())
        assert b"200 OK" in b"".join(iter(file.readline, b"\r\n"))
        while len(reports) < 2 or len(stamps) < 2:
            mark, channel, high, low = file.read(4)
            packet = file.read(high << 8 | low)
            assert mark == ord("$")
            if channel in (5, 3):
                reports.setdefault(channel, packet)
            else:
                stamps.setdefault(channel, int.from_bytes(packet[4:8], "big"))
    one, other = reports[5], reports[3]
    assert (one[1], one[8:16], one[36:]) == (200, other[8:16], other[36:])
    for report, stamp, clock in ((one, stamps[4], 90_000), (other, stamps[2], 48_000)):
        since = (stamp - int.from_bytes(report[16:20], "big") + (1 << 31)) % (1 << 32) - (1 << 31)
        assert 0 <= since / clock < 0.05


@pytest.mark.parametrize(
    ("codec", "line"), [("aac", "no aac sound in 1 s"), ("ac3", "ac3 sound does not fit RTSP"), ("", "")]
)
def test_sound_is_described_where_it_comes_and_can_be_sent(
    sink: Callable[..., Sink],
    frames: Callable[..., list[Frame]],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    codec: str,
    line: str,
) -> None:
    sound = encode(tmp_path, codec) if codec else None
    opened = sink("rtsp://:0/cam", audio=sound[0] if sound else None)
    url = f"rtsp://127.0.0.1:{opened.port}/cam"  # type: ignore[attr-defined]
    setup = f"SETUP {url}/trackID=%d RTSP/1.0\r\nTransport: RTP/AVP/TCP\r\n"

    def answers() -> list[str]:
        return [answer[9:12] for answer in _talk(url, setup % 0, setup % 1, setup % 2)]

    told = [answers()]
    for frame, late in zip(frames([0.0, 0.5, 1.2, 1.3]), (False, False, False, True), strict=True):
        frame.audio = tuple(sound[1][:1]) if late and sound else ()
        opened.write(frame)
        told.append(answers())
    opened.close()
    with_sound, without = ["200", "200", "404"], ["200", "404", "404"]
    if codec == "aac":
        assert told == [with_sound, with_sound, with_sound, without, with_sound]
    else:
        assert told == [without] * 5
    assert caplog.text.count("left out") == bool(line)
    assert line in caplog.text


def test_nothing_is_encoded_while_nobody_watches(camera: Callable[..., tuple[str, Sink, Camera]]) -> None:
    url, sink, running = camera()
    until(lambda: running.written > 10)
    assert sink.counts["encoded"] == 0  # type: ignore[attr-defined]
    assert len(_watch(url, 5)) == 5
    encoded = lambda: sink.counts["encoded"]  # type: ignore[attr-defined]  # noqa: E731
    unwatched = sink.counts["unwatched"]  # type: ignore[attr-defined]
    until(lambda: sink.counts["unwatched"] > unwatched)  # type: ignore[attr-defined]
    before, written = encoded(), running.written
    until(lambda: running.written > written + 10)
    assert encoded() == before


def test_several_viewers_cost_one_encoding(camera: Callable[..., tuple[str, Sink, Camera]]) -> None:
    url, sink, running = camera()
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(len(_watch(url, 30)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [30] * 4
    assert sink.counts["encoded"] <= running.written  # type: ignore[attr-defined]


def test_a_viewer_that_never_reads_holds_up_nobody(
    camera: Callable[..., tuple[str, Sink, Camera]],
) -> None:
    url, sink, _ = camera("?crf=0&gop=1")
    port = sink.port  # type: ignore[attr-defined]
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.settimeout(20)
        deaf.connect(("127.0.0.1", port))
        deaf.sendall(f"SETUP {url} RTSP/1.0\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n\r\n".encode())
        deaf.sendall(f"PLAY {url} RTSP/1.0\r\n\r\n".encode())
        channel = sink._channel  # type: ignore[attr-defined]
        until(lambda: channel.counts["skipped"] > 0)
        assert len(_watch(url, 30)) == 30
        assert max(client.writer.transport.get_write_buffer_size() for client in channel.viewers) < 4 << 20
        until(lambda: bool(deaf.recv(65_536)) and not channel.viewers[0].is_apart)  # it reads, and is served


def test_a_viewer_by_udp_stays_for_as_long_as_it_reports(
    camera: Callable[..., tuple[str, Sink, Camera]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that vanishes leaves its connection open: nothing but its silence tells that it is gone."""
    monkeypatch.setattr(rtsp_server, "IDLE", 1.0)
    url, sink, _ = camera()
    channel = sink._channel  # type: ignore[attr-defined]
    peer = socket.create_connection(("127.0.0.1", sink.port), 20)  # type: ignore[attr-defined]
    pair = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(2)]
    with peer, pair[0] as rtp, pair[1] as rtcp, peer.makefile("rb") as answers:
        for own in pair:
            own.bind(("127.0.0.1", 0))
            own.settimeout(20)
        ports = "-".join(str(own.getsockname()[1]) for own in pair)
        peer.sendall(
            f"SETUP {url} RTSP/1.0\r\nTransport: RTP/AVP;unicast;client_port={ports}\r\n\r\n".encode()
        )
        told = re.search(rb"server_port=\d+-(\d+)", b"".join(iter(answers.readline, b"\r\n")))
        assert told is not None
        there = ("127.0.0.1", int(told[1]))
        peer.sendall(f"PLAY {url} RTSP/1.0\r\n\r\n".encode())
        assert b"200 OK" in b"".join(iter(answers.readline, b"\r\n"))
        end = time.monotonic() + 1.5 * rtsp_server.SILENCE
        while time.monotonic() < end:
            assert rtp.recv(2000)
            rtcp.sendto(REPORT, there)
        connection = channel.viewers[0].writer.get_extra_info("socket")
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert answers.read() == b""
    assert channel.viewers == ()
    with socket.socket(type=socket.SOCK_DGRAM) as free:
        free.bind(there)


def test_a_description_is_as_long_as_it_says_in_bytes_whatever_the_name(sink: Callable[..., Sink]) -> None:
    opened = sink("rtsp://:0/K%C3%BCche")
    url = f"rtsp://127.0.0.1:{opened.port}/K%C3%BCche"  # type: ignore[attr-defined]
    answers = _talk(url, f"DESCRIBE {url} RTSP/1.0\r\n", f"OPTIONS {url} RTSP/1.0\r\n")
    opened.close()
    assert answers == ["RTSP/1.0 200 OK"] * 2


def test_an_end_while_somebody_is_connected_is_no_fault(
    sink: Callable[..., Sink], caplog: pytest.LogCaptureFixture
) -> None:
    opened = sink("rtsp://127.0.0.1:0/cam")
    with socket.create_connection(("127.0.0.1", opened.port), 10) as peer:  # type: ignore[attr-defined]
        peer.sendall(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
        assert peer.recv(100)
        opened.close()
    assert caplog.messages == []


class Clogged:
    """A transport of datagrams over a network that takes no more."""

    def __init__(self) -> None:
        self.size = 0

    def sendto(self, packet: bytes) -> None:
        self.size += len(packet)

    def get_write_buffer_size(self) -> int:
        return self.size


def test_what_waits_for_a_viewer_by_udp_is_bounded() -> None:
    viewer, clogged = rtsp_server.Client(None, None), Clogged()  # type: ignore[arg-type]
    viewer._lines[rtsp_server.VIDEO] = Datagrams([clogged, clogged])  # type: ignore[list-item]
    packets = [b"\x80\x60" + bytes(1398)] * 100
    taken = [viewer.send(packets) for _ in range(50)]
    assert taken == sorted(taken, reverse=True)
    assert not taken[-1]
    assert viewer.lags
    assert clogged.size < rtsp_server.FULLEST + 200_000


def test_streams_share_a_port(camera: Callable[..., tuple[str, Sink, Camera]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    left, _, _ = camera(port=port, name="left")
    right, _, _ = camera(port=port, name="right")
    assert len(_watch(left, 5)) == len(_watch(right, 5)) == 5
    with pytest.raises(InputError, match="two sinks"):
        camera(port=port, name="left")


def test_a_login_is_asked_for(camera: Callable[..., tuple[str, Sink, Camera]]) -> None:
    url, _, _ = camera(login="me:secret@")
    with pytest.raises(av.error.HTTPUnauthorizedError):
        _watch(url, 1)
    assert len(_watch(url.replace("//", "//me:secret@"), 3)) == 3
    setup = f"SETUP {url}/trackID=0 RTSP/1.0\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n"
    assert _talk(url, setup, f"PLAY {url} RTSP/1.0\r\n") == ["RTSP/1.0 401 Unauthorized"] * 2


@pytest.mark.parametrize(
    ("request_lines", "answer"),
    [
        ("DESCRIBE {}x RTSP/1.0\r\n", "RTSP/1.0 404 Not Found"),
        ("DESCRIBE {}/../../etc/passwd RTSP/1.0\r\n", "RTSP/1.0 404 Not Found"),
        ("SETUP {} RTSP/1.0\r\nTransport: RTP/AVP;multicast\r\n", "RTSP/1.0 461 Unsupported Transport"),
        ("SETUP {} RTSP/1.0\r\nTransport: RTP/AVP;client_port=0-99999\r\n", "RTSP/1.0 461 Unsupported"),
        ("PLAY {} RTSP/1.0\r\n", "RTSP/1.0 455 Method Not Valid"),
        ("ANNOUNCE {} RTSP/1.0\r\n", "RTSP/1.0 501 Not Implemented"),
        ("GET {} HTTP/1.1\r\n", ""),
        ("OPTIONS * RTSP/1.0\r\nCSeq: " + "7" * 7900 + "\r\nX-", ""),
        ("DESCRIBE {} RTSP/1.0\r\nContent-Length: 99999999\r\n", ""),
        ("DESCRIBE {} RTSP/1.0\r\nX: " + "x" * 20_000 + "\r\n", ""),
    ],
)
def test_what_is_no_sound_request_is_refused(
    camera: Callable[..., tuple[str, Sink, Camera]], request_lines: str, answer: str
) -> None:
    url, _, _ = camera()
    try:
        said = _talk(url, request_lines.format(url))[0]
    except ConnectionError:
        said = ""
    assert said.startswith(answer)
    assert bool(said) == bool(answer)
    assert _talk(url, f"DESCRIBE {url} RTSP/1.0\r\n") == ["RTSP/1.0 200 OK"]


def _waits(sink: Sink) -> list[int]:
    """Return how many bytes wait for each connection of the sink's server."""
    clients = sink._server._clients  # type: ignore[attr-defined]
    return [client.writer.transport.get_write_buffer_size() for client in tuple(clients)]


def test_one_that_asks_and_never_reads_is_bounded_and_cut(
    camera: Callable[..., tuple[str, Sink, Camera]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rtsp_server, "PATIENCE", 0.5)
    url, sink, _ = camera()
    questions, most = b"OPTIONS * RTSP/1.0\r\nCSeq: 1234567890\r\n\r\n" * 1000, 0
    with socket.create_connection(("127.0.0.1", sink.port)) as deaf:  # type: ignore[attr-defined]
        deaf.settimeout(0.1)

        def is_cut() -> bool:
            nonlocal most
            most = max(most, *_waits(sink), 0)
            try:
                deaf.send(questions)
            except TimeoutError:
                return False
            except ConnectionError:
                return True
            return False

        until(is_cut, 20)
    assert 0 < most < 1 << 20
    until(lambda: not _waits(sink))
    assert len(_watch(url, 3)) == 3


def test_a_parting_client_that_reads_no_answer_is_gone_all_the_same(
    camera: Callable[..., tuple[str, Sink, Camera]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rtsp_server, "PATIENCE", 0.5)
    url, sink, _ = camera("?crf=0&gop=1")
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", sink.port))  # type: ignore[attr-defined]
        deaf.sendall(f"SETUP {url} RTSP/1.0\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n\r\n".encode())
        deaf.sendall(f"PLAY {url} RTSP/1.0\r\n\r\n".encode())
        until(lambda: max(_waits(sink), default=0) > 100_000)
        (client,) = sink._server._clients  # type: ignore[attr-defined]
        deaf.sendall(f"TEARDOWN {url} RTSP/1.0\r\n\r\n".encode())
        until(lambda: client.writer.get_extra_info("socket").fileno() == -1)


def test_those_who_say_nothing_keep_nobody_out(camera: Callable[..., tuple[str, Sink, Camera]]) -> None:
    url, sink, _ = camera()
    with ExitStack() as stack:
        for _ in range(rtsp_server.MOST_CLIENTS + 8):
            stack.enter_context(socket.create_connection(("127.0.0.1", sink.port)))  # type: ignore[attr-defined]
        until(lambda: len(_waits(sink)) == rtsp_server.MOST_CLIENTS)
        assert len(_watch(url, 3)) == 3
        assert len(_waits(sink)) <= rtsp_server.MOST_CLIENTS


@pytest.mark.parametrize(
    ("login", "request_lines"),
    [
        ("", ""),
        ("", "DESCRIBE {}x RTSP/1.0\r\nCSeq: 1\r\n\r\n"),
        ("me:secret@", "OPTIONS {} RTSP/1.0\r\nCSeq: 1\r\n\r\nDESCRIBE {} RTSP/1.0\r\nCSeq: 2\r\n\r\n"),
    ],
    ids=["silent", "of nothing", "without the login"],
)
def test_one_that_asks_for_nothing_that_it_may_have_is_cut_soon(
    camera: Callable[..., tuple[str, Sink, Camera]],
    monkeypatch: pytest.MonkeyPatch,
    login: str,
    request_lines: str,
) -> None:
    monkeypatch.setattr(rtsp_server, "HURRY", 0.3)
    url, sink, _ = camera(login=login)
    with socket.create_connection(("127.0.0.1", sink.port), 20) as peer:  # type: ignore[attr-defined]
        peer.sendall(request_lines.replace("{}", url).encode())
        while peer.recv(4096):
            pass


def test_viewers_are_told_when_the_stream_ends(sink: Callable[..., Sink]) -> None:
    opened = sink("rtsp://:0/cam", fps=FPS)
    running = Camera(opened)
    url = f"rtsp://127.0.0.1:{opened.port}/cam"  # type: ignore[attr-defined]
    found: list[int] = []
    viewer = threading.Thread(target=_watch, args=(url, 100_000, "tcp", found.append))
    viewer.start()
    until(lambda: len(found) > 5)
    running.stop()
    opened.close()
    viewer.join(20)
    assert not viewer.is_alive()


def test_a_port_that_is_taken_is_the_users_mistake(sink: Callable[..., Sink]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"127.0.0.1:{port}: cannot listen"):
            sink(f"rtsp://:{port}/cam")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("rtsp://:8554", ["no name", "rtsp://HOST:8554/NAME"]),
        ("rtsp://:8554/cam?bitrat=5", ["bitrat", "did you mean 'bitrate'"]),
        ("rtsp://:8554/cam?encoder=h264", ["encoder", "'h264'"]),
        ("rtsp://:8554/cam?preset=fastest", ["preset", "fast"]),
    ],
)
def test_a_wrong_url_is_refused_with_what_would_be_right(url: str, words: list[str]) -> None:
    with pytest.raises(InputError) as refused:
        check_sink(url)
    assert [word for word in words if word not in str(refused.value)] == []


def test_nothing_runs_on_after_the_last_sink(sink: Callable[..., Sink]) -> None:
    before = set(threading.enumerate())
    opened = sink("rtsp://:0/cam")
    opened.close()
    assert set(threading.enumerate()) <= before

"""Live sources from servers that are not ours: GStreamer's for RTSP, and ffmpeg, where they are present."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from streamer.frame import Frame
from streamer.sources import video
from streamer.sources.opening import Opening, settle
from tests.servers.camera import until
from tests.servers.gstreamer import PYTHON, has_elements, has_rtsp_server
from tests.servers.website import free_port

pytestmark = pytest.mark.timeout(60)

GST_CAMERA = Path(__file__).parents[2] / "servers" / "gst_camera.py"
FFMPEG = shutil.which("ffmpeg")


@pytest.fixture
def gst_url(request) -> Iterator[str]:
    if not (has_rtsp_server() and has_elements("x264enc", "jpegenc", "rtph264pay")):
        pytest.skip("no gst-rtsp-server: apt-get install python3-gi gir1.2-gst-rtsp-server-1.0 and plug-ins")
    command = [PYTHON, "-W", "ignore", str(GST_CAMERA), request.param]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield f"rtsp://127.0.0.1:{int(server.stdout.readline())}/cam"
        server.kill()


def watched(url: str, count: int) -> list[Frame]:
    """The first pictures of a live source, as a pipeline gets them."""
    (source,) = settle([Opening(url)], wait=True)
    try:
        frames = iter(source)
        return [next(frames) for _ in range(count)]
    finally:
        source.stop()


def listens(port: int) -> bool:
    """Whether a process listens on a port of 127.0.0.1, without connecting to it (proc(5), state 0A)."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)


def is_steady(frames: list[Frame], fps: float) -> bool:
    """Whether pictures come whole, one after the other, at about their rate."""
    steps = [later.pts - frame.pts for frame, later in pairwise(frames)]
    mean = sum(steps) / len(steps)
    return min(steps) > 0 and abs(mean * fps - 1) < 0.2 and not any(frame.damaged for frame in frames)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("gst_url", ["h264", "mjpeg"], indirect=True)
def test_gstreamers_rtsp_server_is_a_camera(gst_url, transport, monkeypatch):
    monkeypatch.setitem(video.OPTIONS, "rtsp", {"rtsp_transport": transport})
    frames = watched(gst_url, 50)
    assert {frame.size for frame in frames} == {(320, 176)}
    assert is_steady(frames, 25.0)
    assert len({frame.planes.y.tobytes() for frame in frames}) > 40  # the ball moves


@pytest.mark.skipif(FFMPEG is None, reason="no ffmpeg: apt-get install ffmpeg")
@pytest.mark.parametrize(
    ("form", "url"),
    [
        ("mpegts", "udp://127.0.0.1:{port}"),
        ("mpegts", "tcp://127.0.0.1:{port}"),
        ("mpegts", "http://127.0.0.1:{port}/live.ts"),
        ("flv", "rtmp://127.0.0.1:{port}/live/cam"),
    ],
)
def test_what_ffmpeg_serves_is_a_camera(form, url):
    address = url.format(port=(port := free_port()))
    scheme = address.partition(":")[0]
    listening = {"tcp": ["-f", form, f"{address}?listen=1"], "udp": ["-f", form, address]}
    given = "-re -f lavfi -i testsrc2=size=320x176:rate=25 -t 60"
    encoded = "-c:v libx264 -preset ultrafast -tune zerolatency -g 15 -pix_fmt yuv420p"
    out = listening.get(scheme, ["-listen", "1", "-f", form, address])
    command = [str(FFMPEG), "-v", "error", *given.split(), *encoded.split(), *out]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            if scheme in ("http", "rtmp"):  # they serve one viewer, which must not be a knock at the door
                until(lambda: listens(port))
            frames = watched(address, 50)
        finally:
            server.kill()
    assert {frame.size for frame in frames} == {(320, 176)}
    assert is_steady(frames, 25.0)

"""Cameras: addressing, options, and messages that list what is there; drivers are faked."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import av
import pytest
from av.error import OSError as DriverError

from engines.errors import InputError
from streamer.sources import camera, open_source

from .conftest import Film, picture

Asked = tuple[str, dict[str, str]]


@pytest.fixture
def driver(monkeypatch, film: Film) -> list[Asked]:
    """Stand in for FFmpeg's v4l2: note what is asked for, refuse MJPEG, and play a film for the rest."""
    asked: list[Asked] = []
    path = str(film("a.ts", [picture(number) for number in range(20)]))
    real = av.open

    def opened(device: str, mode: str, *, format: str, options: dict[str, str]) -> object:
        asked.append((device, options))
        if options.get("input_format") == "mjpeg":
            raise DriverError(22, "Invalid argument")
        return real(path, mode)

    monkeypatch.setattr(camera.av, "open", opened)
    return asked


@pytest.mark.parametrize(
    ("url", "device", "wanted"),
    [
        ("3", "/dev/video3", {}),
        ("camera:3", "/dev/video3", {}),
        ("/dev/video3", "/dev/video3", {}),
        ("/dev/v4l/by-id/usb-Acme_Cam-index0", "/dev/v4l/by-id/usb-Acme_Cam-index0", {}),
        ("/dev/video3?size=1280x720&fps=30", "/dev/video3", {"video_size": "1280x720", "framerate": "30"}),
        ("camera:3?fps=12.5", "/dev/video3", {"framerate": "12.5"}),
    ],
)
def test_device_and_options_reach_the_driver_mjpeg_first(driver, url, device, wanted):
    source = open_source(url)
    assert source.live
    assert driver == [(device, wanted | {"input_format": form}) for form in ("mjpeg", "yuyv422")]
    assert next(iter(source)).size == (96, 64)
    source.close()


def refusing(number: int):
    def opened(*args: object, **kwargs: object) -> None:
        raise av.error.err_check(-number)

    return opened


@pytest.mark.parametrize(
    ("number", "url", "words"),
    [
        (2, "9", "no such camera, there are: /dev/video0, /dev/video2"),
        (13, "0", "group 'video'"),
        (16, "0", "in use by another program"),
        (22, "0?size=9x9", "gives no pictures with the size and fps asked for: invalid argument"),
        (22, "0", "gives no pictures: invalid argument"),
    ],
)
def test_refusals_say_what_would_help(monkeypatch, number, url, words):
    monkeypatch.setattr(camera.av, "open", refusing(number))
    monkeypatch.setattr(camera, "devices", lambda: ["/dev/video0", "/dev/video2"])
    with pytest.raises(InputError) as caught:
        open_source(url)
    assert str(caught.value).startswith(f"{url}: ")
    assert words in str(caught.value)


@pytest.mark.skipif(Path("/dev/video99").exists(), reason="there really is a camera 99")
def test_absent_camera_is_refused_by_the_real_driver():
    with pytest.raises(InputError, match="99: no such camera, there are: "):
        open_source("99")


@pytest.mark.parametrize("query", ["size=640", "size=0x480", "fps=-1", "fsp=30"])
def test_bad_options_are_refused(query):
    with pytest.raises(InputError, match=r"would be right|did you mean 'fps'"):
        open_source(f"/dev/video0?{query}")


LOOK = """
import os, time
from streamer.sources import camera, open_source
from engines.errors import WorkError
if "FAKEV4L2_FAIL_AFTER" in os.environ:
    camera.FORMATS = ("yuyv422",)  # the faked device is unplugged only if opened once
source = open_source("/dev/video42?size=640x480&fps=30")
frames = []
try:
    for frame in source:
        frames.append(frame)
        if len(frames) == 25:
            source.stop()
except WorkError as error:
    print(error)
now = time.monotonic()
assert source.live and source.info.pixel_format == "yuyv422", source.info
assert all(frame.size == (640, 480) and frame.planes.subsampling == (2, 1) for frame in frames)
assert all(0 <= frame.captured - frame.pts < 1 for frame in frames)
source.close()
print(len(frames))
"""


@pytest.fixture(scope="session")
def shim(data_dir: Path, tmp_path_factory) -> Path:
    """A faked V4L2 device, /dev/video42, 640x480 YUYV at 30 fps, to be preloaded."""
    source = data_dir.parent / "tools" / "fakev4l2.c"
    if not source.exists() or not shutil.which("cc"):
        pytest.skip("a C compiler and the faked V4L2 driver beside the test data are needed")
    library = tmp_path_factory.mktemp("shim") / "fakev4l2.so"
    subprocess.run(
        ["cc", "-O2", "-w", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True, timeout=60
    )
    return library


def look(shim: Path, script: str = LOOK, **variables: str) -> list[str]:
    environment = {
        "LD_PRELOAD": str(shim),
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": ":".join(sys.path),
        **variables,
    }
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def test_real_v4l2_code_streams_from_a_faked_device(shim: Path):
    (count,) = look(shim)
    assert 25 <= int(count) <= 26


def test_unplugging_is_a_lost_connection(shim: Path):
    message, count = look(shim, FAKEV4L2_FAIL_AFTER="20")
    assert message.startswith("/dev/video42?size=640x480&fps=30: connection lost: ")
    assert int(count) == 20


REPLUG = """
from streamer.sources import camera
from streamer.sources.opening import Opening, settle
camera.FORMATS = ("yuyv422",)  # the faked device is unplugged only if opened once
(source,) = settle([Opening("/dev/video42?size=640x480&fps=30", say=print)])
indices = []
for frame in source:
    indices.append(frame.index)
    if len(indices) == 40:
        source.stop()
assert indices == list(range(40)), indices
print(source.health.losses)
"""


def test_a_camera_that_is_plugged_in_again_goes_on(shim: Path):
    lost, again, losses = look(shim, REPLUG, FAKEV4L2_FAIL_AFTER="20")
    assert "connection lost: no such device, trying again" in lost
    assert again.endswith(": connected again")
    assert losses == "1"

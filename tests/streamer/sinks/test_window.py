"""A window: shown under a virtual display, refused without one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engines.errors import InputError
from streamer.sinks import check_sink

ROOT = Path(__file__).parents[3]

SHOWN = """
import subprocess, sys
import cv2, numpy as np
from engines.spec import ModelSpec
from streamer.frame import Frame
from streamer.planes import from_rgb
from streamer.sinks import Closed, check_sink, open_sink
from streamer.sources import SourceInfo

url, streams, quit_key, gone = sys.argv[1], sys.argv[2].split(","), sys.argv[3], sys.argv[4:]
check_sink(url)
sink = open_sink(url, info=SourceInfo((160, 96)), spec=ModelSpec("toy", "detect", "detections", (), (32, 32)))
rgb = np.full((96, 160, 3), (250, 120, 10), np.uint8)
canvases = []
show = cv2.imshow
cv2.imshow = lambda title, canvas: (canvases.append((title, canvas.copy())), show(title, canvas))
if quit_key:
    cv2.pollKey = lambda: ord(quit_key) if len(canvases) > 3 else -1
try:
    for index in range(20):
        for name in gone if index == 10 else ():
            sink.forget(name)
            streams.remove(name)
        for stream in streams:
            sink.write(Frame(stream, index, index / 10, from_rgb(rgb)))
    sink._show()
    ended = "all shown"
except Closed:
    ended = "closed"
sink.close()
title, canvas = canvases[-1]
print(ended, title, *canvas.shape[:2], *canvas[48, 80].tolist(), len(canvases), sep=",")
"""


def _run(*arguments: str) -> list[str]:
    command = ["xvfb-run", "-a", "-s", "-screen 0 1280x800x24", sys.executable, "-c", SHOWN, *arguments]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip().split(",")


needs_display = pytest.mark.skipif(not shutil.which("xvfb-run"), reason="no xvfb-run")


@needs_display
def test_one_stream_fills_the_window() -> None:
    ended, title, height, width, *bgr, count = _run("window:Street", "cam", "")
    assert (ended, title, height, width) == ("all shown", "Street", "96", "160")
    assert [abs(int(value) - right) <= 2 for value, right in zip(bgr, (10, 120, 250), strict=True)] == [
        True
    ] * 3
    assert int(count) >= 20


@needs_display
def test_several_streams_are_tiles_of_one_window() -> None:
    ended, _, height, width, *_ = _run("window:?size=640x480", "a,b,c", "")
    assert (ended, height, width) == ("all shown", "480", "640")


@needs_display
def test_a_stream_that_is_forgotten_leaves_its_room_to_the_others() -> None:
    ended, _, height, width, *_ = _run("window:?size=640x480", "a,b", "", "a")
    assert (ended, height, width) == ("all shown", "96", "160")


@needs_display
@pytest.mark.parametrize("key", ["q", "\x1b"])
def test_a_key_ends_the_run(key: str) -> None:
    assert _run("window:", "cam", key)[0] == "closed"


@needs_display
@pytest.mark.parametrize("first", ["cv2", "av"])
def test_a_window_never_hangs_for_the_order_of_imports(first: str) -> None:
    code = f"import {first}; from streamer.sinks import check_sink; check_sink('window:');"
    code += "import av; import cv2; cv2.namedWindow('x'); cv2.pollKey(); print('open')"
    command = ["xvfb-run", "-a", sys.executable, "-c", code]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert run.stdout == "open\n" or "import cv2 before av" in run.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="DISPLAY is X11's")
@pytest.mark.parametrize(
    ("display", "words"), [(None, "DISPLAY is not set"), (":987", "':987' takes no window")]
)
def test_without_a_display_a_window_is_refused(
    monkeypatch: pytest.MonkeyPatch, display: str | None, words: str
) -> None:
    if display is None:
        monkeypatch.delenv("DISPLAY", raising=False)
    else:
        monkeypatch.setenv("DISPLAY", display)
    with pytest.raises(InputError, match=f"window:: no display: .*{words}"):
        check_sink("window:")


@pytest.mark.parametrize("url", ["window:?size=big", "window:?size=4x4", "window:?titel=x"])
def test_a_wrong_option_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="size"):
        check_sink(url)

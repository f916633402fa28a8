"""The main job on macOS and Windows, as far as it can be played: what they lack is taken away here.

The libraries are loaded before that, since theirs are others there.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import av
import pytest

PLAY = """
import asyncio, contextlib, ctypes, fcntl, json, multiprocessing, os, resource, signal, sys, time, types
import av, cv2, onnx, onnxruntime, openvino, rich.progress
from streamer.cli import main

system, missing, *arguments = sys.argv[1:]
sys.argv = ["streamer", "models"]  # loads what a command loads
with contextlib.suppress(SystemExit):
    main()
for name in [name for name in sys.modules if name.split(".")[0] in ("streamer", "engines")]:
    del sys.modules[name]

for name in json.loads(missing):
    module, _, attribute = name.partition(".")
    if attribute:
        delattr(sys.modules[module], attribute)
    else:
        sys.modules[module] = None
if system == "win32":
    def locking(descriptor, mode, length, flock=fcntl.flock, how=fcntl.LOCK_EX | fcntl.LOCK_NB):
        try:
            flock(descriptor, how)
        except BlockingIOError as error:
            raise PermissionError(13, "Permission denied") from error
    sys.modules["msvcrt"] = types.SimpleNamespace(locking=locking, LK_NBLCK=2)
    memory = types.SimpleNamespace(peak_wset=1 << 30)
    process = types.SimpleNamespace(memory_info=lambda: memory)
    machine = types.SimpleNamespace(total=8 << 30)
    sys.modules["psutil"] = types.SimpleNamespace(virtual_memory=lambda: machine, Process=lambda: process)
sys.platform = system
from streamer.cli import main
sys.argv = ["streamer", *arguments]
main()
"""
LINUX = ["os.sched_getaffinity", "time.pthread_getcpuclockid", "os.O_DIRECT", "os.posix_fadvise"]
UNIX = ["fcntl", "resource", "termios", "os.sysconf", "os.set_blocking", "os.O_CLOEXEC", "os.geteuid"]
UNIX += ["os.getuid", "os.killpg", "os.mkfifo", "os.pread", "time.clock_gettime", "signal.SIGKILL"]
MISSING = {"darwin": LINUX, "win32": LINUX + UNIX}


@pytest.fixture(params=["darwin", "win32"])
def streamer(request: pytest.FixtureRequest, tmp_path: Path):
    """Run a command of `streamer` as on another system; return what it said."""

    def run(*arguments: str) -> str:
        missing = json.dumps(MISSING[request.param])
        command = [sys.executable, "-c", PLAY, request.param, missing, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    return run


def test_a_scene_becomes_a_video_and_records(streamer, tmp_path: Path) -> None:
    streamer(
        "run",
        "synthetic:?size=320x180&count=20",
        "--model=tiny-yolo",
        "--sink=a.mp4",
        "--sink=a.jsonl",
        "--quiet",
    )
    streamer("run", "a.mp4", "--model=tiny-yolo", "--backend=onnxruntime", "--sink=b.jsonl", "--quiet")
    with av.open(str(tmp_path / "a.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == 20
    for name in ("a.jsonl", "b.jsonl"):
        lines = [json.loads(line) for line in (tmp_path / name).read_bytes().splitlines()]
        assert [line["index"] for line in lines] == list(range(20))
        assert any(line["detections"] for line in lines)


def test_the_machine_is_examined_and_measured(streamer, tmp_path: Path) -> None:
    assert "GiB" in streamer("doctor")
    streamer("bench", "synthetic:?size=320x180", "--model=tiny-yolo", "--seconds=0.5", "--save=a.json")
    kept = json.loads((tmp_path / "a.json").read_text())
    assert kept["rss_mb"] > 0
    assert kept["stages"]["decode"]["cpu_ms"] > 0
    assert 0 < kept["overhead_cpu_ms"] < kept["cpu_ms"]

"""The command on live sources: it ends within seconds whatever they do, and shows no password anywhere."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.clip import encode
from tests.servers.rtsp import RtspServer

from .test_cli import start

pytestmark = pytest.mark.timeout(60)
SECRET = "s3cret/@:#?"


@pytest.fixture
def server() -> Iterator[RtspServer]:
    with RtspServer({"/cam": encode(30, gop=15)}, login=f"me:{SECRET}") as server:
        yield server


@pytest.fixture
def silent() -> Iterator[str]:
    """A host that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"rtsp://me:{SECRET}@127.0.0.1:{listener.getsockname()[1]}/cam"


def run(tmp_path: Path, *urls: str) -> subprocess.Popen:
    files = ["--sink", str(tmp_path / "a.jsonl"), "--ledger", str(tmp_path / "a.ledger")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return start("run", *urls, "-m", "tiny-yolo", "--wait", *files, **pipes)


def until(true, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        threading.Event().wait(0.02)


def finish(process: subprocess.Popen) -> tuple[float, str]:
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    return time.monotonic() - began, out + err


@pytest.mark.parametrize("state", ["playing", "stalled", "mute", "down"])
def test_ctrl_c_ends_soon_and_no_password_is_shown_anywhere(server, tmp_path, state):
    process = run(tmp_path, server.url())
    records = tmp_path / "a.jsonl"
    until(lambda: records.exists() and records.read_text().count("\n") > 3)
    command_line = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    if state == "stalled":
        server.stalled = True
    elif state == "mute":
        server.mute = True
        server.kick()
    elif state == "down":
        server.down()
    threading.Event().wait(0.0 if state == "playing" else 1.0)
    seconds, said = finish(process)
    assert process.returncode == 130
    assert seconds < 2.5, said
    assert b"s3cret" not in command_line
    for text in (said, records.read_text(), (tmp_path / "a.ledger").read_text()):
        assert "s3cret" not in text
    if state in ("mute", "down"):
        assert "cam: the stream ended, trying again" in said


def test_ctrl_c_while_a_silent_host_is_being_opened_ends_soon(silent, tmp_path):
    process = run(tmp_path, silent)
    until(lambda: len(os.listdir(f"/proc/{process.pid}/task")) > 1)
    threading.Event().wait(1.5)
    seconds, said = finish(process)
    assert seconds < 2.5, said
    assert process.returncode in (130, 1, -2), said
    assert "s3cret" not in said
    assert "Traceback" not in said

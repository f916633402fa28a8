"""Children: gone when we are, however we end; alive for as long as nobody ends them."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from streamer.child import WATCH, Child

ROOT = Path(__file__).parents[2]
PARENT = """
import os, signal, threading
from streamer.child import Child
starter = threading.Thread(target=Child, args=(["sleep", "60"],))
starter.start()
starter.join()
Child(["true"]).wait()
{end}
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("os.killpg(0, signal.SIGKILL)", -signal.SIGKILL),
        ("os.abort()", -signal.SIGABRT),
        ("os._exit(7)", 7),
        ("", 0),
    ],
    ids=["kill", "kill of the group", "crash", "exit at once", "end"],
)
def test_a_child_goes_with_its_parent(end: str, code: int) -> None:
    """It holds the parent's output open: while it lives, reading that does not end."""
    command = [sys.executable, "-c", PARENT.format(end=end)]
    run = subprocess.run(
        command, stdout=subprocess.PIPE, cwd=ROOT, timeout=30, process_group=0, stderr=subprocess.DEVNULL
    )
    assert run.returncode == code


def test_a_child_outlives_the_thread_that_started_it() -> None:
    made: list[Child] = []
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    thread = threading.Thread(target=lambda: made.append(Child(["cat"], **pipes)))
    thread.start()
    thread.join()
    with made[0] as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for word in (b"one\n", b"two\n"):
            child.stdin.write(word)
            child.stdin.flush()
            assert child.stdout.readline() == word
    assert child.returncode == 0


def test_a_child_that_ended_is_no_more_of_ours() -> None:
    """Its number may be another's by then."""
    children = [subprocess.Popen(["sleep", "60"]) for _ in range(3)]
    try:
        told = [f"keep {child.pid}" for child in children] + [f"drop {children[1].pid}"]
        subprocess.run(
            ["/bin/sh", "-c", WATCH], input="\n".join([*told, ""]).encode(), timeout=10, check=True
        )
        assert children[0].wait(10) == children[2].wait(10) == -signal.SIGKILL
        assert children[1].poll() is None
    finally:
        for child in children:
            child.kill()
            child.wait()

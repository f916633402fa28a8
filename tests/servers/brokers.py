"""Real brokers on loopback, that can be killed and started again; Redis and NATS keep what they had."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

__all__ = ["Broker", "find"]

MOSQUITTO = """
listener {port} 127.0.0.1
allow_anonymous true
max_inflight_messages 0
max_queued_messages 0
"""
REDIS = "--bind 127.0.0.1 --port {port} --dir {folder} --save  --appendonly yes"
NATS = "-a 127.0.0.1 -p {port} -js -sd {folder}"


class Broker:
    """One server process, at a port of its own."""

    def __init__(self, program: str, folder: Path) -> None:
        self.port = _free_port()
        self._program = find(program)
        self._arguments = self._configure(program, folder)
        self._process: subprocess.Popen[bytes] | None = None

    def up(self) -> None:
        """Start it and wait until it takes connections."""
        self._process = subprocess.Popen(
            [self._program, *self._arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        limit, tick = time.monotonic() + 20, threading.Event()
        while not self._answers():
            assert self._process.poll() is None, f"{self._program} ended by itself"
            assert time.monotonic() < limit, f"{self._program} does not listen"
            tick.wait(0.02)

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1.0).close()
        except OSError:
            return False
        return True

    def _configure(self, program: str, folder: Path) -> list[str]:
        if program == "mosquitto":
            config = folder / "mosquitto.conf"
            config.write_text(MOSQUITTO.format(port=self.port))
            return ["-c", str(config)]
        text = REDIS if program == "redis-server" else NATS
        return text.format(port=self.port, folder=folder).split(" ")


def find(program: str) -> str:
    """Return where a program is; skip the test where it is not."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(f"no {program}: apt-get install {program}")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

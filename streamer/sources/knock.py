"""Knock: a cheap look at whether the host of a URL takes connections."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

from streamer.urls import encode_login

__all__ = ["knocker"]

PORTS = {"http": 80, "https": 443, "rtmp": 1935, "rtmps": 443, "rtsp": 554, "rtsps": 322}
TIMEOUT = 0.5  # seconds


def knocker(url: str) -> Callable[[], bool] | None:
    """Return a function that tells whether the port of a server of many is open; None for other URLs.

    Not of tcp: what listens there may take the first who comes for its only viewer, as ffmpeg and netcat do.
    """
    try:
        parts = urlsplit(encode_login(url))
        host, port = parts.hostname, parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:  # no port
        return None
    if not host or not port or parts.scheme not in PORTS:
        return None

    looks: list[threading.Thread] = []  # one at most that is not over
    answers: list[bool] = []

    def look() -> None:
        with suppress(OSError):
            socket.create_connection((host, port), TIMEOUT).close()
            answers.append(True)

    def is_open() -> bool:
        # Whoever asks waits for no name to be resolved, which has no time-out and may take half a minute.
        if not looks or not looks[0].is_alive():
            answers.clear()
            looks[:] = [threading.Thread(target=look, name="knock", daemon=True)]
            looks[0].start()
        looks[0].join(2 * TIMEOUT)
        return bool(answers)

    return is_open

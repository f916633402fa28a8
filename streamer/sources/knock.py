"""Knock: a cheap look at whether the host of a URL takes connections."""

from __future__ import annotations

import socket
from collections.abc import Callable
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

    def is_open() -> bool:
        try:
            socket.create_connection((host, port), TIMEOUT).close()
        except OSError:
            return False
        return True

    return is_open

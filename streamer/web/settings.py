"""Settings of the web sink: where it listens and whom it lets in, from its URL and the environment."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from engines.errors import InputError, nearest
from streamer.sinks.film import LOOKAHEAD
from streamer.urls import read_query, redact

__all__ = ["Listen", "WebSettings", "read_listen"]

TOKEN = "STREAMER_WEB_TOKEN"  # environment: keeps the token out of process lists
LEAST_TOKEN = 16  # characters


@dataclass(frozen=True, slots=True)
class WebSettings:
    """The keys of ``http://127.0.0.1:8080?key=value&...``. ValueError for what cannot be."""

    token: str = ""  # "" = that of STREAMER_WEB_TOKEN; none is needed on a loopback address
    crf: int = 23  # x264's quality of the live video, 0..51
    preset: str = "superfast"  # x264's
    width: int = 1280  # pixels; wider streams are scaled down for the page
    quality: int = 80  # of JPEG pictures, 1..100
    viewers: int = 64  # most video, picture and event streams open at one time

    def __post_init__(self) -> None:
        if self.token and len(self.token) < LEAST_TOKEN:
            raise ValueError(f"token: {len(self.token)} characters, {LEAST_TOKEN} or more would be right")
        if self.preset not in LOOKAHEAD:
            hint = nearest(self.preset, LOOKAHEAD) or f", must be one of {', '.join(LOOKAHEAD)}"
            raise ValueError(f"preset: {self.preset!r}{hint}")
        for name, value, least, most in (
            ("crf", self.crf, 0, 51),
            ("width", self.width, 64, 8192),
            ("quality", self.quality, 1, 100),
            ("viewers", self.viewers, 1, 4096),
        ):
            if not least <= value <= most:
                raise ValueError(f"{name}: {value}, must be from {least} to {most}")


@dataclass(frozen=True, slots=True)
class Listen:
    """An address to listen on, and who may come."""

    host: str
    port: int  # 0 = any that is free
    token: str  # "" = everybody who reaches a loopback address
    settings: WebSettings

    @property
    def is_loopback(self) -> bool:
        """True where only this machine reaches it."""
        return _is_loopback(self.host)


def read_listen(url: str) -> Listen:
    """Read a sink's URL.

    Raises:
        InputError: no address, an unknown key, or an address that others reach without a token.
    """
    shown = redact(url)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise InputError(f"{shown}: {error}, http://127.0.0.1:8080 would be right") from None
    if not host or port is None or parts.path not in ("", "/") or parts.username is not None:
        raise InputError(f"{shown}: not an address to listen on, http://127.0.0.1:8080 would be right")
    settings = read_query(url, WebSettings())
    token = settings.token or os.environ.get(TOKEN, "")
    if not token and not _is_loopback(host):
        raise InputError(
            f"{shown}: others reach this address, so set {TOKEN} to {LEAST_TOKEN} or more characters, "
            "or listen on 127.0.0.1"
        )
    if token and len(token) < LEAST_TOKEN:
        raise InputError(f"{TOKEN}: {len(token)} characters, {LEAST_TOKEN} or more would be right")
    return Listen(host, port, token, settings)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

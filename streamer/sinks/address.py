"""Address: what a sink's URL says: which kind of sink, which path, which options."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from engines.errors import InputError, nearest

__all__ = ["Address", "check_writable", "parse"]

# A scheme is two letters or more, so that `C:\` is none; a colon after a slash or a dot belongs to a path.
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+-]+):(.*)", re.DOTALL)
UNSAFE = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, slots=True)
class Address:
    """A sink's URL taken apart: ``path?key=value&...``, ``scheme:rest?key=value&...`` or ``-``."""

    url: str  # as the user wrote it, for messages
    kind: str  # key of streamer.sinks.SINKS: ".mp4", "window:", "-"
    path: str  # with {stream} replaced; for a scheme what follows the colon
    options: dict[str, str] = field(default_factory=dict)

    def allow(self, *keys: str) -> None:
        """Raise InputError for an option that is none of ``keys``."""
        for key in self.options:
            if key not in keys:
                right = nearest(key, keys) or (
                    f", options are {', '.join(keys)}" if keys else ", it takes none"
                )
                raise InputError(f"{self.url}: unknown option: {key!r}{right}")

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        """Return an option as a whole number in low..high; InputError where it is none."""
        text = self.options.get(key, str(default))
        if not re.fullmatch(r"-?\d{1,9}", text) or not low <= int(text) <= high:
            raise InputError(f"{self.url}: {key}: {text!r}, must be a whole number from {low} to {high}")
        return int(text)

    def choice(self, key: str, default: str, known: Iterable[str]) -> str:
        """Return an option that is one of ``known``; InputError where it is none."""
        text, known = self.options.get(key, default), tuple(known)
        if text not in known:
            raise InputError(
                f"{self.url}: {key}: {text!r}{nearest(text, known) or ''}, must be one of {', '.join(known)}"
            )
        return text


def parse(url: str, stream: str, kinds: Iterable[str]) -> Address:
    """Take a sink's URL apart; ``{stream}`` in it becomes the stream's name, in characters safe for a file.

    Raises InputError for a scheme or suffix that is none of ``kinds``.
    """
    kinds = tuple(kinds)
    if url == "-":
        return Address(url, "-", "-")
    place, _, query = url.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if found := SCHEME.fullmatch(place):
        kind, path = found[1].lower() + ":", found[2]
    else:
        kind, path = os.path.splitext(place)[1].lower(), place
    if kind not in kinds:
        raise InputError(
            f"{url}: unknown sink: {kind or place!r}{nearest(kind, kinds)}; sinks are {_menu(kinds)}"
        )
    return Address(url, kind, path.replace("{stream}", _safe(stream)), options)


def check_writable(address: Address) -> None:
    """Raise InputError where no file can be made or replaced at the address' path; folders may be missing."""
    path = os.path.realpath(address.path)
    if os.path.isdir(path):
        raise InputError(f"{address.url}: is a folder, a file was expected")
    if os.path.exists(path):
        if not os.access(path, os.W_OK):
            raise InputError(f"{address.url}: cannot be overwritten, permission denied")
        return
    folder = os.path.dirname(path)
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        raise InputError(f"{address.url}: {folder}: is a file, a folder was expected")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{address.url}: {folder}: is not writable")


def _safe(stream: str) -> str:
    return UNSAFE.sub("_", stream).strip(".") or "stream"


def _menu(kinds: tuple[str, ...]) -> str:
    return ", ".join(f"*{kind}" if kind.startswith(".") else kind for kind in kinds)

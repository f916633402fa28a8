"""Address: what a sink's URL says: which kind of sink, and where."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from engines.errors import InputError, nearest
from streamer.urls import redact

__all__ = ["Address", "check_writable", "parse", "refuse_options"]

# A scheme is two letters or more, so that `C:\` is none; a colon after a slash or a dot belongs to a path.
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+-]+):(.*)", re.DOTALL)
UNSAFE = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, slots=True)
class Address:
    """A sink's URL taken apart: ``path?key=value&...``, ``scheme:rest?key=value&...`` or ``-``."""

    url: str  # as the user wrote it; `streamer.urls.read_query` reads its options
    kind: str  # key of streamer.sinks.SINKS: ".mp4", "window:", "-"
    path: str  # with {stream} replaced; for a scheme what follows the colon


def parse(url: str, stream: str, kinds: Iterable[str]) -> Address:
    """Take a sink's URL apart; ``{stream}`` in it becomes the stream's name, in characters safe for a file.

    Raises InputError for a scheme or suffix that is none of ``kinds``.
    """
    kinds = tuple(kinds)
    if url == "-":
        return Address(url, "-", "-")
    place = url.partition("?")[0]
    if found := SCHEME.fullmatch(place):
        kind, path = found[1].lower() + ":", found[2]
    else:
        kind, path = os.path.splitext(place)[1].lower(), place
    if kind not in kinds:
        raise InputError(
            f"{redact(url)}: unknown sink: {kind or place!r}{nearest(kind, kinds)}; sinks are {_menu(kinds)}"
        )
    return Address(url, kind, path.replace("{stream}", _safe(stream)))


def refuse_options(address: Address) -> None:
    """Raise InputError where a sink without options is given some."""
    if "?" in address.url:
        raise InputError(f"{redact(address.url)}: takes no options, leave out what follows the question mark")


def check_writable(address: Address) -> None:
    """Raise InputError where no file can be made or replaced at the address' path; folders may be missing."""
    path = os.path.realpath(address.path)
    if os.path.isdir(path):
        raise InputError(f"{redact(address.url)}: is a folder, a file was expected")
    if os.path.exists(path):
        if not os.access(path, os.W_OK):
            raise InputError(f"{redact(address.url)}: cannot be overwritten, permission denied")
        return
    folder = os.path.dirname(path)
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        raise InputError(f"{redact(address.url)}: {folder}: is a file, a folder was expected")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{redact(address.url)}: {folder}: is not writable")


def _safe(stream: str) -> str:
    return UNSAFE.sub("_", stream).strip(".") or "stream"


def _menu(kinds: tuple[str, ...]) -> str:
    return ", ".join(f"*{kind}" if kind.startswith(".") else kind for kind in kinds)

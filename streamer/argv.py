"""The process's own command line, as other users of the machine can read it."""

from __future__ import annotations

import ctypes
from pathlib import Path

from streamer.urls import redact

__all__ = ["hide_secrets"]

ARG_START = 48 - 3  # its place in /proc/self/stat behind the name, which is the 2nd of fields from 1: proc(5)


def hide_secrets() -> None:
    """Overwrite the passwords of URLs in the command line that `ps` shows; does nothing where that cannot be.

    The kernel shows the memory that the arguments were put in when the process began.
    """
    try:
        line = Path("/proc/self/cmdline").read_bytes()
        start = int(Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[ARG_START])
    except (OSError, ValueError, IndexError):
        return
    hidden = b"\0".join(_masked(word) for word in line.split(b"\0"))
    if start and hidden != line and len(hidden) == len(line):
        ctypes.memmove(start, hidden, len(hidden))


def _masked(word: bytes) -> bytes:
    """Return an argument of the same length with stars from its first secret on."""
    text = word.decode("utf-8", "surrogateescape")
    shown = redact(text)
    if shown == text:
        return word
    same = shown[: shown.index("***")].encode("utf-8", "surrogateescape")
    return same + b"*" * (len(word) - len(same))

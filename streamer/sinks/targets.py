"""Targets: the files that a run reads or has written, so that it writes over none of them."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from engines.errors import InputError
from streamer.naming import numbered
from streamer.sinks import SINKS, target
from streamer.sinks.address import parse
from streamer.sinks.images import NUMBER
from streamer.urls import read_query

__all__ = ["Targets"]


class Targets:
    """Gives a sink's URL another name where this run has written to it already; from any thread.

    `say` is told of each one that is given another.
    """

    def __init__(self, say: Callable[[str], None] = lambda sentence: None) -> None:
        self._say = say
        self._read: dict[str, Path] = {}  # resolved -> as told
        self._written: set[str] = set()
        self._now: dict[tuple[str, str], str] = {}  # URL as told, stream -> URL as it is now
        self._lock = threading.Lock()

    def protect(self, files: Iterable[Path]) -> None:
        """Let no sink write over these from now on: they are the sources."""
        self._read |= {os.path.realpath(file): file for file in files}

    def check(self, url: str, stream: str) -> None:
        """Raise InputError where a sink's URL would have a stream write over a source."""
        path = target(url, stream)
        if not parse(url, stream, SINKS).kind.startswith("."):
            return
        lost = next((file for place, file in self._read.items() if _is_written(place, path)), None)
        if lost is not None:
            raise InputError(f"sink {path}: would write over {lost}, a source; another place would be right")

    def check_apart(self, url: str, stream: str, others: Iterable[str]) -> None:
        """Raise InputError where a stream's place is another's: a file's name has fewer characters."""
        path = target(url, stream)
        for other in others if "{stream}" in url else ():
            if other != stream and target(url, other) == path:
                raise InputError(
                    f"sink {path}: streams {other!r} and {stream!r} would both write to it, "
                    "a name of one that differs in its letters or digits would be right"
                )

    def claim(self, url: str, stream: str) -> str:
        """Return the URL to open for a sink's URL and a stream: ``a.mp4``, the next time ``a-2.mp4``.

        What keeps nothing that could be written over, as a server or a broker, stays the same.
        """
        if not _is_recording(url):
            return url
        with self._lock:
            free = url if target(url, stream) not in self._written else self._numbered(url, stream)
            self._written.add(target(free, stream))
            self._now[url, stream] = free
        if free != url:
            kept, begun = (parse(each, stream, SINKS).path for each in (url, free))
            self._say(f"{stream}: {kept} is kept as this run has written it, what comes now goes to {begun}")
        return free

    def now(self, url: str, stream: str) -> str:
        """Return the URL that was opened last for a sink's URL and a stream."""
        return self._now.get((url, stream), url)

    def _numbered(self, url: str, stream: str) -> str:
        place, mark, query = url.partition("?")
        stem, suffix = os.path.splitext(place)
        names = numbered(stem, f"{suffix}{mark}{query}")
        return next(free for free in names if self._is_free(target(free, stream)))

    def _is_free(self, path: str) -> bool:
        return path not in self._written and not os.path.lexists(path)


def _is_written(file: str, path: str) -> bool:
    """Tell whether a sink of this path, perhaps with a number's place, writes to a file; both resolved."""
    folder, name = os.path.split(path)
    if NUMBER.search(name):
        pattern = r"\d+".join(map(re.escape, NUMBER.split(name)))
        return os.path.dirname(file) == folder and bool(re.fullmatch(pattern, os.path.basename(file)))
    try:
        return os.path.samefile(file, path)
    except OSError:  # one is not there
        return False


def _is_recording(url: str) -> bool:
    """Tell whether a sink opened a second time would write over what it wrote the first time."""
    kind = parse(url, "", SINKS).kind
    if kind == ".m3u8":
        from streamer.sinks.hls import HlsSettings

        return read_query(url, HlsSettings()).keep == 0  # else players expect the playlist where it was
    return kind.startswith(".")

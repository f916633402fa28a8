"""Targets: the files that a run has written, so that a stream which comes again writes over none of them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from streamer.naming import numbered
from streamer.sinks import SINKS, target
from streamer.sinks.address import parse
from streamer.urls import read_query

__all__ = ["Targets"]


class Targets:
    """Gives a sink's URL another name where this run has written to it already; from any thread.

    `say` is told of each one that is given another.
    """

    def __init__(self, say: Callable[[str], None] = lambda sentence: None) -> None:
        self._say = say
        self._written: set[str] = set()
        self._now: dict[tuple[str, str], str] = {}  # URL as told, stream -> URL as it is now
        self._lock = threading.Lock()

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


def _is_recording(url: str) -> bool:
    """Tell whether a sink opened a second time would write over what it wrote the first time."""
    kind = parse(url, "", SINKS).kind
    if kind == ".m3u8":
        from streamer.sinks.hls import HlsSettings

        return read_query(url, HlsSettings()).keep == 0  # else players expect the playlist where it was
    return kind.startswith(".")

"""Follow: a pipeline file that is watched while it runs, so that cameras come, go and change with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from engines.errors import InputError, WorkError
from streamer.settings import Settings
from streamer.urls import discreet

if TYPE_CHECKING:
    from streamer.pipeline import Pipeline

__all__ = ["Follower"]


class Follower:
    """Applies what changes in a file to a running pipeline; a mistake in it is said, and changes nothing."""

    def __init__(
        self, path: Path, pipeline: Pipeline, read: Callable[[], Settings], say: Callable[[str], None]
    ) -> None:
        self._path = path
        self._pipeline = pipeline
        self._read = read
        self._say = discreet(say)
        self._settings = pipeline.settings
        self._seen = self._stamp()

    def look(self) -> None:
        """Apply the file if it is another one than at the last look."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            wanted = self._read()
            wanted.check_sinks(self._pipeline.settings.sinks)
        except InputError as error:
            self._say(f"{error}\n{self._path}: not taken over, all goes on as before")
            return
        self._apply(wanted)

    def _apply(self, wanted: Settings) -> None:
        streams = self._pipeline.streams
        for told in wanted.sources:
            stream = streams.get(told.name)
            if stream is None:
                self._try(f"{told.name}: added", self._pipeline.attach, told)
            elif told != stream.told:
                self._try(f"{told.name}: changed", self._pipeline.change_stream, told)
        gone = {source.name for source in self._settings.sources} - {source.name for source in wanted.sources}
        for name in sorted(gone & streams.keys()):
            self._try(f"{name}: removed", self._pipeline.remove_stream, name)
        desk = self._pipeline.desk
        if desk is not None and wanted.analytics != desk.plan:
            self._try("lines and zones: changed", desk.change, wanted.analytics)
        live = ("sources",) if desk is None else ("sources", "analytics")
        for field in fields(Settings):
            if field.name not in live and getattr(wanted, field.name) != getattr(self._settings, field.name):
                self._say(f"{self._path}: {field.name}: taken over at the next start")
        self._settings = wanted

    def _try(self, done: str, change: Callable[..., object], what: object) -> None:
        try:
            change(what)
        except (InputError, WorkError) as error:
            self._say(f"{self._path}: {error}")
        else:
            self._say(f"{self._path}: {done}")

    def _stamp(self) -> tuple[int, int]:
        """Return what tells one version of the file from another; a file that is away is none."""
        try:
            stat = self._path.stat()
        except OSError:
            return (0, 0)
        return stat.st_mtime_ns, stat.st_size

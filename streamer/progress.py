"""Progress of a run on stderr: a bar on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamer.pipeline import Pipeline

__all__ = ["progress"]

_LINE_EVERY = 10.0  # seconds
_BAR_EVERY = 0.2


def progress(pipeline: Pipeline, *, quiet: bool = False) -> AbstractContextManager[None]:
    """Show how a running pipeline gets on, until the context is left."""
    if quiet:
        return _Ticker(lambda: None, 3600.0, lambda: None)
    if sys.stderr.isatty():
        return _bar(pipeline)
    return _Ticker(lambda: print(_line(pipeline), file=sys.stderr, flush=True), _LINE_EVERY, lambda: None)


class _Ticker(AbstractContextManager[None]):
    """Calls `tick` every so many seconds from its own thread."""

    def __init__(self, tick: Callable[[], None], every: float, finish: Callable[[], None]) -> None:
        self._tick, self._every, self._finish = tick, every, finish
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        self._finish()

    def _run(self) -> None:
        while not self._over.wait(self._every):
            self._tick()


def _bar(pipeline: Pipeline) -> AbstractContextManager[None]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from engines.console import plain

    names_column = TextColumn("{task.description}", markup=False)
    columns: list[Any] = [names_column, BarColumn(), TextColumn("{task.fields[figures]}")]
    bar = Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=plain(stderr=True), transient=True
    )
    total = expected(pipeline)
    names = ", ".join(source.name for source in pipeline.sources[:3])
    task = bar.add_task(names, total=total or None, figures="")

    def tick() -> None:
        done, lost = _done(pipeline)
        bar.update(task, completed=done, figures=f"{pipeline.rates.total():.1f} fps, {lost} lost")

    bar.start()
    return _Ticker(tick, _BAR_EVERY, bar.stop)


def _line(pipeline: Pipeline) -> str:
    done, lost = _done(pipeline)
    total = expected(pipeline)
    rate = pipeline.rates.total()
    eta = f", {(total - done) / rate:.0f} s left" if total > done and rate > 0 else ""
    return f"{done}{f' of {total}' if total else ''} frames, {rate:.1f} fps, {lost} lost{eta}"


def _done(pipeline: Pipeline) -> tuple[int, int]:
    figures = pipeline.report()
    return figures.results, figures.lost.total()


def expected(pipeline: Pipeline) -> int:
    """Return how many frames the sources promise, within the limits; 0 when that is unknown."""
    total = 0
    for stream in list(pipeline.streams.values()):
        limits, source = stream.told.limits, stream.source
        frames = 0 if limits.loop else source.info.frames
        if limits.seconds and source.info.fps:
            by_time = round(limits.seconds * source.info.fps)
            frames = min(frames, by_time) if frames else by_time
        if limits.frames:
            frames = min(frames, limits.frames) if frames else limits.frames
        if not frames:
            return 0
        total += frames
    return total

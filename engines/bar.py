"""Bar: how far compiling is, drawn on a terminal or said in sentences, once there is something to tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engines.backends import Progress

__all__ = ["drawn", "spoken"]

_EVERY = 10.0  # seconds between two sentences


@contextmanager
def drawn() -> Iterator[Progress]:
    """Give a progress to pass to `engines.load`; what is drawn goes to stderr, and away at the end."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from engines.console import plain

    phase_column = TextColumn("{task.description}", markup=False)
    columns = (TextColumn("compiling"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    bar = Progress(*columns, phase_column, console=plain(stderr=True), transient=True)
    task = bar.add_task("", total=None)
    drawing = False

    def tell(fraction: float, phase: str) -> None:
        nonlocal drawing
        if not drawing:
            bar.start()
            drawing = True
        total = 1.0 if fraction >= 0 else None  # None: a bar that only moves
        bar.update(task, completed=max(fraction, 0), total=total, description=phase[:60])

    try:
        yield tell
    finally:
        if drawing:
            bar.stop()


def spoken(say: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> Progress:
    """Return a progress that says a sentence every ten seconds."""
    said = clock()

    def tell(fraction: float, phase: str) -> None:
        nonlocal said
        if clock() - said >= _EVERY:
            said = clock()
            say(f"compiling the model: {f'{fraction:.0%}, ' if fraction >= 0 else ''}{phase}")

    return tell

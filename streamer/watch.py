"""Watch: once a second, look at a running pipeline, say what its user should know and turn its knobs."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamer.pipeline import Pipeline

__all__ = ["Overload", "Watch"]

EVERY = 1.0  # seconds
PATIENCE = 2.0  # seconds that the end waits for a look, which may hang on a dead file server
NOTABLE = 0.1  # part of a stream's frames whose loss is worth a line
CHANGED = 1.5  # factor by which the loss must change to be said again


class Watch:
    """Calls each of its functions every second from a thread of its own, until it is stopped.

    One that takes long, such as opening a camera that is away, holds up no other.
    One that fails is called on; `say` is told of it once for each way in which it fails.
    """

    def __init__(self, *looks: Callable[[], None], say: Callable[[str], None]) -> None:
        self._say = say
        self._failed: dict[Callable[[], None], str] = {}  # what was said of it last
        self._over = threading.Event()
        self._has_begun = False
        self._threads: list[threading.Thread] = []
        for look in looks:
            self.add(look)

    def add(self, look: Callable[[], None]) -> None:
        """Call one more function every second."""
        self._threads.append(threading.Thread(target=self._run, args=(look,), name="watch", daemon=True))
        if self._has_begun:
            self._threads[-1].start()

    def start(self) -> None:
        """Begin."""
        if not self._has_begun:
            self._has_begun = True
            for thread in self._threads:
                thread.start()

    def stop(self) -> None:
        """End; what is being looked at is looked at to the end, if that comes soon."""
        self._over.set()
        until = time.monotonic() + PATIENCE
        for thread in self._threads if self._has_begun else ():
            thread.join(max(until - time.monotonic(), 0.0))

    def _run(self, look: Callable[[], None]) -> None:
        while not self._over.wait(EVERY):
            self._try(look)

    def _try(self, look: Callable[[], None]) -> None:
        try:
            look()
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
            if self._failed.get(look) != failure:
                self._failed[look] = failure
                self._say(f"{getattr(look, '__qualname__', 'look')}: failed, is tried on: {failure}")


class Overload:
    """Says which streams are thinned because the engine cannot follow, and when it can again."""

    def __init__(self, pipeline: Pipeline, say: Callable[[str], None]) -> None:
        self._pipeline = pipeline
        self._say = say
        self._before: dict[str, tuple[int, int]] = {}  # stream -> decoded and late
        self._said: dict[str, float] = {}  # stream -> part that was lost when it was said
        self._at = time.monotonic()

    def look(self) -> None:
        """Compare with the last look."""
        now = time.monotonic()
        seconds, self._at = max(now - self._at, 1e-3), now
        ledger = self._pipeline.graph.ledger
        lines = []
        for source in self._pipeline.sources:
            name = source.name
            decoded = ledger.tally(f"decode:{name}", name).out
            late = ledger.tally("submit", name).dropped["late"]
            decoded_before, late_before = self._before.get(name, (decoded, late))
            self._before[name] = (decoded, late)
            fresh, lost = decoded - decoded_before, late - late_before
            if line := self._line(name, fresh / seconds, lost / seconds):
                lines.append(line)
        if lines:
            self._say("; ".join(lines))

    def _line(self, name: str, rate: float, lost: float) -> str:
        part, said = lost / rate if rate else 0.0, self._said.get(name, 0.0)
        if part < NOTABLE:
            if not said or part:
                return ""
            del self._said[name]
            return f"{name}: keeps up again"
        if said and said / CHANGED <= part <= said * CHANGED:
            return ""
        self._said[name] = part
        return f"{name}: overload, {rate - lost:.0f} of {rate:.0f} frames a second are inferred"

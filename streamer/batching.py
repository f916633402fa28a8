"""Batching: how frames of several streams share the engine; the knobs, and how full the batches were."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from streamer.frame import Frame

__all__ = ["FILE_WAIT", "LIVE_WAIT", "SHARE", "Batching"]

LIVE_WAIT = 0.02  # seconds after which a live batch leaves though it is not full
FILE_WAIT = 0.25  # and one of files: others may be paused, or have ended
SHARE = 2  # frames of one live stream in a batch at most
_PATIENCE = 0.25  # seconds between two looks at whether the graph still runs


class Batching:
    """Read by the stage that fills batches; may be changed from any thread while it runs."""

    def __init__(self, *, max_wait: float = FILE_WAIT, share: int = 0, ahead: int = 0) -> None:
        self.every: dict[str, int] = {}  # stream -> infer each so-manieth of its frames
        self.thin = 1  # and of those each so-manieth, under overload
        self.max_wait = (
            max_wait  # seconds after its first frame at which a batch leaves though it is not full
        )
        self.share = share  # frames of one stream in a batch at most, 0 = no limit
        self.ahead = ahead  # batches in the engine at most, 0 = as many as it takes
        self.batches = 0  # that went into the engine
        self.frames = 0  # in them
        self._collected = 0
        self._changed = threading.Condition()
        self._ages: dict[str, tuple[int, int]] = {}  # stream -> frames since one was inferred, their cuts

    def is_due(self, frame: Frame) -> bool:
        """Tell whether the next frame of a stream is to be inferred; what follows a cut always is."""
        age, cuts = self._ages.get(frame.stream, (0, 0))
        age = age if cuts == frame.cuts else 0
        every = self.every.get(frame.stream, 1) * self.thin
        self._ages[frame.stream] = (age + 1) % every, frame.cuts
        return age == 0

    def forget(self, stream: str) -> None:
        """Drop what is known of a stream."""
        self.every.pop(stream, None)
        self._ages.pop(stream, None)

    def await_turn(self, check: Callable[[], None]) -> None:
        """Wait until the engine may be given another batch; `check` raises when the graph goes down."""
        with self._changed:
            while self.ahead and self.batches - self._collected >= self.ahead:
                self._changed.wait(_PATIENCE)
                check()

    def submitted(self, frames: int) -> None:
        """Note a batch that went in."""
        self.batches += 1
        self.frames += frames

    def collected(self) -> None:
        """Note a batch that came back."""
        with self._changed:
            self._collected += 1
            self._changed.notify()

    def deadline(self) -> float:
        """Return the time.perf_counter() at which a batch begun now leaves."""
        return time.perf_counter() + self.max_wait

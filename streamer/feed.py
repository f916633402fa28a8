"""Feed: a source as the pipeline reads it: paced or not, looped or not, up to a limit, failures counted."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from streamer.audio import move
from streamer.frame import Frame
from streamer.journal import Notes
from streamer.metrics import Tally
from streamer.sources import Source

__all__ = ["Feed", "Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a source is read, and how fast; 0 means no limit."""

    frames: int = 0
    seconds: float = 0.0  # of the stream's own time
    loop: bool = False  # start a file again at its end; time runs on
    realtime: bool = False  # give out a file's frames when their time has come


class Feed:
    """Iterate once, in one thread; `stop` from any."""

    def __init__(
        self,
        source: Source,
        reopen: Callable[[], Source],
        limits: Limits,
        tally: Tally,
        journal: Notes | None = None,
    ) -> None:
        self.source = source
        self._reopen = reopen
        self._limits = limits
        self._tally = tally
        self._journal = journal
        self._stopped = threading.Event()
        self._playing = threading.Event()
        self._playing.set()
        self._failed: Counter[str] = Counter()  # of this round's source, as far as the tally knows
        self._held_up = 0.0  # seconds that it was paused, where frames wait for that
        self._given = 0
        self._first = 0.0  # pts of the first frame
        self._index = 0  # of the next frame, over all rounds
        self._restarts = 0  # rounds before this one
        self._end = 0.0  # where the last round's last frame ends, in seconds

    def stop(self) -> None:
        """End after the frame at hand."""
        self._stopped.set()
        self._playing.set()
        self.source.stop()

    @property
    def paused(self) -> bool:
        """Whether it gives out nothing for now."""
        return not self._playing.is_set()

    def pause(self, paused: bool) -> None:
        """Give out nothing, or go on; frames of a live source that come meanwhile are counted as paused."""
        if paused:
            self._playing.clear()
        if not paused or self._stopped.is_set():  # looked at last: `stop` may come at any time
            self._playing.set()

    def __iter__(self) -> Iterator[Frame]:
        frames = self._paced() if self._limits.realtime and not self.source.live else self._rounds()
        try:
            for frame in frames:
                if self.paused:
                    if self.source.live:
                        self._lose({"paused": 1})
                        continue
                    self._wait(frame)
                if self._spent(frame):
                    break
                self._given += 1
                yield frame
                if self._stopped.is_set() or self._given == self._limits.frames:
                    break
        finally:
            self._count_failures()
            self.source.close()

    def _wait(self, frame: Frame) -> None:
        """Hold a frame until it is to be played, and what follows as much later."""
        began = time.monotonic()
        self._playing.wait()
        frame.captured = time.monotonic()
        self._held_up += frame.captured - began

    def _spent(self, frame: Frame) -> bool:
        if not self._given:
            self._first = frame.pts
        return bool(self._limits.seconds) and frame.pts - self._first >= self._limits.seconds

    def _paced(self) -> Iterator[Frame]:
        began = first = -1.0
        for frame in self._rounds():
            if began < 0:
                began, first = time.monotonic(), frame.pts
            due = began + self._held_up + frame.pts - first
            self._stopped.wait(max(due - time.monotonic(), 0.0))
            frame.captured = time.monotonic()
            yield frame

    def _rounds(self) -> Iterator[Frame]:
        yield from self._round()
        while self._limits.loop and not self.source.live and self._index and not self._stopped.is_set():
            self.source.close()
            self.source = self._reopen()
            self._failed.clear()
            self._restarts += 1
            yield from self._round()

    def _round(self) -> Iterator[Frame]:
        start, offset = self._index, 0.0
        for at, frame in enumerate(self.source):
            self._count_failures()
            if start:
                offset = self._end - frame.pts if at == 0 else offset
                frame.audio = move(frame.audio, offset, self.source.info.audio)
            frame.stream = self.source.name  # which may be another than when its first picture was decoded
            frame.pts += offset
            frame.cuts += self._restarts
            frame.index += start
            self._index, self._end = frame.index + 1, frame.pts + (frame.duration or 0.04)
            yield frame
        self._count_failures()

    def _count_failures(self) -> None:
        """Bring what the source could not decode into the ledger."""
        if self.source.failures.total() == self._failed.total():
            return
        fresh = self.source.failures - self._failed
        self._failed = self.source.failures.copy()
        self._tally.offered += fresh.total()
        self._tally.failed.update(fresh)
        self._note(fresh)

    def _lose(self, lost: Mapping[str, int]) -> None:
        """Count frames that are not given out."""
        self._tally.offered += sum(lost.values())
        self._tally.dropped.update(lost)
        self._note(lost)

    def _note(self, lost: Mapping[str, int]) -> None:
        if self._journal is not None:
            for why, frames in lost.items():
                self._journal.count(self.source.name, f"decode:{self.source.name}", why, frames)

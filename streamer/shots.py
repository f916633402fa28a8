"""Shots: submitting to a model for video, whose key frames and frames between go in batches of their own.

Both batches fill side by side. The frames of a stream that wait in them all wait in the same one, so they
leave in order whatever leaves first; a stream whose next frame belongs into the other batch sends off the
one in which it waits.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from streamer.batching import Batching
from streamer.frame import Frame
from streamer.inbox import Inbox
from streamer.keys import Keys
from streamer.stages import PATIENCE, Flight

if TYPE_CHECKING:
    from engines.video import Shots, Video

__all__ = ["submit"]


def submit(video: Video, batching: Batching, keys: Keys) -> Callable[[Inbox[Frame]], Iterator[Flight]]:
    """Scale frames into the engine's own input buffers and start it, as `streamer.stages.submit` does."""

    def stage(inbox: Inbox[Frame]) -> Iterator[Flight]:
        filling = _Filling(video, batching, inbox)
        try:
            yield from _filled(filling, keys)
        except BaseException as error:
            filling.let_go(error)
            raise

    return stage


def _filled(filling: _Filling, keys: Keys) -> Iterator[Flight]:
    inbox, batching = filling.inbox, filling.batching
    while True:
        if filling.is_empty:
            batching.await_turn(inbox.check)
        frames = inbox.take(1, deadline=filling.deadline, share=batching.share, taken=filling.taken)
        if not frames and inbox.ended:
            yield from filling.leave(True, False)
            return
        if not frames:
            yield from filling.leave(*filling.overdue())
        for frame in frames:
            yield from _add(frame, filling, keys)


def _add(frame: Frame, filling: _Filling, keys: Keys) -> Iterator[Flight]:
    stream = frame.stream
    if not filling.batching.is_due(frame):
        yield from filling.follow(frame)
        return
    key = keys.is_key(frame, known=filling.video.knows(stream))
    if filling.holder(stream) is (not key):
        yield from filling.leave(not key)
    filling.add(frame, key=key)
    if filling.is_full(key):
        yield from filling.leave(key)


@dataclass(slots=True, eq=False)
class _Batch:
    """A flight that is being filled."""

    shots: Shots
    deadline: float
    flight: Flight = field(default_factory=lambda: Flight([], [], None))
    filled: int = 0


class _Filling:
    """The two batches that fill: of key frames (True) and of frames between (False)."""

    def __init__(self, video: Video, batching: Batching, inbox: Inbox[Frame]) -> None:
        self.video, self.batching, self.inbox = video, batching, inbox
        self.taken: Counter[str] = Counter()  # of each lane into what fills
        self._batches: dict[bool, _Batch] = {}
        self._holders: dict[str, bool] = {}  # stream -> the batch in which its frames wait

    @property
    def is_empty(self) -> bool:
        """Whether nothing fills."""
        return not self._batches

    @property
    def deadline(self) -> float | None:
        """The time.perf_counter() at which the first of them leaves, None where nothing fills."""
        return min((batch.deadline for batch in self._batches.values()), default=None)

    def overdue(self) -> list[bool]:
        """Return those whose time has come."""
        now = time.perf_counter()
        return [key for key, batch in self._batches.items() if batch.deadline <= now]

    def holder(self, stream: str) -> bool | None:
        """Return the batch in which frames of a stream wait, None if none do."""
        return self._holders.get(stream)

    def is_full(self, key: bool) -> bool:
        """Whether a batch takes nothing more."""
        return self._batches[key].filled == self.video.key.batch

    def add(self, frame: Frame, *, key: bool) -> None:
        """Put a frame into its batch; waits for a free request."""
        from streamer.planes import scale_rgb

        batch = self._batches.get(key)
        if batch is None:
            batch = self._batches[key] = _Batch(self._acquire(key), self.batching.deadline())
        scale_rgb(frame.planes, batch.shots.add(frame.size, frame.stream))
        batch.flight.frames.append(frame)
        batch.flight.rows.append(batch.filled)
        batch.filled += 1
        self._holders[frame.stream] = key

    def follow(self, frame: Frame) -> Iterator[Flight]:
        """Let a frame that is not given to the engine travel with those of its stream before it."""
        holder = self.holder(frame.stream)
        if holder is None:
            self._release(frame.stream)
            yield Flight([frame], [-1], None)
            return
        flight = self._batches[holder].flight
        flight.frames.append(frame)
        flight.rows.append(-1)

    def leave(self, *which: bool) -> Iterator[Flight]:
        """Send off what fills, and give its flight on."""
        for key in which:
            if key not in self._batches:
                continue
            self.batching.await_turn(self.inbox.check)
            batch = self._batches.pop(key)
            streams = {frame.stream for frame in batch.flight.frames}
            self._holders = {name: held for name, held in self._holders.items() if name not in streams}
            self._release(*streams)
            batch.flight.batch = batch.shots
            batch.shots.submit()
            self.batching.submitted(batch.filled)
            yield batch.flight

    def let_go(self, why: BaseException) -> None:
        """Give what fills back to the model, which others may go on using."""
        for batch in self._batches.values():
            batch.shots.release(why)
        self._batches.clear()

    def _release(self, *streams: str) -> None:
        """Let streams of which no frame waits here any more have their whole share again."""
        for name in streams:
            self.taken.pop(f"decode:{name}", None)

    def _acquire(self, key: bool) -> Shots:
        while (shots := self.video.acquire(key=key, timeout=PATIENCE)) is None:
            self.inbox.check()
        return shots

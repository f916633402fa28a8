"""Audience: who watches one thing; each has a bounded queue, so that a slow one harms only itself."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from typing import Generic, TypeVar

__all__ = ["Audience", "Full", "Gone", "Viewer"]

T = TypeVar("T")


class Full(Exception):  # noqa: N818 - a state, not an error
    """There are as many viewers as may be."""


class Gone(Exception):  # noqa: N818 - a state, not an error
    """What was watched is no more."""


class Viewer(Generic[T]):
    """One who watches: `offer` from any thread, `next` in the event loop it was made for."""

    def __init__(self, loop: asyncio.AbstractEventLoop, capacity: int) -> None:
        self.dropped = 0
        self._loop = loop
        self._capacity = capacity
        self._items: deque[tuple[T, ...]] = deque()  # each alone, or behind what comes before it
        self._lock = threading.Lock()
        self._filled = asyncio.Event()
        self._is_apart = True  # what comes is of no use before one that can be begun with
        self._is_gone = False

    def offer(self, item: T, *, is_key: bool = True, before: T | None = None) -> int:
        """Queue an item and return how many were given up for it; a full queue is emptied.

        ``is_key``: a viewer can begin with it, and then wants ``before`` in front of it.
        """
        with self._lock:
            lost = 0
            if len(self._items) >= self._capacity:
                lost, self._is_apart = len(self._items), True
                self._items.clear()
            if self._is_apart and not is_key:
                lost += 1
            else:
                self._items.append((before, item) if self._is_apart and before is not None else (item,))
                self._is_apart = False
            self.dropped += lost
        self._wake()
        return lost

    async def next(self) -> T:
        """Return the oldest item, when there is one. Raises Gone."""
        while True:
            with self._lock:
                if self._items:
                    first, *rest = self._items.popleft()
                    if rest:
                        self._items.appendleft(tuple(rest))
                    return first
                if self._is_gone:
                    raise Gone
                self._filled.clear()
            await self._filled.wait()

    def dismiss(self) -> None:
        """Make `next` raise Gone once the queue is empty."""
        with self._lock:
            self._is_gone = True
        self._wake()

    def _wake(self) -> None:
        if not self._filled.is_set():
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._filled.set)


class Audience(Generic[T]):
    """The viewers of one thing. `offer` belongs to one thread, `join` and `leave` to the event loop's."""

    def __init__(self, capacity: int) -> None:
        self.dropped = 0  # items given up, over all viewers and all time
        self.sent = 0  # items offered while somebody watched
        self.newcomers = False  # somebody waits for an item to begin with
        self._capacity = capacity
        self._viewers: tuple[Viewer[T], ...] = ()

    def __len__(self) -> int:
        return len(self._viewers)

    def offer(self, item: T, *, is_key: bool = True, before: T | None = None) -> None:
        """Queue an item for everybody; see `Viewer.offer`."""
        self.sent += 1
        for viewer in self._viewers:
            self.dropped += viewer.offer(item, is_key=is_key, before=before)

    def join(self) -> Viewer[T]:
        """Add a viewer, in the running event loop."""
        viewer: Viewer[T] = Viewer(asyncio.get_running_loop(), self._capacity)
        self._viewers = (*self._viewers, viewer)
        self.newcomers = True
        return viewer

    def leave(self, viewer: Viewer[T]) -> None:
        """Take a viewer out."""
        self._viewers = tuple(other for other in self._viewers if other is not viewer)

    def dismiss(self) -> None:
        """Tell everybody that it is over."""
        for viewer in self._viewers:
            viewer.dismiss()

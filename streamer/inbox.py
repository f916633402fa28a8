"""Inbox: the bounded, closable, fair queue in front of a stage, one lane per producer."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Generic, Literal, TypeVar

__all__ = ["Aborted", "Inbox", "Lane", "Policy"]

T = TypeVar("T")
Policy = Literal["block", "latest"]
Lost = Callable[[T, str], None]


class Aborted(Exception):  # noqa: N818 - a state, not an error
    """The graph is going down at once: nothing more is taken or given."""


class Lane(Generic[T]):
    """A producer's end of an Inbox; a full one blocks the producer, or gives up its oldest item."""

    __slots__ = ("_capacity", "_inbox", "_items", "_policy", "_room", "closed", "name")

    def __init__(self, inbox: Inbox[T], name: str, policy: Policy, capacity: int) -> None:
        self.name = name
        self.closed = False
        self._inbox = inbox
        self._policy = policy
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._room = threading.Condition(inbox._lock)

    def __len__(self) -> int:
        return len(self._items)

    def resize(self, capacity: int) -> None:
        """Hold so many items from now on; a smaller number takes effect with the next `put`."""
        with self._inbox._lock:
            self._capacity = capacity
            self._room.notify_all()

    def put(self, item: T) -> None:
        """Hand over one item, once there is room for it.

        Raises:
            Aborted: the inbox was aborted.
        """
        inbox = self._inbox
        with inbox._lock:
            while self._policy == "block" and self._full():
                self._room.wait()
            if inbox._aborted:
                raise Aborted
            if inbox._refusal:
                inbox.lost(item, inbox._refusal)
                return
            if self.closed and self not in inbox._lanes:  # nobody looks here any more
                inbox.lost(item, "closed")
                return
            while len(self._items) >= self._capacity:
                late = self._items.popleft()
                inbox.lost(late, "late")
                inbox._count -= 1
                if self._items:
                    self._items[0] = inbox.inherit(late, self._items[0])
                else:
                    item = inbox.inherit(late, item)
            self._items.append(item)
            inbox._count += 1
            if inbox._count >= inbox._awaited:
                inbox._filled.notify()

    def _full(self) -> bool:
        inbox = self._inbox
        return len(self._items) >= self._capacity and not inbox._aborted and not inbox._refusal

    def close(self) -> None:
        """Promise that nothing more comes; what lies here is still delivered."""
        with self._inbox._lock:
            self.closed = True
            self._inbox._filled.notify()


class Inbox(Generic[T]):
    """Bounded lanes drained in turn by one consumer; it ends when every lane is closed and empty."""

    def __init__(
        self,
        lost: Lost[T] = lambda item, reason: None,
        inherit: Callable[[T, T], T] = lambda late, item: item,
    ) -> None:
        self.waited = 0.0  # seconds the consumer has spent waiting for items
        self.lost = lost  # told of every item that is given up, and why
        self.inherit = inherit  # what follows a late item in its lane, with what must not be lost of that one
        self._lock = threading.Lock()
        self._filled = threading.Condition(self._lock)
        self._lanes: deque[Lane[T]] = deque()
        self._count = 0  # items in all lanes
        self._awaited = 1  # items for which the consumer is woken
        self._aborted = False
        self._refusal = ""  # why the consumer takes nothing more
        self._was_told = False  # that it has ended, the consumer: it does not come back

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        while items := self.take(1):
            yield items[0]

    def lane(self, name: str, *, policy: Policy = "block", capacity: int = 4) -> Lane[T]:
        """Open a lane for one producer."""
        lane = Lane(self, name, policy, capacity)
        with self._lock:
            self._lanes.append(lane)
        return lane

    def take(
        self,
        most: int,
        *,
        deadline: float | None = None,
        share: int = 0,
        taken: Counter[str] | None = None,
    ) -> list[T]:
        """Return 1..most items, one of each lane in turn; block until there is one.

        With a `deadline` (time.perf_counter() seconds) wait no longer than that, and return what is there,
        perhaps nothing. Without one, an empty list means that the inbox has ended. `share`: take no more from
        a lane, together with what `taken` says was taken from it already; `taken` is brought up to date.

        Raises:
            Aborted: the inbox was aborted.
        """
        taken = Counter() if taken is None else taken
        with self._lock:
            if not self._may_pick(share, taken):
                self._await_item(deadline, share, taken)
            if self._aborted:
                raise Aborted
            return self._pick(most, share, taken)

    def linger(self, items: int, seconds: float) -> None:
        """Wait until so many items are there, but no longer: who is in no hurry need not wake for each."""
        began = time.perf_counter()
        with self._lock:
            self._awaited = items
            self._filled.wait_for(
                lambda: self._count >= items or self._aborted or self._refusal or self._is_complete(), seconds
            )
            self._awaited = 1
        self.waited += time.perf_counter() - began

    def check(self) -> None:
        """Raise Aborted if the inbox was aborted."""
        if self._aborted:
            raise Aborted

    @property
    def ended(self) -> bool:
        """True once every lane is closed and empty."""
        with self._lock:
            return self._finished()

    @property
    def is_deserted(self) -> bool:
        """True once the consumer takes nothing more, so that a lane that is opened now leads nowhere."""
        with self._lock:
            return self._was_told or self._aborted or bool(self._refusal)

    def abort(self) -> None:
        """Lose everything queued and make every `put` and `take`, present and future, raise Aborted."""
        with self._lock:
            self._aborted = True
            self._empty("aborted")
            self._filled.notify_all()

    def refuse(self, reason: str) -> None:
        """Take nothing more: what is queued and what still comes is lost for this reason; nobody blocks."""
        with self._lock:
            self._refusal = reason
            self._empty(reason)
            self._filled.notify_all()

    def depths(self) -> dict[str, int]:
        """Return how many items wait in each lane."""
        with self._lock:
            return {lane.name: len(lane) for lane in self._lanes}

    def _may_pick(self, share: int, taken: Counter[str]) -> bool:
        if not share or not self._count:
            return self._count > 0
        return any(lane._items and taken[lane.name] < share for lane in self._lanes)

    def _await_item(self, deadline: float | None, share: int, taken: Counter[str]) -> None:
        began = time.perf_counter()
        while not self._may_pick(share, taken) and not self._aborted and not self._finished():
            left = None if deadline is None else deadline - time.perf_counter()
            if left is not None and left <= 0:
                break
            self._filled.wait(left)
        self.waited += time.perf_counter() - began

    def _pick(self, most: int, share: int, taken: Counter[str]) -> list[T]:
        items: list[T] = []
        lanes = self._lanes
        passed = 0  # lanes in a row that gave nothing
        while self._count and passed < len(lanes) and len(items) < most:
            lane = lanes[0]
            lanes.rotate(-1)
            if not lane._items:
                if lane.closed:
                    lanes.pop()  # where the rotation has put it
                else:
                    passed += 1
            elif share and taken[lane.name] >= share:
                passed += 1
            else:
                items.append(lane._items.popleft())
                taken[lane.name] += 1
                self._count -= 1
                passed = 0
                if len(lane._items) == lane._capacity // 2:  # not each time: a producer works best in bursts
                    lane._room.notify()
        return items

    def _finished(self) -> bool:
        if any(not lane.closed or lane._items for lane in self._lanes):
            return False
        self._lanes.clear()
        self._was_told = True
        return True

    def _is_complete(self) -> bool:
        return all(lane.closed for lane in self._lanes)

    def _empty(self, reason: str) -> None:
        for lane in self._lanes:
            while lane._items:
                self.lost(lane._items.popleft(), reason)
            lane._room.notify_all()
        self._count = 0

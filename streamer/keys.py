"""Keys: which frames of a stream are key frames, for models that run others from what a key frame left."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any

from engines.detections import Detections
from engines.errors import InputError, nearest
from streamer.frame import Frame

__all__ = ["KeyPolicy", "Keys", "key_policy"]

AUTO = "auto"
MOST = 1_000_000_000  # frames from key to key


@dataclass(frozen=True, slots=True)
class KeyPolicy:
    """When the next frame is a key frame; frames are those that are given to the engine."""

    interval: int = 5  # from one key frame to the next; 0: as the results say
    seconds: float = 1.0  # of the stream's time after a key frame, no frame rests on it any more
    most: int = 12  # with interval 0, frames from one key frame to the next at most
    flow: float = 0.018  # with interval 0, motion since the key frame, in shares of the picture
    fall: float = 0.25  # with interval 0, by which part the scores together fall below the key frame's

    def __str__(self) -> str:
        if self.interval:
            return f"every {self.interval} frames" if self.interval > 1 else "every frame"
        return f"at a motion of {self.flow:g}, a fall of scores by {self.fall:g} or {self.most} frames"


def key_policy(told: str | int) -> KeyPolicy:
    """Read ``N`` or ``auto``, and settings: ``auto,most=20,flow=0.1``. Raises InputError."""
    head, *settings = str(told).split(",")
    if head != AUTO and not (head.isdecimal() and len(head) <= len(str(MOST)) and 0 < int(head) <= MOST):
        raise InputError(f"key-interval: {head!r}, a number of frames from 1 to {MOST} or {AUTO} is right")
    values = dict(_setting(word) for word in settings)
    if head != AUTO and values.keys() - {"seconds"}:
        raise InputError(f"key-interval: {sorted(values.keys() - {'seconds'})[0]}: only {AUTO} has it")
    return KeyPolicy(interval=0 if head == AUTO else int(head), **values)


def _setting(word: str) -> tuple[str, Any]:
    known = {"seconds": float, "most": int, "flow": float, "fall": float}
    name, _, value = word.partition("=")
    if name not in known:
        raise InputError(f"key-interval: {name!r}, one of {', '.join(known)} is right{nearest(name, known)}")
    try:
        number: float = known[name](value)
    except ValueError:
        number = 0
    if not 0 < number < float("inf"):
        raise InputError(f"key-interval: {name}: {value!r}, a number above 0 is right")
    if name == "fall" and number > 1:
        raise InputError(f"key-interval: {name}: {value!r}, a share above 0 and up to 1 is right")
    return name, number


@dataclass(frozen=True, slots=True)
class _Key:
    """The last key frame of a stream."""

    index: int
    pts: float
    size: tuple[int, int]
    cuts: int


@dataclass(slots=True, eq=False)
class _Course:
    """How a stream gets on."""

    phase: int  # of `interval`: the place of its regular key frames
    given: int = 0  # frames
    age: int = 0  # frames since the key frame
    key: _Key | None = None
    scores: float = 0.0  # of its detections, together
    is_spent: bool = False  # its results say that a new key frame is due


class Keys:
    """The policy at work: one thread asks, another brings the results.

    With a fixed interval frame n of a stream, counted in frames given, is a key frame where n modulo the
    interval is the stream's phase; phases are spread, by groups as large as a batch, so that key frames come
    evenly. Whatever the policy, a frame is a key frame where its stream has no state that it could follow: at
    first, after a cut, a new size or too long a time.
    """

    def __init__(self, policy: KeyPolicy, batch: int = 1) -> None:
        self.policy = policy
        self.frames: Counter[tuple[str, str]] = Counter()  # (stream, "key" or "between") -> given
        self._batch = batch
        self._courses: dict[str, _Course] = {}
        self._lock = threading.Lock()

    def is_key(self, frame: Frame, *, known: bool) -> bool:
        """Decide on the next frame that is given; ``known``: the engine has a state of its stream.

        The frame is told the index of its key frame.
        """
        with self._lock:
            course = self._courses.get(frame.stream)
            if course is None:
                course = self._courses[frame.stream] = _Course(self._free_phase())
            due = not known or self._is_due(course, frame)
            course.given += 1
            course.age += 1
            if due or course.key is None:
                course.key, course.age, course.is_spent = (
                    _Key(frame.index, frame.pts, frame.size, frame.cuts),
                    1,
                    False,
                )
            frame.key_index = course.key.index
            is_key = frame.key_index == frame.index
            self.frames[frame.stream, "key" if is_key else "between"] += 1
            return is_key

    def note(self, frame: Frame, found: Detections, motion: float) -> None:
        """Take the results of a frame, and its motion since its key frame (0 where the model tells none)."""
        if self.policy.interval:
            return
        with self._lock:
            course = self._courses.get(frame.stream)
            if course is None or course.key is None or frame.key_index != course.key.index:
                return
            total = float(found.scores.sum())
            if frame.index == frame.key_index:
                course.scores = total
            elif motion > self.policy.flow or total < (1 - self.policy.fall) * course.scores:
                course.is_spent = True

    def forget(self, stream: str) -> None:
        """Drop what is known of a stream; its counts stay."""
        with self._lock:
            self._courses.pop(stream, None)

    def _is_due(self, course: _Course, frame: Frame) -> bool:
        key, policy = course.key, self.policy
        if key is None or frame.cuts != key.cuts or frame.size != key.size:
            return True
        if not 0 <= frame.pts - key.pts < policy.seconds:
            return True
        if policy.interval:
            return course.given % policy.interval == course.phase
        return course.is_spent or course.age >= policy.most

    def _free_phase(self) -> int:
        """The phase of a group that is not full, else the least used and farthest from others."""
        interval = self.policy.interval
        used = Counter(course.phase for course in self._courses.values())
        open_groups = [phase for phase, count in used.items() if count % self._batch]
        if not interval or open_groups:
            return min(open_groups, default=0)

        def crowd(phase: int) -> tuple[int, int, int]:
            gaps = [min((phase - other) % interval, (other - phase) % interval) for other in used]
            return used[phase], -min(gaps, default=0), phase

        return min(_candidates(sorted(used), interval), key=crowd)


def _candidates(used: list[int], interval: int) -> list[int]:
    """Return the phases that may be the farthest from others: the middles between neighbours, and these."""
    following = [*used[1:], used[0] + interval] if used else []
    sums = [one + other for one, other in zip(used, following, strict=True)]
    return [*used, *((both + odd) // 2 % interval for both in sums for odd in (0, 1))] or [0]

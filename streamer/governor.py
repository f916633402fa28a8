"""Governor: keeps the age of live results under a target, by holding less and, at last, by inferring less."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from streamer.batching import LIVE_WAIT, Batching
from streamer.inbox import Lane

__all__ = ["STEPS", "Governor"]

CALM = 0.6  # of the target: below it what was done is undone
CALM_FOR = 5.0  # seconds, doubled each time that undoing was too early
CALM_AT_MOST = 300.0
EVERY = 1.0  # seconds from one step to the next, so that its effect is seen


@dataclass(frozen=True, slots=True)
class Step:
    """One setting of the knobs, each step holding back less than the one before it."""

    words: str  # what it does
    lane: int  # frames that a stream may have waiting
    ahead: int  # batches in the engine, 0 = as many as it takes
    wait: float  # seconds for a batch to fill
    thin: int  # infer each so-manieth frame


STEPS = (
    Step("queues as they are", 2, 0, LIVE_WAIT, 1),
    Step("one frame waits for each stream", 1, 0, LIVE_WAIT, 1),
    Step("two batches in the engine, shorter waits", 1, 2, 0.005, 1),
    Step("one batch in the engine, no waiting for it to fill", 1, 1, 0.0, 1),
    Step("every 2nd frame is inferred", 1, 1, 0.0, 2),
    Step("every 3rd frame is inferred", 1, 1, 0.0, 3),
    Step("every 4th frame is inferred", 1, 1, 0.0, 4),
)


class Governor:
    """Looks at the ages of the last results and turns the knobs, one step at a time."""

    def __init__(self, target: float, batching: Batching, say: Callable[[str], None]) -> None:
        self.target = target  # seconds, of the 95th percentile
        self.level = 0  # in STEPS
        self._batching = batching
        self._say = say
        self._calm_since = self._changed_at = float("-inf")
        self._has_given_up = False
        self._calm_for = CALM_FOR
        self._undone = False  # the last step was one back

    @property
    def step(self) -> Step:
        """What is being done now."""
        return STEPS[self.level]

    def look(self, ages: Sequence[float], lanes: Sequence[Lane[Any]], now: float) -> None:
        """Take the ages in seconds of the results since the last look, and act on them."""
        if ages:
            self._judge(sorted(ages)[int(0.95 * (len(ages) - 1))], now)
        self._batching.ahead, self._batching.max_wait = self.step.ahead, self.step.wait
        self._batching.thin = self.step.thin
        for lane in lanes:
            lane.resize(self.step.lane)

    def _judge(self, age: float, now: float) -> None:
        if age > CALM * self.target:
            self._calm_since = now
        if now - self._changed_at < EVERY:
            return
        if age > self.target and self.level + 1 < len(STEPS):
            if self._undone:
                too_early = now - self._changed_at < self._calm_for
                self._calm_for = min(self._calm_for * 2, CALM_AT_MOST) if too_early else CALM_FOR
            self._go(self.level + 1, age, now)
        elif age > self.target and not self._has_given_up:
            self._has_given_up = True
            self._say(f"latency: {age * 1e3:.0f} ms, nothing more can be done to get below {self._goal}")
        elif self.level and now - self._calm_since >= self._calm_for:
            self._go(self.level - 1, age, now)
            self._calm_since = now

    def _go(self, level: int, age: float, now: float) -> None:
        back = "again " if level < self.level else ""
        self._undone = level < self.level
        self.level, self._changed_at, self._has_given_up = level, now, False
        self._say(f"latency: {age * 1e3:.0f} ms of {self._goal}: {back}{self.step.words}")

    @property
    def _goal(self) -> str:
        return f"{self.target * 1e3:.0f} ms"

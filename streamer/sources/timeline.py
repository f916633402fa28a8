"""Timeline: presentation times that always rise, whatever a container or a camera says."""

from __future__ import annotations

__all__ = ["TICK", "Timeline"]

JUMP = 1.0  # seconds backwards from which on times are taken to have started anew
TICK = 0.001  # seconds between two pictures that claim the same time


class Timeline:
    """Stamps pictures in display order: true times as they are, missing and falling ones mended."""

    def __init__(self, step: float) -> None:
        """Take the usual time between two pictures, in seconds."""
        self.offset = 0.0  # seconds added to the container's times since they last started anew
        self._step = step
        self._next = 0.0  # where a picture without a time of its own goes
        self._last = float("-inf")

    def stamp(self, pts: float | None, duration: float = 0.0) -> float:
        """Return the picture's time in seconds; ``pts`` is None, ``duration`` 0 where nothing tells them."""
        time = self._next if pts is None else pts + self.offset
        if time <= self._last - JUMP:
            self.offset += self._next - time
            time = self._next
        elif time <= self._last:
            time = self._last + TICK
        self._last = time
        self._next = time + (duration or self._step)
        return time

"""Timeline: presentation times that always rise, whatever a container or a camera says."""

from __future__ import annotations

__all__ = ["TICK", "Timeline"]

JUMP = 1.0  # seconds backwards from which on times are taken to have started anew
TICK = 0.001  # seconds between two pictures that claim the same time
WRAP = 2**33 / 90_000  # seconds after which MPEG's clock begins again (ISO/IEC 13818-1, 2.4.3.7)
NEAR = 10.0  # seconds to the last picture within which a time must lie to be one of a clock that ran over


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
        time = self._next if pts is None else pts + self.shift(pts)
        if time <= self._last - JUMP:
            self.offset += self._next - time
            time = self._next
        elif time <= self._last:
            time = self._last + TICK
        self._last = time
        self._next = time + (duration or self._step)
        return time

    def shift(self, pts: float) -> float:
        """Return the seconds to add to a time of the container that was read beside the last picture."""
        if self._last == float("-inf"):
            return self.offset
        ahead = pts + self.offset - self._last
        over = WRAP * round(ahead / WRAP)
        return self.offset - over if abs(ahead - over) < NEAR else self.offset

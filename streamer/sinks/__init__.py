"""Where frames go: one table from URL scheme or suffix to opener, one Protocol that all of them are."""

from __future__ import annotations

from typing import Protocol

from streamer.frame import Frame

__all__ = ["Sink"]


class Sink(Protocol):
    """Takes frames in order from one thread; opens nothing on disk before the first `write`."""

    def write(self, frame: Frame) -> None:
        """Take one frame; its planes are only valid until the call returns."""

    def close(self) -> None:
        """Finish: what was written is whole and playable afterwards. Called once, also after a failure."""

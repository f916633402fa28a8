"""Where frames come from: one table from URL scheme to opener, one Protocol that all of them are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from streamer.audio import AudioTrack
from streamer.frame import Frame

__all__ = ["Source", "SourceInfo"]


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source once it is open; 0 and "" mean unknown."""

    size: tuple[int, int]  # width, height as displayed: rotation and sample aspect applied
    fps: float = 0.0  # average frames per second
    frames: int = 0  # expected number of frames
    duration: float = 0.0  # seconds
    codec: str = ""
    pixel_format: str = ""  # as decoded, FFmpeg's name
    audio: AudioTrack | None = None


class Source(Protocol):
    """An open source: iterate it once for its frames, in order; it holds no retry code."""

    name: str  # the stream's name, on every frame
    live: bool  # True: time runs on without us, so old frames may be dropped
    info: SourceInfo
    failures: Counter[str]  # reason -> pictures that could not be decoded

    def __iter__(self) -> Iterator[Frame]: ...

    def stop(self) -> None:
        """Ask, from any thread, that the iteration end after the frame at hand."""

    def close(self) -> None:
        """Free everything; called by the thread that iterated."""

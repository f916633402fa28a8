"""Room: how many frames may wait in front of a stage, what a full one does, and for how many it wakes."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.inbox import Policy
from streamer.sources import Source

__all__ = ["Room", "before_engine", "before_output"]

_CACHED = 3 << 20  # pixels: larger pictures gain nothing from their neighbours
_MOST = 8  # frames


@dataclass(frozen=True, slots=True)
class Room:
    """A lane for one stream."""

    policy: Policy
    capacity: int  # frames
    burst: int = 1  # frames for which the stage wakes, if they come soon


def before_engine(source: Source, *, prompt: bool, streams: int = 1) -> Room:
    """Return the lane in which a stream's frames wait for the engine; `prompt`: none for long.

    Its decoder wakes when half of them are gone, and works on so many in a row. Many streams side by side
    need no such store.
    """
    if source.live:
        return Room("latest", 2)
    return Room("block", max(6, 0 if prompt else 2 * _burst(source) // streams))


def before_output(source: Source, *, prompt: bool) -> Room:
    """Return the lane in which a stream's results wait to be drawn, written or sent; `prompt`: each at once.

    A stage that works on several small pictures in a row finds its code and data in the caches.
    """
    if source.live:
        return Room("latest", 8)
    burst = 1 if prompt else _burst(source)
    return Room("block", max(4, 2 * burst), burst)


def _burst(source: Source) -> int:
    width, height = source.info.size
    if not source.info.steady:
        return 1
    return max(1, min(_MOST, _CACHED // max(width * height, 1)))

"""The tracking stage: one tracker for each stream, between the model and all that shows or writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from streamer.frame import Frame
from streamer.inbox import Inbox
from streamer.stateful import Stateful

if TYPE_CHECKING:
    from streamer.trackers.tracker import Tracker

__all__ = ["track"]


def track(make: Callable[[], Tracker]) -> Stateful[Frame, Frame, Tracker]:
    """Give detections their tracks; in frames between two inferred ones, move them along with these."""

    def stage(inbox: Inbox[Frame], trackers: dict[str, Tracker]) -> Iterator[Frame]:
        for frame in inbox:
            tracker = trackers.get(frame.stream)
            if tracker is None:
                tracker = trackers[frame.stream] = make()
            if frame.inferred:
                frame.detections = tracker.update(frame.detections, frame.pts, frame.planes.y)
            else:
                frame.detections = tracker.predict(frame.pts)
            frame.lost = tracker.lost(frame.pts)
            yield frame

    return Stateful(stage)

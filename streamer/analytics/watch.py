"""Watch: the lines and zones of one stream, and the stage that keeps one watch for each stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from streamer.analytics.events import Event
from streamer.analytics.lines import LineCounter
from streamer.analytics.plan import Plan
from streamer.analytics.zones import ZoneCounter
from streamer.frame import Frame
from streamer.inbox import Inbox

__all__ = ["Sign", "Watch", "watch"]


@dataclass(frozen=True, slots=True)
class Sign:
    """What a viewer sees of a line or zone: where it is and what it says at this moment."""

    points: tuple[tuple[float, float], ...]  # pixels; two: a line, more: a closed polygon
    text: str


class Watch:
    """Counts for one stream; a picture of another size than before moves what is told in shares along."""

    def __init__(
        self,
        plan: Plan,
        stream: str,
        size: tuple[int, int],
        names: Sequence[str],
        before: Watch | None = None,
    ) -> None:
        """Begin to count, or go on from `before` where a line or zone is as it was."""
        self.plan = plan
        self.size = size
        lines = {counter.line: counter for counter in before.lines} if before else {}
        zones = {counter.zone: counter for counter in before.zones} if before else {}
        mine = [part.line(size, names) for part in plan.lines if not part.streams or stream in part.streams]
        self.lines: list[LineCounter] = [lines.get(line) or LineCounter(line) for line in mine]
        areas = [part.zone(size, names) for part in plan.zones if not part.streams or stream in part.streams]
        self.zones: list[ZoneCounter] = [zones.get(zone) or ZoneCounter(zone) for zone in areas]

    def update(self, frame: Frame) -> tuple[Event, ...]:
        """Return what has happened since the last frame that went through the model."""
        found, pts = frame.detections, frame.pts
        crossed = [event for line in self.lines for event in line.update(found, pts)]
        return (*crossed, *(event for zone in self.zones for event in zone.update(found, pts)))

    def signs(self) -> tuple[Sign, ...]:
        """Return what there is to draw."""
        lines = [
            Sign(
                (counter.line.start, counter.line.end),
                f"{counter.line.name} in {counter.counts['in']} out {counter.counts['out']}",
            )
            for counter in self.lines
        ]
        zones = [
            Sign(counter.zone.points, f"{counter.zone.name} {counter.occupancy}") for counter in self.zones
        ]
        return (*lines, *zones)


def watch(current: Callable[[], Plan], names: Sequence[str]) -> Callable[[Inbox[Frame]], Iterator[Frame]]:
    """Tell of each frame that went through the model what happened in it; names are the model's classes.

    `current` is asked for each frame: another plan than before is taken over with it.
    """

    def stage(inbox: Inbox[Frame]) -> Iterator[Frame]:
        watches: dict[str, Watch] = {}
        for frame in inbox:
            own, plan = watches.get(frame.stream), current()
            if own is None or own.size != frame.size or own.plan is not plan:
                own = watches[frame.stream] = Watch(plan, frame.stream, frame.size, names, own)
            if frame.inferred:
                frame.events = own.update(frame)
            frame.signs = own.signs()
            yield frame

    return stage

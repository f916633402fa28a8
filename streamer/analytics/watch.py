"""Watch: the lines, zones and speeds of one stream, and the stage that keeps one watch for each stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from streamer.analytics.events import Event
from streamer.analytics.lines import Line, LineCounter
from streamer.analytics.plan import LinePlan, Plan, ZonePlan
from streamer.analytics.speed import SpeedMeter
from streamer.analytics.zones import Zone, ZoneCounter
from streamer.frame import Frame
from streamer.inbox import Inbox
from streamer.stateful import Stateful

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
        self._names = names
        known = before._counters if before else {}
        mine = [part for part in plan.lines if not part.streams or stream in part.streams]
        self.lines = [_line(part.line(size, names), known.get(_told(part))) for part in mine]
        areas = [part for part in plan.zones if not part.streams or stream in part.streams]
        self.zones = [_zone(part.zone(size, names), known.get(_told(part))) for part in areas]
        self._counters: dict[LinePlan | ZonePlan, LineCounter | ZoneCounter] = {
            **dict(zip(map(_told, mine), self.lines, strict=True)),
            **dict(zip(map(_told, areas), self.zones, strict=True)),
        }
        meters = {meter.ground: meter for meter in before.speeds} if before else {}
        grounds = [
            part.ground(size, names) for part in plan.speeds if not part.streams or stream in part.streams
        ]
        self.speeds: list[SpeedMeter] = [meters.get(ground) or SpeedMeter(ground) for ground in grounds]

    def update(self, frame: Frame) -> tuple[Event, ...]:
        """Return what has happened since the last frame that went through the model."""
        found, pts = frame.detections, frame.pts
        parts: list[LineCounter | ZoneCounter | SpeedMeter] = [*self.lines, *self.zones, *self.speeds]
        return tuple(event for part in parts for event in part.update(found, pts))

    def measured(self) -> dict[int, float]:
        """Return the speed of each track that is on a ground now, in metres per second."""
        return {track: speed for meter in self.speeds for track, speed in meter.speeds.items()}

    def signs(self) -> tuple[Sign, ...]:
        """Return what there is to draw."""
        lines = [
            Sign((line.line.start, line.line.end), f"{line.line.name}{self._ways(line)}")
            for line in self.lines
        ]
        zones = [
            Sign(zone.zone.points, f"{zone.zone.name} {zone.occupancy}{self._shares(zone.by_class)}")
            for zone in self.zones
        ]
        grounds = [Sign(meter.ground.points, meter.ground.name) for meter in self.speeds]
        return (*lines, *zones, *grounds)

    def _ways(self, line: LineCounter) -> str:
        told = ""
        for way in ("in", "out"):
            shares = Counter({label: count for (what, label), count in line.by_class.items() if what == way})
            told += f" {way} {line.counts[way]}{self._shares(shares)}"
        return told

    def _shares(self, by_class: Counter[int]) -> str:
        """Return how many of each class, where there are several."""
        if len(by_class) < 2:
            return ""
        known = len(self._names)
        words = [
            f"{count} {self._names[label] if label < known else label}"
            for label, count in by_class.most_common()
        ]
        return f" ({', '.join(words)})"


def _told(part: LinePlan | ZonePlan) -> LinePlan | ZonePlan:
    """Return what makes a line or zone the same one, whichever streams it is for."""
    return replace(part, streams=())


def _line(line: Line, before: LineCounter | ZoneCounter | None) -> LineCounter:
    if not isinstance(before, LineCounter):
        return LineCounter(line)
    if before.line != line:
        before.move(line)
    return before


def _zone(zone: Zone, before: LineCounter | ZoneCounter | None) -> ZoneCounter:
    if not isinstance(before, ZoneCounter):
        return ZoneCounter(zone)
    if before.zone != zone:
        before.move(zone)
    return before


def watch(current: Callable[[], Plan], names: Sequence[str]) -> Stateful[Frame, Frame, Watch]:
    """Tell of each frame that went through the model what happened in it; names are the model's classes.

    `current` is asked for each frame: another plan than before is taken over with it.
    """

    def stage(inbox: Inbox[Frame], watches: dict[str, Watch]) -> Iterator[Frame]:
        for frame in inbox:
            own, plan = watches.get(frame.stream), current()
            if own is None or own.size != frame.size or own.plan is not plan:
                own = watches[frame.stream] = Watch(plan, frame.stream, frame.size, names, own)
            if frame.inferred:
                frame.events = own.update(frame)
            frame.signs, frame.speeds = own.signs(), own.measured()
            yield frame

    return Stateful(stage)

"""Plan: the lines, zones and grounds that a run watches, told once for pictures of any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from engines.errors import InputError, nearest
from streamer.analytics.anchors import Anchor
from streamer.analytics.lines import Line
from streamer.analytics.speed import Ground, homography
from streamer.analytics.zones import Zone

__all__ = ["LinePlan", "Plan", "SpeedPlan", "ZonePlan"]

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class LinePlan:
    """A line as the user tells it: see `streamer.analytics.Line`."""

    name: str
    points: tuple[Point, ...]  # start and end, in shares of the picture if none is above 1, else in pixels
    anchor: Anchor = "feet"
    margin: float = 0.1
    classes: tuple[str, ...] = ()  # names or numbers, () = all
    streams: tuple[str, ...] = ()  # () = all

    def line(self, size: tuple[int, int], names: Sequence[str]) -> Line:
        """Return the line in pixels of a picture of this size."""
        start, end = _pixels(self.points, size)
        return Line(self.name, start, end, self.anchor, self.margin, _ids(self.name, self.classes, names))


@dataclass(frozen=True, slots=True)
class ZonePlan:
    """A zone as the user tells it: see `streamer.analytics.Zone`."""

    name: str
    points: tuple[Point, ...]  # three or more, in shares of the picture if none is above 1, else in pixels
    anchor: Anchor = "feet"
    margin: float = 0.1
    gone: float = 2.0
    dwell: float = 0.0
    crowd: int = 0
    crowd_seconds: float = 0.0
    classes: tuple[str, ...] = ()  # names or numbers, () = all
    streams: tuple[str, ...] = ()  # () = all

    def zone(self, size: tuple[int, int], names: Sequence[str]) -> Zone:
        """Return the zone in pixels of a picture of this size."""
        whole = Zone(self.name, _pixels(self.points, size), self.anchor, self.margin, self.gone, self.dwell)
        labels = _ids(self.name, self.classes, names)
        return replace(whole, crowd=self.crowd, crowd_seconds=self.crowd_seconds, classes=labels)


@dataclass(frozen=True, slots=True)
class SpeedPlan:
    """A ground to measure speeds on as the user tells it: see `streamer.analytics.Ground`."""

    name: str
    points: tuple[Point, ...]  # four corners, in shares of the picture if none is above 1, else in pixels
    metres: tuple[Point, ...]  # where these are on the ground
    limit: float = 0.0
    seconds: float = 1.0
    over: float = 1.0
    anchor: Anchor = "feet"
    classes: tuple[str, ...] = ()  # names or numbers, () = all
    streams: tuple[str, ...] = ()  # () = all

    def ground(self, size: tuple[int, int], names: Sequence[str]) -> Ground:
        """Return the ground in pixels of a picture of this size."""
        limits = self.limit, self.seconds, self.over
        labels = _ids(self.name, self.classes, names)
        return Ground(self.name, _pixels(self.points, size), self.metres, *limits, self.anchor, labels)


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a run watches; nothing by default.

    Raises:
        InputError: a line or zone with too few points, a ground whose points are no quadrilateral.
    """

    lines: tuple[LinePlan, ...] = ()
    zones: tuple[ZonePlan, ...] = ()
    speeds: tuple[SpeedPlan, ...] = ()

    def __post_init__(self) -> None:
        for line in self.lines:
            if len(set(line.points)) != 2:
                raise InputError(f"line {line.name}: {len(line.points)} points, would be two that differ")
        for zone in self.zones:
            if len(set(zone.points)) < 3:
                raise InputError(f"zone {zone.name}: {len(zone.points)} points, would be three or more")
        for speed in self.speeds:
            if len(speed.points) != 4 or len(speed.metres) != 4:
                counts = f"{len(speed.points)} points and {len(speed.metres)} places in metres"
                raise InputError(f"speed {speed.name}: {counts}, would be four of each")
            try:
                homography(speed.points, speed.metres)
            except ValueError as error:
                raise InputError(f"speed {speed.name}: points or metres: {error}") from error

    def __bool__(self) -> bool:
        return bool(self.lines or self.zones or self.speeds)

    def check(self, names: Sequence[str]) -> None:
        """Raise InputError for classes that the model does not have."""
        for line in self.lines:
            _ids(line.name, line.classes, names)
        for zone in self.zones:
            _ids(zone.name, zone.classes, names)
        for speed in self.speeds:
            _ids(speed.name, speed.classes, names)


def _pixels(points: Sequence[Point], size: tuple[int, int]) -> tuple[Point, ...]:
    shares = all(0 <= value <= 1 for point in points for value in point)
    width, height = size if shares else (1, 1)
    return tuple((x * width, y * height) for x, y in points)


def _ids(where: str, classes: Sequence[str], names: Sequence[str]) -> tuple[int, ...]:
    ids = []
    for word in classes:
        if word in names:
            ids.append(list(names).index(word))
        elif word.isdecimal() and int(word) < len(names):
            ids.append(int(word))
        else:
            raise InputError(f"{where}: classes: no class {word!r}{nearest(word, names)}")
    return tuple(ids)

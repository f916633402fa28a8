"""Plan: the lines, zones and grounds that a run watches, told once for pictures of any size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from engines.errors import InputError, nearest
from streamer.analytics.anchors import Anchor
from streamer.analytics.lines import Line
from streamer.analytics.speed import Ground, homography
from streamer.analytics.zones import Zone

__all__ = ["LinePlan", "Plan", "SpeedPlan", "ZonePlan"]

Point = tuple[float, float]

LEAST = 3.0  # pixels that a line is long, and a zone wide and high
BEYOND = -1.0  # share of the picture, as far outside of it as 1 is on the other side


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
        InputError: a line or zone with too few points or none in reach, a ground that is no quadrilateral.
    """

    lines: tuple[LinePlan, ...] = ()
    zones: tuple[ZonePlan, ...] = ()
    speeds: tuple[SpeedPlan, ...] = ()

    def __post_init__(self) -> None:
        for line in self.lines:
            if len(line.points) != 2 or line.points[0] == line.points[1]:
                raise InputError(f"line {line.name}: {len(line.points)} points, would be two that differ")
            _check_places(f"line {line.name}", line.points, max)
        for zone in self.zones:
            if len(set(zone.points)) < 3:
                raise InputError(f"zone {zone.name}: {len(zone.points)} points, would be three or more")
            _check_places(f"zone {zone.name}", zone.points, min)
        for speed in self.speeds:
            if len(speed.points) != 4 or len(speed.metres) != 4:
                counts = f"{len(speed.points)} points and {len(speed.metres)} places in metres"
                raise InputError(f"speed {speed.name}: {counts}, would be four of each")
            try:
                homography(speed.points, speed.metres)
            except ValueError as error:
                raise InputError(f"speed {speed.name}: points or metres: {error}") from error
            _check_places(f"speed {speed.name}", speed.points, min)

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

    def strangers(self, streams: Sequence[str]) -> list[str]:
        """Return a sentence for each stream that a part is for and that is not there; it may come yet."""
        told: list[str] = []
        parts: tuple[LinePlan | ZonePlan | SpeedPlan, ...] = (*self.lines, *self.zones, *self.speeds)
        for part in parts:
            for stream in part.streams:
                if stream not in streams:
                    hint = nearest(stream, streams) or f", would be of {', '.join(streams)}"
                    told.append(f"analytics: {part.name}: streams: no stream {stream!r} so far{hint}")
        return told


def _check_places(where: str, points: Sequence[Point], extent: Callable[[Sequence[float]], float]) -> None:
    """Raise InputError for points that are shares or pixels where the other must be meant."""
    least, greatest = min(min(point) for point in points), max(max(point) for point in points)
    sides = extent([max(along) - min(along) for along in zip(*points, strict=True)])
    if not _are_shares(points):
        if sides < LEAST:
            pixels = f"{sides:g} pixels, as {greatest:g} is above 1"
            raise InputError(
                f"{where}: points: {pixels}; {LEAST:g} or more would be right, or shares up to 1"
            )
    elif least < BEYOND:
        raise InputError(f"{where}: points: {least:g}, a share from {BEYOND:g} to 1 would be right")
    elif not sides:
        raise InputError(f"{where}: points: all on one line, would be around some place")


def _are_shares(points: Sequence[Point]) -> bool:
    return all(value <= 1 for point in points for value in point)


def _pixels(points: Sequence[Point], size: tuple[int, int]) -> tuple[Point, ...]:
    width, height = size if _are_shares(points) else (1, 1)
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

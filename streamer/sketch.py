"""Sketch: lines and zones drawn by hand on one picture of a source, and the YAML that they are."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from engines.errors import InputError
from engines.files import check_place
from streamer.analytics.plan import LinePlan, Plan, ZonePlan
from streamer.frame import Frame, Planes

__all__ = ["Sketch", "draw_zones", "gridded"]

TITLE = "Click points, Enter: line of two or zone of more, Backspace: undo, q: done"
DONE, UNDO, QUIT = (10, 13), (8, 127), (ord("q"), 27)
GRID = (255, 255, 255)
FRESH = (255, 60, 160)
DIGITS = 3  # of a share of the picture


class Sketch:
    """Points that become lines and zones; coordinates are shares of the picture."""

    def __init__(self, plan: Plan, size: tuple[int, int]) -> None:
        self.plan = plan
        self.points: list[tuple[float, float]] = []  # of the shape at hand
        self._size = size

    def click(self, x: float, y: float) -> None:
        """Add a point, in pixels; the last row and column are the picture's edge."""
        width, height = self._size
        point = _share(x, width), _share(y, height)
        if point not in self.points:
            self.points.append(point)

    def press(self, key: int) -> bool:
        """Take a key; False when the user is done."""
        if key in DONE and len(self.points) > 1:
            self._close()
        elif key in UNDO and self.points:
            self.points.pop()
        elif key in UNDO:
            self._take_back()
        return key not in QUIT

    def _close(self) -> None:
        points, plan = tuple(self.points), self.plan
        if len(points) == 2:
            line = LinePlan(_free("line", [part.name for part in plan.lines]), points)
            self.plan = replace(plan, lines=(*plan.lines, line))
        else:
            zone = ZonePlan(_free("zone", [part.name for part in plan.zones]), points)
            self.plan = replace(plan, zones=(*plan.zones, zone))
        self.points = []

    def _take_back(self) -> None:
        plan = self.plan
        if plan.zones:
            self.plan = replace(plan, zones=plan.zones[:-1])
        elif plan.lines:
            self.plan = replace(plan, lines=plan.lines[:-1])


def _share(at: float, side: int) -> float:
    return 1.0 if at >= side - 1 else round(max(at / side, 0.0), DIGITS)


def draw_zones(source: str, at: float, config: Path | None, save: Path | None) -> None:
    """Let the user draw on the picture of a source at a time, and print the YAML of what was drawn.

    In a window; with `save`, or where there is no display, the picture with a grid goes to a file instead.
    What is drawn in the window is kept in the pipeline file `config`, where there is one.

    Raises:
        InputError: no source, no such picture, a file that cannot be read or written.
    """
    import cv2  # noqa: F401 - before PyAV, whose libraries its windows cannot bear

    from streamer.analytics.desk import told
    from streamer.analytics.section import keep, spelled
    from streamer.config import load
    from streamer.sources import local_files

    if not 0 <= at < float("inf"):
        raise InputError(f"--at: {at}, seconds from 0 on would be right")
    plan = load(config).analytics.plan() if config else Plan()
    window = save is None and _has_window()
    path = save or Path("zones.png")
    if not window:
        check_place(path, "--save", [*local_files(source), *([config] if config else [])])
    frame = _picture(source, at)
    if window:
        drawn = _edit(frame, Sketch(plan, frame.size))
        if config and drawn != plan:
            keep(config, drawn)
        plan = drawn
    else:
        plan = plan or _example()
        _write(path, gridded(frame.planes, plan))
        print(
            f"{path}: {frame.size[0]}x{frame.size[1]}, a grid of a tenth; points are shares of it",
            file=sys.stderr,
        )
    grounds = {part.name: told(part) for part in plan.speeds}
    print("\n".join(spelled(plan, {"speeds": grounds} if grounds else {})))


def gridded(planes: Planes, plan: Plan, points: list[tuple[float, float]] | None = None) -> Planes:
    """Return the picture with a grid of a tenth of its sides, a plan's lines and zones, and loose points."""
    from streamer.analytics.watch import Watch
    from streamer.overlay.canvas import Canvas
    from streamer.overlay.signs import signs
    from streamer.overlay.sprite import kind_of, tag
    from streamer.overlay.style import style_for
    from streamer.planes import copy

    canvas = Canvas(copy(planes))
    (width, height), style = canvas.size, style_for(canvas.size)
    measures, kind = (max(style.text - 2, 6), 2, 2), kind_of(planes)
    for tenth in range(1, 10):
        x, y = width * tenth // 10, height * tenth // 10
        canvas.fill((x, 0, x + 1, height), GRID, 0.5)
        canvas.fill((0, y, width, y + 1), GRID, 0.5)
        canvas.paste((x + 2, 0), tag(f".{tenth}", (40, 40, 40), measures, kind))
        canvas.paste((0, y + 2), tag(f".{tenth}", (40, 40, 40), measures, kind))
    shown = Frame("", 0, 0.0, planes)
    everywhere = replace(
        plan,
        lines=tuple(replace(part, streams=(), classes=()) for part in plan.lines),
        zones=tuple(replace(part, streams=(), classes=()) for part in plan.zones),
        speeds=tuple(replace(part, streams=(), classes=()) for part in plan.speeds),
    )
    shown.signs = Watch(everywhere, "", canvas.size, ()).signs()
    signs(canvas, shown)
    loose = np.array(points or [], np.float32).reshape(-1, 2) * np.array([width, height], np.float32)
    canvas.lines(loose[:-1], loose[1:], [FRESH] * max(len(loose) - 1, 0), style.line)
    canvas.discs(loose, [FRESH] * len(loose), 2 * style.dot)
    return canvas.planes


def _edit(frame: Frame, sketch: Sketch) -> Plan:
    """Show the picture until the user is done or has closed the window."""
    import cv2

    from streamer.planes import to_rgb

    def mouse(event: int, x: int, y: int, flags: int, data: object) -> None:
        if event == cv2.EVENT_LBUTTONDOWN:
            sketch.click(x, y)

    os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")  # it misses fonts we do not use
    cv2.namedWindow(TITLE, cv2.WINDOW_AUTOSIZE)
    cv2.setMouseCallback(TITLE, mouse)
    shown: tuple[object, ...] = ()
    while cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 0:
        now = (sketch.plan, *sketch.points)
        if now != shown:
            picture = to_rgb(gridded(frame.planes, sketch.plan, sketch.points))
            cv2.imshow(TITLE, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            shown = now
        if not sketch.press(cv2.waitKey(30) & 0xFF):
            break
    cv2.destroyAllWindows()
    return sketch.plan


def _picture(url: str, at: float) -> Frame:
    from streamer.sources import open_source

    source = open_source(url)
    try:
        last = None
        for last in source:
            if last.pts >= at:
                return last
    finally:
        source.close()
    ended = f"ends at {last.pts:.3f} s" if last else "has no picture"
    raise InputError(f"--at: {at:g}, but {source.name} {ended}")


def _has_window() -> bool:
    from streamer.sinks import check_sink

    try:
        check_sink("window:")
    except InputError:
        return False
    return True


def _example() -> Plan:
    """A line and a zone to begin with."""
    line = LinePlan("line 1", ((0.5, 1.0), (0.5, 0.0)))
    return Plan((line,), (ZonePlan("zone 1", ((0.1, 0.6), (0.4, 0.6), (0.4, 0.95), (0.1, 0.95))),))


def _write(path: Path, planes: Planes) -> None:
    import cv2

    from streamer.planes import to_rgb

    try:
        _, data = cv2.imencode(path.suffix or ".png", cv2.cvtColor(to_rgb(planes), cv2.COLOR_RGB2BGR))
        path.write_bytes(data.tobytes())
    except (OSError, cv2.error) as error:
        why = getattr(error, "strerror", None) or "would end with .png or .jpg"
        raise InputError(f"--save: {path}: {why}") from error


def _free(word: str, taken: list[str]) -> str:
    number = 1
    while f"{word} {number}" in taken:
        number += 1
    return f"{word} {number}"

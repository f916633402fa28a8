"""Labels: a tag for every detection with its track, class name and score, kept inside and off each other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from engines.detections import Detections
from engines.spec import ModelSpec
from streamer.frame import Frame
from streamer.overlay.canvas import Canvas
from streamer.overlay.palette import PALETTE, colour_indices
from streamer.overlay.space import Rect
from streamer.overlay.sprite import Sprite, kind_of, tag
from streamer.overlay.style import style_for

__all__ = ["Labels", "captions"]

Place = tuple[Rect, Sprite]


class Labels:
    """An overlay that knows the names of a model's classes."""

    def __init__(self, spec: ModelSpec) -> None:
        self._names = spec.classes

    def __call__(self, canvas: Canvas, frame: Frame) -> None:
        """Place tags from the best score down, then draw them so that the better one is never covered."""
        found = frame.detections
        if not len(found):
            return
        style = style_for(canvas.size)
        measures = (style.text, style.padding, style.radius)
        kind = kind_of(frame.planes)
        corners, colours = found.boxes.tolist(), colour_indices(found)
        texts = captions(found, self._names, frame.speeds)
        placed: list[Place] = []
        for row in (-found.scores).argsort(kind="stable").tolist():
            sprite = tag(texts[row], PALETTE[colours[row]], measures, kind)
            placed.append((_place(canvas, corners[row], sprite.size, style.line), sprite))
        for rect, sprite in reversed(placed):
            canvas.paste((rect[0], rect[1]), sprite)


def captions(
    detections: Detections, names: Sequence[str], speeds: Mapping[int, float] | None = None
) -> list[str]:
    """Return what each tag says: track where there is one, class name, speed where known, else score.

    speeds: metres per second of tracks; people read them in kilometres per hour.
    """
    speeds = speeds or {}
    rows = zip(detections.ids.tolist(), detections.classes.tolist(), detections.scores.tolist(), strict=True)
    return [
        f"{f'#{number} ' if number >= 0 else ''}"
        f"{names[index] if 0 <= index < len(names) else index} "
        f"{f'{speeds[number] * 3.6:.0f} km/h' if number in speeds else f'{score:.2f}'}"
        for number, index, score in rows
    ]


def _place(canvas: Canvas, box: list[float], size: tuple[int, int], line: int) -> Rect:
    """Choose and claim the first place around the box that is free, else the one that is least taken."""
    best, least = (0, 0, 0, 0), math.inf
    for rect in _places(box, size, line, canvas.size, canvas.subsampling):
        taken = canvas.space.taken(rect)
        if taken < least:
            best, least = rect, taken
        if not taken:
            break
    canvas.space.claim(best)
    return best


def _places(
    box: list[float],
    size: tuple[int, int],
    line: int,
    picture: tuple[int, int],
    subsampling: tuple[int, int],
) -> Iterator[Rect]:
    """Where a tag may lie, best first: over the box, under its top edge, under the box, further in."""
    (width, height), (sx, sy) = size, subsampling
    limit_x, limit_y = max(picture[0] - width, 0) // sx * sx, max(picture[1] - height, 0) // sy * sy
    x1, y1 = round(box[0] / sx) * sx - line, round(box[1] / sy) * sy - line
    x2, y2 = round(box[2] / sx) * sx + line, round(box[3] / sy) * sy + line
    over, under = y1 - height + line, y2 - line
    tops = [over, y1, under, y2 - height, (y1 + y2 - height) // 2, y1 + height, over - height]
    if over < 0:
        tops.remove(over)
    for left in (x1, x2 - width):
        x = min(max(left, 0), limit_x)
        for top in tops:
            y = min(max(top, 0), limit_y)
            yield x, y, x + width, y + height

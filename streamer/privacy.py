"""Privacy: people, faces or plates made unrecognisable on the planes, before anything else shows them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from engines.errors import InputError, nearest
from engines.suppress import iou_matrix
from streamer.frame import Frame, Planes
from streamer.inbox import Inbox
from streamer.pairs import read_pairs
from streamer.stateful import Stateful

if TYPE_CHECKING:
    from engines.detections import Detections
    from engines.spec import ModelSpec

__all__ = ["How", "Privacy", "conceal", "heads", "privacy", "read_privacy"]

How = Literal["blur", "pixelate", "fill"]
Boxes = NDArray[np.float32]

CELLS = 6  # along the shorter side of what is left of a part: no face survives that
GREY = 128
HEAD = ("nose", "eye", "ear")  # what names of keypoints that lie in a head hold
SAME = 0.3  # overlap of a place with one that is hidden now, from which it is the same
SURE = 0.3  # visibility from which a keypoint counts


@dataclass(frozen=True, slots=True)
class Privacy:
    """What of the picture nobody is to see. Raises InputError for values that cannot be."""

    how: How = "blur"
    classes: tuple[str, ...] = ()  # names or numbers, () = all
    heads: int = 0  # 1: only the heads, by their keypoints
    margin: float = 0.1  # of a box's sides, hidden around it
    hold: float = 0.5  # seconds for which a place stays hidden where nothing is found any more

    def __post_init__(self) -> None:
        known = get_args(How)
        if self.how not in known:
            guess = nearest(self.how, known) or ", would be one of " + ", ".join(known)
            raise InputError(f"hide: {self.how!r}{guess}")


def read_privacy(text: str) -> Privacy:
    """Read ``HOW[,key=value...]``: ``"pixelate,classes=face+person"``, ``"blur,heads=1"``.

    Raises:
        InputError: an unknown name or key, or a value out of place.
    """
    how, *pairs = (word.strip() for word in text.split(","))
    return replace(Privacy(how), **read_pairs(f"hide: {how}", pairs, Privacy))  # type: ignore[arg-type]


def privacy(told: Privacy, spec: ModelSpec) -> Stateful[Frame, Frame, _Held]:
    """Hide parts of each frame, on planes of its own; spec is of all that detects.

    Raises:
        InputError: a class that there is not, or heads of a model without keypoints of one.
    """
    from engines.options import chosen_classes

    chosen = chosen_classes(told.classes, spec)
    if told.heads and not _head_rows(spec):
        raise InputError(f"hide: heads, but {spec.name} gives no keypoints of a head: nose, eyes or ears")

    def parts(found: Detections) -> Boxes:
        found = found[np.isin(found.classes, list(chosen))]
        boxes = heads(found, spec) if told.heads else found.boxes
        grow = (boxes[:, 2:] - boxes[:, :2]) * np.float32(told.margin)
        return np.concatenate([boxes[:, :2] - grow, boxes[:, 2:] + grow], axis=1)

    def stage(inbox: Inbox[Frame], held: dict[str, _Held]) -> Iterator[Frame]:
        for frame in inbox:
            boxes = np.concatenate([parts(frame.detections), parts(frame.lost)])
            boxes = held.setdefault(frame.stream, _Held(told.hold)).update(boxes, frame.pts)
            if len(boxes):
                frame.planes = conceal(frame.planes, boxes, told.how)
            yield frame

    return Stateful(stage)


class _Held:
    """Places of one stream that were hidden a moment ago, for the frames in which nothing is found there."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._boxes: Boxes = np.zeros((0, 4), np.float32)
        self._since = np.zeros(0)  # pts of each

    def update(self, boxes: Boxes, pts: float) -> Boxes:
        """Return the boxes, and those before them in whose place there is none now."""
        age = pts - self._since
        alone = iou_matrix(self._boxes, boxes).max(axis=1, initial=0) < SAME
        kept = alone & (age >= 0) & (age <= self._seconds)
        self._boxes = np.concatenate([boxes, self._boxes[kept]])
        self._since = np.concatenate([np.full(len(boxes), pts), self._since[kept]])
        return self._boxes


def conceal(planes: Planes, boxes: Boxes, how: How) -> Planes:
    """Return the picture in memory of its own, boxes (N,4) xyxy hidden for good."""
    from streamer.planes import copy

    shown = copy(planes)
    (sx, sy), (width, height) = planes.subsampling, planes.size
    low = np.floor(np.maximum(boxes[:, :2], 0)).astype(int) // 2 * 2
    high = np.minimum(np.ceil(boxes[:, 2:]).astype(int) + 1, (width, height))
    for (x1, y1), (x2, y2) in zip(low.tolist(), high.tolist(), strict=True):
        if x1 >= x2 or y1 >= y2:
            continue
        step = max(min(x2 - x1, y2 - y1) / CELLS, 2.0)
        cells = max(round((x2 - x1) / step), 1), max(round((y2 - y1) / step), 1)
        _hide(shown.y[y1:y2, x1:x2], cells, how)
        rows, columns = slice(y1 // sy, -(-y2 // sy)), slice(x1 // sx, -(-x2 // sx))
        _hide(shown.u[rows, columns], cells, how)
        _hide(shown.v[rows, columns], cells, how)
    return shown


def heads(found: Detections, spec: ModelSpec) -> Boxes:
    """Return where the heads are, (N,4) xyxy, by the keypoints; of who shows none, the top of the box."""
    points, rows = found.keypoints, _head_rows(spec)
    boxes = found.boxes
    tall = boxes[:, 3] - boxes[:, 1]
    top = np.stack([(boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 1] + tall / 8], axis=1)
    if not len(found) or not points.shape[1]:
        return np.concatenate([top - tall[:, None] / 8, top + tall[:, None] / 8], axis=1)
    face, sure = points[:, rows, :2], points[:, rows, 2] > SURE
    count = np.maximum(sure.sum(axis=1), 1)[:, None]
    centre = (face * sure[..., None]).sum(axis=1) / count
    spread = np.where(sure, np.hypot(*(face - centre[:, None]).transpose(2, 0, 1)), 0).max(axis=1)
    half = np.maximum(
        2 * spread, np.maximum(_shoulders(points, spec) * 0.4, tall / np.where(count[:, 0] > 1, 16, 8))
    )
    known: NDArray[np.bool_] = np.any(sure, axis=1)
    centre = np.where(known[:, None], centre, top)
    reach = np.where(known, half, tall / 8)[:, None] * np.array([1.0, 1.25])
    around: Boxes = np.concatenate([centre - reach, centre + reach], axis=1).astype(np.float32)
    return around


def _head_rows(spec: ModelSpec) -> list[int]:
    return [row for row, name in enumerate(spec.keypoints) if any(part in name.lower() for part in HEAD)]


def _shoulders(points: NDArray[np.float32], spec: ModelSpec) -> NDArray[np.float32]:
    """How far apart the shoulders are, 0 where they are not both seen."""
    rows = [row for row, name in enumerate(spec.keypoints) if "shoulder" in name.lower()]
    if len(rows) != 2:
        return np.zeros(len(points), np.float32)
    one, other = points[:, rows[0]], points[:, rows[1]]
    apart = np.hypot(*(one[:, :2] - other[:, :2]).T)
    seen: NDArray[np.float32] = np.where((one[:, 2] > SURE) & (other[:, 2] > SURE), apart, 0)
    return seen


def _hide(part: NDArray[np.uint8], cells: tuple[int, int], how: How) -> None:
    import cv2

    if how == "fill":
        part[...] = GREY
        return
    height, width = part.shape
    few = cv2.resize(part, (min(cells[0], width), min(cells[1], height)), interpolation=cv2.INTER_AREA)
    smooth = cv2.INTER_LINEAR if how == "blur" else cv2.INTER_NEAREST
    part[...] = cv2.resize(few, (width, height), interpolation=smooth)

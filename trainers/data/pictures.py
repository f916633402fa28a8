"""Pictures on disk with what their label files say: read and checked at once, decoded when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engines.detections import Masks
from engines.errors import InputError
from engines.spec import Task
from trainers.data.batch import Crowds, Sample
from trainers.data.outlines import Outline, painted

__all__ = [
    "SUFFIXES",
    "Pictures",
    "Record",
    "Region",
    "check_keypoints",
    "check_picture",
    "find_pictures",
    "is_far",
    "read_image",
]

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_ENDS = {
    b"\xff\xd8\xff": b"\xff\xd9",
    b"\x89PNG": b"IEND",
}  # first bytes -> bytes near the end of a whole file
_LENGTHS = (
    (b"BM", 2, 0),
    (b"RIFF", 4, 8),
)  # first bytes, where they tell the file's length, how many it omits


class Region(NamedTuple):
    """What an annotation marks: an object, or a crowd of many that are not told apart."""

    box: NDArray[np.float32]  # (4,) xyxy 0..1
    kind: int  # its class
    outline: Outline


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One picture and its objects; coordinates are shares of its width and height."""

    path: Path
    boxes: NDArray[np.float32]  # (M, 4) xyxy 0..1
    classes: NDArray[np.int64]  # (M,)
    outlines: tuple[Outline, ...] = ()  # M of them, or none
    keypoints: NDArray[np.float32] | None = None  # (M, K, 3) x, y 0..1, COCO's v 0..2
    size: tuple[int, int] = (0, 0)  # width, height that the label file tells; 0, 0: it tells none
    areas: NDArray[np.float32] = field(  # (M,) shares that each object fills, 0 = not told; or none at all
        default_factory=lambda: np.zeros(0, np.float32)
    )
    crowds: tuple[Region, ...] = ()  # nothing learns from them


class Pictures(Sequence[Sample]):
    """Records as samples, the longer side of a picture at most ``longest`` pixels."""

    def __init__(self, records: Sequence[Record], longest: int, task: Task) -> None:
        self.records, self.longest, self.task = records, longest, task

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        record = self.records[index]
        image = read_image(record.path, self.longest, record.size)
        sides = np.array(image.shape[1::-1], np.float32)
        masks, keypoints = Masks(), np.zeros((0, 0, 3), np.float32)
        if self.task == "segment":
            masks = painted(record.outlines, image.shape[:2])
        if self.task == "pose" and record.keypoints is not None:
            keypoints = record.keypoints * np.array([*sides, 1], np.float32)
        boxes, areas = record.boxes * np.tile(sides, 2), record.areas * sides.prod()
        crowds = self._crowds(record.crowds, image) if record.crowds else Crowds()
        return Sample(image, boxes, record.classes, masks, keypoints, areas, crowds)

    def _crowds(self, crowds: Sequence[Region], image: NDArray[np.uint8]) -> Crowds:
        return Crowds(
            np.stack([crowd.box for crowd in crowds]) * np.tile(np.array(image.shape[1::-1], np.float32), 2),
            np.array([crowd.kind for crowd in crowds], np.int64),
            painted(tuple(crowd.outline for crowd in crowds), image.shape[:2])
            if self.task == "segment"
            else Masks(),
        )


def find_pictures(folder: Path) -> dict[str, Path]:
    """Return the pictures of a folder by name without suffix, in order; InputError if there are none."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of pictures")
    found = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES}
    if not found:
        raise InputError(f"{folder}: no pictures, files that end in {', '.join(SUFFIXES)} are right")
    return found


def check_picture(path: Path, said: str) -> None:
    """Raise InputError, beginning with ``said``, for a picture that is missing, empty, cut off, or none.

    Only its first and last bytes are read.
    """
    import cv2

    try:
        with path.open("rb") as file:
            start = file.read(12)
            whole = path.stat().st_size
            file.seek(max(whole - 65536, 0))
            rest = file.read()
    except OSError as error:
        raise InputError(f"{said}: {path}: {error.strerror}") from None
    for head, tail in _ENDS.items():
        if start.startswith(head) and tail not in rest:
            raise InputError(f"{said}: {path}: broken picture, its end is missing")
    for head, place, more in _LENGTHS:
        if start.startswith(head) and int.from_bytes(start[place : place + 4], "little") + more > whole:
            raise InputError(f"{said}: {path}: broken picture, its end is missing")
    if len(start) < 4:
        raise InputError(f"{said}: {path}: broken picture, it is empty")
    if not cv2.haveImageReader(str(path)):
        raise InputError(f"{said}: {path}: broken picture, its first bytes are of no kind that is known")


def check_keypoints(points: NDArray[np.float32], said: str) -> None:
    """Raise InputError, beginning with ``said``, for keypoints (K, 3) in shares that no picture can have."""
    seen = points[:, 2]
    for v in seen[~np.isin(seen, (0, 1, 2))]:
        raise InputError(f"{said}: keypoints: v {v:g}, 0, 1 or 2 is right")
    if is_far(points[seen > 0, :2]):
        raise InputError(f"{said}: keypoints are far outside the picture")


def is_far(points: NDArray[np.float32]) -> bool:
    """Tell whether points (..., 2) in shares lie further outside a picture than it is wide or high."""
    return bool((np.abs(points - 0.5) > 1.5).any())


def read_image(path: Path, longest: int = 0, told: tuple[int, int] = (0, 0)) -> NDArray[np.uint8]:
    """Read a picture as (H, W, 3) RGB, the longer side at most ``longest`` pixels (0: as it is).

    It is turned as its EXIF says, as everywhere else; but it stays as it is stored where only so it has the
    shape of the (width, height) that its labels were ``told`` of: they are shares, so that a smaller copy
    will do. InputError where neither has that shape, and for a broken picture.
    """
    import cv2

    data = np.fromfile(path, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"{path}: broken picture, it cannot be decoded")
    if not _has_shape(image, told):
        turned = image
        image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if not _has_shape(image, told):
            sides = f"{turned.shape[1]}x{turned.shape[0]} pixels"
            raise InputError(f"{path}: {sides}, its labels are for a picture of {told[0]}x{told[1]}")
    height, width = image.shape[:2]
    ratio = longest / max(width, height)
    if longest and ratio < 1:
        sides = (max(round(width * ratio), 1), max(round(height * ratio), 1))
        image = cv2.resize(image, sides, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image[..., ::-1])


def _has_shape(image: NDArray[np.uint8], told: tuple[int, int]) -> bool:
    """Tell whether sides have the ratio of the (width, height) told, to a pixel; 0, 0 tells nothing."""
    height, width = image.shape[:2]
    return abs(width * told[1] - height * told[0]) <= max(told)

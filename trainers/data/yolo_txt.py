"""YOLO's label files: beside each picture's name a text, one line an object, in shares of the picture.

``class x y w h`` for boxes, ``class x1 y1 x2 y2 x3 y3 ...`` for outlines, ``class x y w h`` and ``x y v`` of
each keypoint for poses (docs.ultralytics.com/datasets).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.errors import InputError
from trainers.data.outlines import Outline
from trainers.data.pictures import Record, check_keypoints, check_picture, find_pictures

__all__ = ["read_yolo"]

_SLACK = 0.002  # share by which rounding may carry a box beyond its picture


def read_yolo(images: Path, labels: Path, classes: tuple[str, ...], keypoints: int = 0) -> list[Record]:
    """Return the pictures of a folder with their labels from another.

    A picture without a label file has no objects. ``keypoints`` is how many each line must have. InputError
    names the file and the line.
    """
    pictures = find_pictures(images)
    if not labels.is_dir():
        raise InputError(f"{labels}: no such folder of labels")
    texts = {path.stem: path for path in sorted(labels.glob("*.txt")) if path.name != "classes.txt"}
    for stem, path in texts.items():
        if stem not in pictures:
            raise InputError(f"{path}: no picture {stem} in {images}")
    records = [_record(path, texts.get(stem), classes, keypoints) for stem, path in pictures.items()]
    if not any(len(record.boxes) for record in records):
        raise InputError(f"{labels}: no objects: every label file is empty or missing")
    return records


def _record(picture: Path, text: Path | None, classes: tuple[str, ...], keypoints: int) -> Record:
    check_picture(picture, str(text or picture))
    boxes, kinds, outlines, points = [], [], [], []
    lines = text.read_text(encoding="utf-8-sig", errors="replace").splitlines() if text else []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        said = f"{text}:{number}"
        try:
            values = np.array([float(word) for word in line.split()], np.float32)
        except ValueError as error:
            raise InputError(f"{said}: {error}, numbers are right") from None
        if not np.isfinite(values).all():
            raise InputError(f"{said}: {line.strip()[:60]!r}, finite numbers are right")
        kind = int(values[0])
        if kind != values[0] or not 0 <= kind < len(classes):
            raise InputError(f"{said}: class {values[0]:g}, 0..{len(classes) - 1} is right")
        box, outline = _shape(values[1:], keypoints, said)
        boxes.append(box)
        kinds.append(kind)
        outlines.append(outline)
        points.append(values[5:].reshape(-1, 3) if keypoints else np.zeros((0, 3), np.float32))
        check_keypoints(points[-1], said)
    return Record(
        picture,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(kinds, np.int64),
        tuple(outlines),
        np.array(points, np.float32).reshape(len(boxes), keypoints, 3) if keypoints else None,
    )


def _shape(values: NDArray[np.float32], keypoints: int, said: str) -> tuple[NDArray[np.float32], Outline]:
    """The box xyxy and the outline of one line without its class."""
    count = len(values)
    if keypoints and count != 4 + 3 * keypoints:
        raise InputError(
            f"{said}: {count + 1} numbers, {5 + 3 * keypoints} are right for {keypoints} keypoints"
        )
    if not keypoints and count != 4 and (count < 6 or count % 2):
        raise InputError(f"{said}: {count + 1} numbers, 5 for a box or 7, 9, ... for an outline are right")
    if keypoints or count == 4:
        x, y, w, h = values[:4].tolist()
        if w <= 0 or h <= 0:
            raise InputError(f"{said}: width {w:g} and height {h:g}, more than 0 is right")
        corners = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2], np.float32)
        outline = corners[[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2)
    else:
        outline = values.reshape(-1, 2)
        corners = np.concatenate([outline.min(0), outline.max(0)])
        if (corners[2:] <= corners[:2]).any():
            raise InputError(f"{said}: an outline without area, corners of a polygon are right")
    if corners.min() < -_SLACK or corners.max() > 1 + _SLACK:
        raise InputError(f"{said}: reaches outside the picture, shares 0..1 are right")
    return np.clip(corners, 0, 1), (np.clip(outline, 0, 1),)

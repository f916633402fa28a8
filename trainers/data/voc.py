"""PASCAL VOC's label files: one XML a picture, corners counted from 1 and included (VOC2012 devkit)."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from engines.errors import InputError, nearest
from trainers.data.pictures import Record, check_picture, find_pictures

__all__ = ["read_voc"]


def read_voc(images: Path, labels: Path, classes: tuple[str, ...]) -> list[Record]:
    """Return the pictures that have a label file, in order of their names; InputError names file and line."""
    pictures = find_pictures(images)
    texts = sorted(labels.glob("*.xml")) if labels.is_dir() else []
    if not texts:
        raise InputError(f"{labels}: no label files, a folder of .xml files is right")
    records = [_record(path, pictures, images, classes) for path in texts]
    if not any(len(record.boxes) for record in records):
        raise InputError(f"{labels}: no objects in any label file")
    return records


def _record(path: Path, pictures: dict[str, Path], images: Path, classes: tuple[str, ...]) -> Record:
    if path.stem not in pictures:
        raise InputError(f"{path}: no picture {path.stem} in {images}")
    check_picture(pictures[path.stem], str(path))
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        tree = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InputError(f"{path}:{error.position[0]}: not XML: {error}") from None
    try:
        size = np.array(
            [float(tree.findtext(f"size/{side}", "")) for side in ("width", "height")], np.float32
        )
    except ValueError:
        raise InputError(f"{path}: size: width and height in pixels are right") from None
    lines = [text.count("\n", 0, match.start()) + 1 for match in re.finditer(r"<object\b", text)]
    boxes, kinds = [], []
    for line, node in zip(lines, tree.findall("object"), strict=True):
        said, name = f"{path}:{line}", node.findtext("name", "").strip()
        if name not in classes:
            raise InputError(f"{said}: class {name!r} is none of the classes{nearest(name, classes)}")
        try:
            corners = [float(node.findtext(f"bndbox/{key}", "")) for key in ("xmin", "ymin", "xmax", "ymax")]
        except ValueError:
            raise InputError(f"{said}: bndbox: four numbers are right") from None
        box = np.array(corners, np.float32) - np.array([1, 1, 0, 0], np.float32)
        if (box[2:] <= box[:2]).any():
            raise InputError(f"{said}: bndbox {corners} has no area")
        if box.min() < -1 or (box[2:] > size + 1).any():
            raise InputError(
                f"{said}: bndbox {corners} reaches outside its picture of {size[0]:g}x{size[1]:g}"
            )
        boxes.append(np.clip(box / np.tile(size, 2), 0, 1))
        kinds.append(classes.index(name))
    boxes_ = np.array(boxes, np.float32).reshape(-1, 4)
    sides = (round(float(size[0])), round(float(size[1])))
    return Record(pictures[path.stem], boxes_, np.array(kinds, np.int64), size=sides)

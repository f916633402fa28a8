"""PASCAL VOC's label files: one XML a picture, corners counted from 1 and included (VOC2012 devkit)."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

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
    tree, lines = _parsed(path)
    try:
        size = np.array(
            [float(tree.findtext(f"size/{side}", "")) for side in ("width", "height")], np.float32
        )
    except ValueError:
        size = np.zeros(2, np.float32)
    if not (np.isfinite(size) & (size >= 1)).all():
        raise InputError(f"{path}: size: width and height in pixels are right")
    boxes, kinds = [], []
    for line, node in zip(lines, tree.findall("object"), strict=True):
        said, name = f"{path}:{line}", node.findtext("name", "").strip()
        if name not in classes:
            raise InputError(f"{said}: class {name!r} is none of the classes{nearest(name, classes)}")
        try:
            corners = [float(node.findtext(f"bndbox/{key}", "")) for key in ("xmin", "ymin", "xmax", "ymax")]
        except ValueError:
            corners = []
        if not corners or not np.isfinite(corners).all():
            raise InputError(f"{said}: bndbox: four numbers are right")
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


def _parsed(path: Path) -> tuple[ElementTree.Element, list[int]]:
    """Return the tree of a file, and the line of each of its objects."""
    data, depth, lines = path.read_bytes(), 0, []
    parser = expat.ParserCreate()

    def begin(name: str, _: object) -> None:
        nonlocal depth
        depth += 1
        if depth == 2 and name == "object":
            lines.append(parser.CurrentLineNumber)

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    parser.StartElementHandler, parser.EndElementHandler = begin, end
    try:
        parser.Parse(data, True)
        return ElementTree.fromstring(data), lines
    except expat.ExpatError as error:
        raise InputError(f"{path}:{error.lineno}: not XML: {error}") from None
    except (ValueError, LookupError) as error:  # an encoding that the parser does not know
        raise InputError(f"{path}: not XML: {error}, utf-8 is right") from None

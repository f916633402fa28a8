"""COCO's label file: one JSON of images, annotations and categories (cocodataset.org, format-data).

What YouTube-VIS shares with it is here too.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import InputError, nearest
from trainers.data.outlines import Outline, traced
from trainers.data.pictures import Record, check_picture

__all__ = ["kinds_of", "outline_of", "parse", "read_coco", "shares_of", "sorted_by"]

_SLACK = 1.0  # pixels that a box may reach beyond its picture: COCO's own do


def read_coco(
    images: Path,
    labels: Path,
    classes: tuple[str, ...] = (),
    keypoints: int = 0,
    say: Callable[[str], None] = lambda words: None,
) -> tuple[list[Record], tuple[str, ...]]:
    """Return the pictures of a COCO file and its class names, in the order of their ids.

    ``classes`` keeps only these, in this order. ``keypoints`` is how many each object must have, 0 = none are
    read. Crowds are no objects: they are left out. So are boxes without area, which COCO's own files have:
    ``say`` is told how many. InputError names the file and the id of the image or the annotation.
    """
    tree = parse(labels, ("images", "annotations", "categories"))
    wide = [row for row in tree["annotations"] if 0 not in (row.get("bbox") or ())[2:]]
    if left := len(tree["annotations"]) - len(wide):
        say(f"{labels}: {left} annotations left out, as their boxes have no area")
    tree["annotations"] = wide
    names, index = kinds_of(tree, labels, classes)
    rows = sorted_by(tree, labels, "image", index)
    return [_record(labels, images, image, rows[image["id"]], keypoints) for image in tree["images"]], names


def kinds_of(
    tree: dict[str, Any], labels: Path, classes: tuple[str, ...]
) -> tuple[tuple[str, ...], dict[int, int]]:
    """Return the names of the classes to keep, and the class of each category's id, -1 = not kept."""
    categories = {row["id"]: row["name"] for row in sorted(tree["categories"], key=lambda row: row["id"])}
    names = classes or tuple(categories.values())
    for name in names:
        if name not in categories.values():
            raise InputError(
                f"{labels}: class {name!r} is none of its categories{nearest(name, categories.values())}"
            )
    return names, {key: names.index(name) if name in names else -1 for key, name in categories.items()}


def sorted_by(
    tree: dict[str, Any], labels: Path, what: str, index: dict[int, int]
) -> dict[int, list[dict[str, Any]]]:
    """Return the annotations of each image or video (``what``) by its id, each with its ``class``.

    Crowds and what `kinds_of` does not keep are left out; InputError for ids that are not there, and where no
    annotation is left.
    """
    rows: dict[int, list[dict[str, Any]]] = {owner["id"]: [] for owner in tree[f"{what}s"]}
    for row in tree["annotations"]:
        said = f"{labels}: annotation {row.get('id')}"
        if row.get(f"{what}_id") not in rows:
            raise InputError(f"{said}: {what}_id {row.get(f'{what}_id')} is none of its {what}s")
        if row.get("category_id") not in index:
            raise InputError(f"{said}: category_id {row.get('category_id')} is none of its categories")
        if index[row["category_id"]] >= 0 and not row.get("iscrowd"):
            rows[row[f"{what}_id"]].append(row | {"class": index[row["category_id"]]})
    if not any(rows.values()):
        kept = [row["name"] for row in tree["categories"] if index[row["id"]] >= 0]
        raise InputError(f"{labels}: no objects: not one annotation is of {', '.join(kept[:5])}")
    return rows


def parse(labels: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """Read a label file that must have these lists."""
    try:
        tree = json.loads(labels.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{labels}: {error.strerror}, a COCO label file is right") from None
    except ValueError as error:
        raise InputError(f"{labels}: not JSON: {error}") from None
    for key in keys:
        if not isinstance(tree, dict) or not isinstance(tree.get(key), list):
            raise InputError(f"{labels}: no list of {key}, a file of {', '.join(keys)} is right")
    return dict(tree)


def _record(
    labels: Path, images: Path, image: dict[str, Any], rows: list[dict[str, Any]], keypoints: int
) -> Record:
    path, size = images / image["file_name"], np.array([image["width"], image["height"]], np.float32)
    check_picture(path, f"{labels}: image {image['id']}")
    boxes = np.zeros((len(rows), 4), np.float32)
    points = np.zeros((len(rows), keypoints, 3), np.float32)
    outlines = []
    for number, row in enumerate(rows):
        said = f"{labels}: annotation {row['id']} of image {image['id']}"
        boxes[number] = shares_of(row.get("bbox"), size, said)
        outlines.append(outline_of(row.get("segmentation"), size, boxes[number]))
        if keypoints:
            flat = row.get("keypoints", [])
            if len(flat) != 3 * keypoints:
                raise InputError(f"{said}: {len(flat)} numbers of keypoints, {3 * keypoints} are right")
            points[number] = np.reshape(flat, (keypoints, 3)) / np.array([*size, 1], np.float32)
    classes = np.array([row["class"] for row in rows], np.int64)
    sides = (round(image["width"]), round(image["height"]))
    return Record(path, boxes, classes, tuple(outlines), points if keypoints else None, sides)


def shares_of(xywh: list[float] | None, size: NDArray[np.float32], said: str) -> NDArray[np.float32]:
    """Return a box (4,) xyxy in shares of a picture of ``size`` (width, height).

    InputError, beginning with ``said``, for one of no four numbers, without area, or outside the picture.
    """
    if not xywh or len(xywh) != 4:
        raise InputError(f"{said}: bbox {xywh}, [x, y, width, height] is right")
    x, y, w, h = xywh
    width, height = size.tolist()
    if w <= 0 or h <= 0:
        raise InputError(f"{said}: bbox {xywh} has no area")
    if min(x, y) < -_SLACK or x + w > width + _SLACK or y + h > height + _SLACK:
        raise InputError(f"{said}: bbox {xywh} reaches outside its picture of {width:g}x{height:g}")
    return np.clip(np.array([x, y, x + w, y + h], np.float32) / np.tile(size, 2), 0, 1)


def outline_of(segmentation: Any, size: NDArray[np.float32], box: NDArray[np.float32]) -> Outline:
    """Return polygons in shares of the picture, of polygons or a run-length code; else the box."""
    if isinstance(segmentation, list) and segmentation:
        return tuple(np.reshape(np.array(part, np.float32), (-1, 2)) / size for part in segmentation)
    if isinstance(segmentation, dict):
        from pycocotools import mask

        height, width = segmentation["size"]
        packed = isinstance(segmentation["counts"], list)
        bitmap = mask.decode(mask.frPyObjects(segmentation, height, width) if packed else segmentation)
        if found := traced(bitmap):
            return found
    x0, y0, x1, y1 = box.tolist()
    return (np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32),)

"""COCO's label file: one JSON of images, annotations and categories (cocodataset.org, format-data).

What YouTube-VIS shares with it is here too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.annotations import read_lists
from engines.errors import InputError, nearest
from trainers.data.outlines import Outline, traced
from trainers.data.pictures import Record, Region, check_keypoints, check_picture, is_far
from trainers.data.rows import CATEGORY, IMAGE, OBJECT, Rule, are_numbers, check_rows, once, short

__all__ = ["gathered", "kinds_of", "parse", "read_coco", "sorted_by"]

_SLACK = 1.0  # pixels that a box may reach beyond its picture: COCO's own do
_CODE = re.compile(
    "(?:[P-o]{0,6}[0-O])+"
)  # a packed run-length code: numbers of digits that say if more follow
_KEYS = {
    "images": ("image", IMAGE),
    "annotations": ("annotation", OBJECT | {"image_id": IMAGE["id"]}),
    "categories": ("category", CATEGORY),
}


def read_coco(
    images: Path,
    labels: Path,
    classes: tuple[str, ...] = (),
    keypoints: int = 0,
    say: Callable[[str], None] = lambda words: None,
) -> tuple[list[Record], tuple[str, ...]]:
    """Return the pictures of a COCO file and its class names, in the order of their ids.

    ``classes`` keeps only these, in this order. ``keypoints`` is how many each object must have, 0 = none are
    read. Crowds are no objects: they are kept apart. Boxes without area, which COCO's own files have, are
    left out: ``say`` is told how many. InputError names the file and the id of the image or the annotation.
    """
    tree = parse(labels, _KEYS)
    wide = [row for row in tree["annotations"] if not _is_flat(row.get("bbox"))]
    if left := len(tree["annotations"]) - len(wide):
        say(f"{labels}: {left} annotations left out, as their boxes have no area")
    tree["annotations"] = wide
    names, index = kinds_of(tree, labels, classes)
    rows = sorted_by(tree, labels, "image", index)
    return [_record(labels, images, image, rows[image["id"]], keypoints) for image in tree["images"]], names


def _is_flat(xywh: Any) -> bool:
    return are_numbers(xywh) and len(xywh) == 4 and 0 in xywh[2:]


def kinds_of(
    tree: dict[str, Any], labels: Path, classes: tuple[str, ...]
) -> tuple[tuple[str, ...], dict[int, int]]:
    """Return the names of the classes to keep, and the class of each category's id, -1 = not kept."""
    once(labels, "category", tree["categories"])
    once(labels, "category", tree["categories"], "name")
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

    What `kinds_of` does not keep is left out; InputError for ids that are not there, and where no annotation
    is left but crowds.
    """
    once(labels, what, tree[f"{what}s"])
    rows: dict[int, list[dict[str, Any]]] = {owner["id"]: [] for owner in tree[f"{what}s"]}
    for row in tree["annotations"]:
        said = f"{labels}: annotation {row['id']}"
        if row[f"{what}_id"] not in rows:
            raise InputError(f"{said}: {what}_id {row[f'{what}_id']!r} is none of its {what}s")
        if row["category_id"] not in index:
            raise InputError(f"{said}: category_id {row['category_id']} is none of its categories")
        if index[row["category_id"]] >= 0:
            rows[row[f"{what}_id"]].append(row | {"class": index[row["category_id"]]})
    if not any(not row.get("iscrowd") for each in rows.values() for row in each):
        kept = [row["name"] for row in tree["categories"] if index[row["id"]] >= 0]
        raise InputError(f"{labels}: no objects: not one annotation is of {', '.join(kept[:5])}")
    return rows


def parse(labels: Path, keys: Mapping[str, tuple[str, Mapping[str, Rule]]]) -> dict[str, Any]:
    """Read a label file that must have these lists, each of so called rows that keep to the rules."""
    tree = read_lists(labels, tuple(keys))
    for key, (what, rules) in keys.items():
        check_rows(labels, what, tree[key], rules)
    return tree


def _record(
    labels: Path, images: Path, image: dict[str, Any], rows: list[dict[str, Any]], keypoints: int
) -> Record:
    size = np.array([image["width"], image["height"]], np.float32)
    check_picture(images / image["file_name"], f"{labels}: image {image['id']}")
    said = {row["id"]: f"{labels}: annotation {row['id']} of image {image['id']}" for row in rows}
    record = gathered(images / image["file_name"], size, [(row, said[row["id"]]) for row in rows])
    own = [row for row in rows if not row.get("iscrowd")]
    areas = np.array([row.get("area") or 0.0 for row in own], np.float32) / size.prod()
    if not keypoints:
        return replace(record, areas=areas)
    points = [_points(row.get("keypoints"), keypoints, size, said[row["id"]]) for row in own]
    return replace(record, areas=areas, keypoints=np.array(points, np.float32).reshape(-1, keypoints, 3))


def gathered(path: Path, size: NDArray[np.float32], rows: Sequence[tuple[dict[str, Any], str]]) -> Record:
    """Return a picture of ``size`` (width, height) with the boxes, outlines and crowds of its annotations.

    Each row has ``class``, ``bbox``, and perhaps ``segmentation`` and ``iscrowd``; with it comes what an
    InputError about it begins with.
    """
    objects, crowds = [], []
    for row, said in rows:
        box = _shares(row.get("bbox"), size, said)
        seen = Region(box, row["class"], _outline(row.get("segmentation"), size, box, said))
        (crowds if row.get("iscrowd") else objects).append(seen)
    return Record(
        path,
        np.array([seen.box for seen in objects], np.float32).reshape(-1, 4),
        np.array([seen.kind for seen in objects], np.int64),
        tuple(seen.outline for seen in objects),
        size=(round(float(size[0])), round(float(size[1]))),
        crowds=tuple(crowds),
    )


def _points(flat: Any, count: int, size: NDArray[np.float32], said: str) -> NDArray[np.float32]:
    """Return keypoints (count, 3) in shares of a picture of ``size`` (width, height)."""
    if isinstance(flat, list) and len(flat) != 3 * count:
        raise InputError(f"{said}: {len(flat)} numbers of keypoints, {3 * count} are right")
    if not are_numbers(flat):
        raise InputError(f"{said}: keypoints: {short(flat)}, {3 * count} numbers are right")
    points = np.reshape(np.array(flat, np.float32), (count, 3)) / np.array([*size, 1], np.float32)
    check_keypoints(points, said)
    return points


def _shares(xywh: Any, size: NDArray[np.float32], said: str) -> NDArray[np.float32]:
    """Return a box (4,) xyxy in shares of a picture of ``size`` (width, height).

    InputError, beginning with ``said``, for one of no four numbers, without area, or outside the picture.
    """
    if not are_numbers(xywh) or len(xywh) != 4:
        raise InputError(f"{said}: bbox: {short(xywh)}, [x, y, width, height] is right")
    x, y, w, h = xywh
    width, height = size.tolist()
    if w <= 0 or h <= 0:
        raise InputError(f"{said}: bbox {xywh} has no area")
    if min(x, y) < -_SLACK or x + w > width + _SLACK or y + h > height + _SLACK:
        raise InputError(f"{said}: bbox {xywh} reaches outside its picture of {width:g}x{height:g}")
    return np.clip(np.array([x, y, x + w, y + h], np.float32) / np.tile(size, 2), 0, 1)


def _outline(segmentation: Any, size: NDArray[np.float32], box: NDArray[np.float32], said: str) -> Outline:
    """Return polygons in shares of a picture of ``size`` (width, height); the box where there are none.

    ``segmentation`` is a list of polygons or a run-length code. InputError, beginning with ``said``, for
    what is neither, for a polygon that is far outside, and for a code of another size.
    """
    if isinstance(segmentation, dict):
        found = _contours(segmentation, size, said)
    elif isinstance(segmentation, list) or segmentation is None:
        found = tuple(_polygon(part, size, said) for part in segmentation or ())
    else:
        raise InputError(
            f"{said}: segmentation: {short(segmentation)}, polygons or a run-length code is right"
        )
    if found:
        return found
    x0, y0, x1, y1 = box.tolist()
    return (np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32),)


def _polygon(flat: Any, size: NDArray[np.float32], said: str) -> NDArray[np.float32]:
    if not are_numbers(flat) or len(flat) < 6 or len(flat) % 2:
        raise InputError(
            f"{said}: segmentation: {short(flat)}, polygons as [x1, y1, x2, y2, x3, y3, ...] are right"
        )
    points = np.reshape(np.array(flat, np.float32), (-1, 2)) / size
    if is_far(points):
        raise InputError(
            f"{said}: segmentation: {short(flat)} is far outside its picture of {size[0]:g}x{size[1]:g}"
        )
    return points


def _contours(code: dict[str, Any], size: NDArray[np.float32], said: str) -> Outline:
    """Return the outlines of a run-length code; none where it is of no pixel."""
    from pycocotools import mask

    height, width = round(float(size[1])), round(float(size[0]))
    if (given := code.get("size")) != [height, width]:
        raise InputError(
            f"{said}: segmentation.size: {short(given)}, the picture's [{height}, {width}] is right"
        )
    if _runs(counts := code.get("counts")) != width * height:
        raise InputError(
            f"{said}: segmentation.counts: {short(counts)}, runs of all {width * height} pixels are right"
        )
    bitmap = mask.decode(mask.frPyObjects(code, height, width) if isinstance(counts, list) else code)
    return traced(bitmap)


def _runs(counts: Any) -> int:
    """Return how many pixels a run-length code is of, -1 for what is none: decoding does not look.

    A packed one writes each run from the fourth on as its difference from the one before the last, in digits
    of five bits, the lowest first (cocoapi, maskApi.c).
    """
    if isinstance(counts, list) and all(isinstance(run, int) and run >= 0 for run in counts):
        return sum(counts)
    if not isinstance(counts, str) or not _CODE.fullmatch(counts):
        return -1
    digits = np.frombuffer(counts.encode(), np.uint8).astype(np.int64) - 48
    last = np.flatnonzero(digits < 32)  # of each number
    first = np.concatenate([[0], last[:-1] + 1])
    place = np.arange(len(digits)) - np.repeat(first, last - first + 1)
    numbers = np.add.reduceat((digits & 31) << 5 * place, first)
    numbers -= np.where(digits[last] & 16, np.int64(32) << 5 * place[last], 0)
    runs = np.concatenate([numbers[:1], numbers[1::2].cumsum(), numbers[2::2].cumsum()])
    return int(runs.sum()) if runs.min() >= 0 else -1

"""Annotations: a data set of COCO's form (cocodataset.org, format-data), checked before it is used."""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from engines.errors import InputError

__all__ = ["check_joints", "check_outlines", "read_annotations", "read_lists"]

_LISTS = ("images", "annotations", "categories")
_JOINTS = 17  # that COCO's measure of keypoints knows

Row = dict[str, Any]


def read_annotations(path: Path) -> Any:
    """Return a pycocotools.coco.COCO of a file whose every row has what the measure of boxes reads.

    What may be left out: ``iscrowd`` is 0, the ``area`` of what has no keypoints that of its box. The ids of
    annotations are made anew, as 0 is none to pycocotools. Raises InputError with the row and the key.
    """
    if not find_spec("pycocotools"):
        raise InputError('evaluate: pycocotools is not installed, pip install "streamer[evaluate]"')
    from pycocotools.coco import COCO  # type: ignore[import-untyped]

    if not path.is_file():
        raise InputError(f"{path}: no such file, annotations of COCO's form (JSON) are needed")
    tree = _whole(path)
    for key, field, kinds, right in (
        ("images", "file_name", str, "the path of a picture"),
        ("categories", "name", str, "a text"),
    ):
        _check_ids(tree[key], f"{path}: {key}")
        for number, row in enumerate(tree[key]):
            if not isinstance(row.get(field), kinds) or not row[field]:
                _refuse(f"{path}: {key}[{number}]", row, field, right)
    tree["annotations"] = [
        _annotation(row, number, f"{path}: annotations[{number}]")
        for number, row in enumerate(tree["annotations"])
    ]
    truth = COCO()
    truth.dataset = tree
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    return truth


def read_lists(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """Return the JSON object of a file, with a list under each of the keys; what is in them is not checked.

    Raises InputError for a file that cannot be read, and for what is not of COCO's form.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}, a COCO label file is right") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not annotations of COCO's form: not JSON: {error}") from None
    for key in keys:
        if not isinstance(tree, dict) or not isinstance(tree.get(key), list):
            raise InputError(
                f"{path}: not annotations of COCO's form: {key}: no list of objects, a file of "
                f"{', '.join(keys)} is right"
            )
    return dict(tree)


def check_outlines(truth: Any, path: Path) -> None:
    """Raise InputError for an annotation without an outline: a mask is not measured against a box."""
    for number, row in enumerate(truth.dataset["annotations"]):
        told = row.get("segmentation")
        polygons = isinstance(told, list) and all(
            isinstance(one, list) and len(one) >= 6 and not len(one) % 2 and _numbers(one) for one in told
        )
        encoded = isinstance(told, dict) and _numbers(told.get("size")) and told.get("counts")
        if not told or not (polygons or encoded):
            _refuse(f"{path}: annotations[{number}]", row, "segmentation", "polygons or a run-length code")


def check_joints(truth: Any, joints: int, path: Path) -> None:
    """Raise InputError where keypoints are not as many as the model's, or more or less than COCO measures.

    An annotation without any is one of nobody whose joints are seen.
    """
    if joints != _JOINTS:
        raise InputError(f"model: {joints} keypoints, the {_JOINTS} that COCO's measure knows are right")
    for number, row in enumerate(truth.dataset["annotations"]):
        told = row.setdefault("keypoints", [0] * (3 * joints))
        if not _numbers(told) or len(told) != 3 * joints:
            seen = f"{len(told)} numbers" if isinstance(told, list) else repr(told)
            raise InputError(
                f"{path}: annotations[{number}]: keypoints: {seen}, x, y and visibility of the model's "
                f"{joints} are right"
            )
        row.setdefault("num_keypoints", sum(seen > 0 for seen in told[2::3]))


def _whole(path: Path) -> dict[str, Any]:
    """The lists of the file, none of them empty."""
    tree = read_lists(path, _LISTS)
    for key in _LISTS:
        if not all(isinstance(row, dict) for row in tree[key]):
            raise InputError(
                f"{path}: not annotations of COCO's form: {key}: no list of objects, a file of "
                f"{', '.join(_LISTS)} is right"
            )
        if not tree[key]:
            raise InputError(f"{path}: {key}: none in it, there is nothing to measure")
    return tree


def _check_ids(rows: list[Row], where: str) -> None:
    """They are all there, of one kind, and each only once."""
    first, seen = rows[0].get("id"), set()
    kind, right = (str, "a text") if isinstance(first, str) else (int, "a whole number")
    for number, row in enumerate(rows):
        told = row.get("id")
        if not isinstance(told, kind) or told in seen:
            _refuse(f"{where}[{number}]", row, "id", f"{right} that no other has")
        seen.add(told)


def _annotation(row: Row, number: int, where: str) -> Row:
    box: Any = row.get("bbox")
    area = row.get("area")
    if not _numbers(box) or len(box) != 4:
        _refuse(where, row, "bbox", "[x, y, width, height]")
    for key in ("image_id", "category_id"):
        if not isinstance(row.get(key), int | str):
            _refuse(where, row, key, "the id of another row")
    if area is None and not row.get("keypoints"):
        area = box[2] * box[3]
    if not _numbers([area]):
        _refuse(where, row, "area", "a number of pixels")
    if row.get("iscrowd", 0) not in (0, 1):
        _refuse(where, row, "iscrowd", "0 or 1")
    return {**row, "id": number + 1, "area": area, "iscrowd": int(row.get("iscrowd", 0))}


def _numbers(values: Any) -> bool:
    """Whether that is a list of finite numbers."""
    return isinstance(values, list) and all(
        isinstance(value, int | float) and math.isfinite(value) for value in values
    )


def _refuse(where: str, row: Row, key: str, right: str) -> NoReturn:
    seen = repr(row[key]) if key in row else "none"
    raise InputError(f"{where}: {key}: {seen if len(seen) < 60 else seen[:60] + '...'}, {right} is right")

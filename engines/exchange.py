"""Exchange: detections in the forms that other libraries take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.detections import Detections
from engines.errors import InputError
from engines.masks import bitmap, rle

__all__ = ["to_coco", "to_supervision"]


def to_coco(
    found: Detections, size: tuple[int, int], *, image: int = 0, categories: Mapping[int, int] | None = None
) -> list[dict[str, Any]]:
    """Return a picture's detections as COCO's results, one object each (cocodataset.org, format-results).

    ``size`` (width, height) is the picture's, ``image`` its id. ``categories`` has the id of each class and
    leaves out the classes that it lacks; without it a class is its own id. ``bbox`` is [x, y, width, height];
    ``segmentation`` (a compressed run-length code) and ``keypoints`` are there where the model gives them.
    """
    rows = []
    for row, (label, box) in enumerate(zip(found.classes.tolist(), found.boxes, strict=True)):
        if categories is not None and label not in categories:
            continue
        x1, y1, x2, y2 = box.astype(float).tolist()
        told: dict[str, Any] = {
            "image_id": image,
            "category_id": categories[label] if categories else label,
            "score": float(found.scores[row]),
            "bbox": [x1, y1, x2 - x1, y2 - y1],
        }
        if len(found.masks):
            told["segmentation"] = rle(found.masks, row, box, size)
        if found.keypoints.shape[1]:
            told["keypoints"] = found.keypoints[row].ravel().astype(float).tolist()
        rows.append(told)
    return rows


def to_supervision(found: Detections, size: tuple[int, int], classes: Sequence[str] = ()) -> Any:
    """Return a picture's detections as a ``supervision.Detections`` (supervision.roboflow.com).

    ``size`` (width, height) is the picture's: masks become bitmaps (N, height, width). Tracks are there where
    one row has an id. ``data`` holds ``class_name`` where ``classes`` names them, and ``keypoints`` (N, K, 3)
    where there are some. Raises InputError where supervision is not installed.
    """
    try:
        import supervision
    except ImportError as error:
        raise InputError("supervision: not installed, pip install supervision") from error
    data: dict[str, NDArray[Any]] = {}
    if classes:
        known = dict(enumerate(classes))
        data["class_name"] = np.array([known.get(label, str(label)) for label in found.classes.tolist()], str)
    if found.keypoints.shape[1]:
        data["keypoints"] = found.keypoints
    return supervision.Detections(
        xyxy=found.boxes,
        mask=_bitmaps(found, size) if len(found.masks) else None,
        confidence=found.scores,
        class_id=found.classes.astype(int),
        tracker_id=found.ids if (found.ids >= 0).any() else None,
        data=data,
    )


def _bitmaps(found: Detections, size: tuple[int, int]) -> NDArray[np.bool_]:
    whole = np.zeros((len(found), size[1], size[0]), bool)
    for row, box in enumerate(found.boxes):
        left, top, pixels = bitmap(found.masks, row, box, size)
        whole[row, top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return whole

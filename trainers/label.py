"""Pseudo-labels: what a trained model finds in pictures without labels, as a COCO file to train on."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from engines.detections import Detections
from engines.errors import InputError
from engines.masks import rle
from trainers import files
from trainers.data.pictures import find_pictures, read_image
from trainers.evaluate import FILLED, Predict, predictor

__all__ = ["label"]

Tell = Callable[[int, int], object]  # pictures done, pictures in all


def label(
    model: str | Path,
    pictures: str | Path,
    output: str | Path,
    *,
    conf: float = 0.5,
    iou: float = 0.6,
    tell: Tell = lambda done, total: None,
) -> dict[str, int]:
    """Write a COCO file of what a checkpoint (.pt) or a model file finds; return the count of each class.

    Objects that score ``conf`` or more are written, with their score, and their masks or keypoints where the
    model gives them; ``iou`` is the NMS threshold of a model that needs NMS. Pictures in which nothing is
    found stay in: they teach the background. InputError if nothing is found at all.
    """
    found = find_pictures(Path(pictures))
    images: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        predict, classes = _opened(model, conf, iou, stack)
        for number, path in enumerate(found.values(), 1):
            image = read_image(path)
            height, width = image.shape[:2]
            images.append({"id": number, "file_name": path.name, "width": width, "height": height})
            detections = predict([image])[0]
            detections = detections[detections.scores >= conf]
            for row in range(len(detections)):
                entry = _annotation(detections, row, (width, height))
                if entry["area"] > 0:
                    rows.append(entry | {"id": len(rows) + 1, "image_id": number})
            tell(number, len(found))
    if not rows:
        raise InputError(
            f"label: nothing scores {conf:g} in {len(found)} pictures, a smaller --conf is right"
        )
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, 1)]
    tree = {"images": images, "annotations": rows, "categories": categories}
    files.write(Path(output), json.dumps(tree).encode())
    return {name: sum(row["category_id"] == k for row in rows) for k, name in enumerate(classes, 1)}


def _opened(
    model: str | Path, conf: float, iou: float, stack: contextlib.ExitStack
) -> tuple[Predict, tuple[str, ...]]:
    if Path(model).suffix == ".pt":
        from trainers.checkpoints import load, network

        saved = load(model)
        net, config = network(saved)
        return predictor(net, config.size, conf=conf, iou=iou), saved.classes
    import engines
    from engines.description import nms_iou

    options = engines.Options(conf=conf, iou=nms_iou(model, iou))
    loaded = stack.enter_context(engines.load(model, options))
    return loaded.predict, loaded.spec.classes


def _annotation(found: Detections, row: int, size: tuple[int, int]) -> dict[str, Any]:
    """Write a detection as COCO's annotation; the area is the mask's, of a person or a box an estimate."""
    from pycocotools import mask

    x0, y0, x1, y1 = (round(float(edge), 2) for edge in found.boxes[row])
    x0, y0, x1, y1 = max(x0, 0.0), max(y0, 0.0), min(x1, float(size[0])), min(y1, float(size[1]))
    entry: dict[str, Any] = {
        "category_id": int(found.classes[row]) + 1,
        "bbox": [x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)],
        "area": max(x1 - x0, 0.0) * max(y1 - y0, 0.0),
        "iscrowd": 0,
        "score": round(float(found.scores[row]), 4),
    }
    if len(found.masks):
        code = rle(found.masks, row, found.boxes[row], size)
        entry |= {"segmentation": code, "area": float(mask.area(code))}
    elif found.keypoints.shape[1]:
        entry["area"] *= FILLED
    if found.keypoints.shape[1]:
        points = found.keypoints[row]
        seen = (points[:, 2] >= 0.5)[:, None]
        marked = np.where(seen, np.column_stack([points[:, :2].round(2), np.full(len(points), 2)]), 0)
        entry["keypoints"] = marked.ravel().tolist()
        entry["num_keypoints"] = int(seen.sum())
    return entry

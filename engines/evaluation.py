"""Evaluation: average precision of a model on a data set of COCO's form, by COCO's own rules."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engines.annotations import check_joints, check_outlines, read_annotations
from engines.description import nms_iou
from engines.detections import Detections
from engines.errors import InputError
from engines.exchange import to_coco
from engines.model import Model, load
from engines.options import Options
from engines.pictures import read_picture
from engines.spec import ModelSpec

__all__ = ["Evaluation", "coco_options", "evaluate"]

_BOXES = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")
_KINDS = {"bbox": _BOXES, "segm": _BOXES, "keypoints": ("AP", "AP50", "AP75", "AP_medium", "AP_large")}

Progress = Callable[[int, int], object]  # pictures done, pictures in all


@dataclass(frozen=True, slots=True)
class Evaluation:
    """COCO's figures, 0 to 1; -1 where the data set has no such object."""

    model: str
    pictures: int
    figures: dict[str, dict[str, float]]  # bbox, segm, keypoints -> AP, AP50, ...
    classes: dict[str, dict[str, float]] = field(default_factory=dict)  # class -> bbox, segm, ... -> AP


def evaluate(
    model: str | Path,
    annotations: Path,
    images: Path,
    options: Options | None = None,
    progress: Progress = lambda done, total: None,
) -> Evaluation:
    """Run a model over the pictures of an annotation file and measure boxes, and masks or keypoints it gives.

    Without ``options`` it runs as `coco_options` says. Only categories that the model knows are counted; they
    are matched by name. Raises InputError for files that cannot be read and where no name matches.
    """
    truth = read_annotations(annotations)
    with load(model, options or coco_options(model)) as loaded:
        if loaded.spec.task == "embed":
            raise InputError(f"model: {loaded.spec.name}: it gives embeddings, one that detects is needed")
        numbers = _categories(loaded.spec, truth, annotations)
        kinds = _kinds(loaded.spec, truth, annotations)
        categories = {n: numbers[name] for n, name in enumerate(loaded.spec.classes) if name in numbers}
        rows = [
            row
            for image, size, detections in _run(loaded, truth, images, progress)
            for row in to_coco(detections, size, image=image, categories=categories)
        ]
        figures: dict[str, dict[str, float]] = {}
        classes: dict[str, dict[str, float]] = {name: {} for name in numbers}
        for kind in kinds:
            scored = _score(truth, _of_kind(rows, kind), kind, numbers)
            figures[kind] = dict(zip(_KINDS[kind], map(float, scored.stats), strict=False))
            for place, name in enumerate(sorted(numbers, key=lambda name: numbers[name])):
                classes[name][kind] = _class_ap(scored, place)
        return Evaluation(loaded.spec.name, len(truth.imgs), figures, classes)


def coco_options(model: str | Path) -> Options:
    """Return how detectors are compared: low threshold, every class of a place, and more than is counted."""
    return Options(conf=0.001, iou=nms_iou(model, 0.65), labels="all", candidates=1000, max_det=300)


def _categories(spec: ModelSpec, truth: Any, path: Path) -> dict[str, int]:
    """Name -> category id of the model's classes that the data set has."""
    numbers = {category["name"]: number for number, category in truth.cats.items()}
    known = {name: numbers[name] for name in spec.classes if name in numbers}
    if not known:
        raise InputError(
            f"{path}: categories: {', '.join(list(numbers)[:6])}, none of them is a class of {spec.name} "
            f"({', '.join(spec.classes[:6])})"
        )
    return known


def _run(model: Model, truth: Any, images: Path, progress: Progress) -> list[tuple[int, Any, Detections]]:
    """(image id, (width, height), detections) of every picture; its size is put where the file tells none."""
    found = []
    numbers = sorted(truth.imgs)
    step = model.batch * len(model.engine.requests) * 2
    for start in range(0, len(numbers), step):
        part = numbers[start : start + step]
        pictures = [read_picture(images / truth.imgs[number]["file_name"]) for number in part]
        for number, picture, detections in zip(part, pictures, model.predict(pictures), strict=True):
            height, width = picture.shape[:2]
            truth.imgs[number] |= {"height": height, "width": width} | truth.imgs[number]
            found.append((number, (width, height), detections))
        progress(len(found), len(numbers))
    return found


def _kinds(spec: ModelSpec, truth: Any, path: Path) -> list[str]:
    """What the model gives and the data set knows, checked."""
    kinds = ["bbox"]
    if spec.task == "segment" and any(row.get("segmentation") for row in truth.anns.values()):
        check_outlines(truth, path)
        kinds.append("segm")
    if spec.task == "pose" and any(row.get("keypoints") for row in truth.anns.values()):
        check_joints(truth, len(spec.keypoints), path)
        kinds.append("keypoints")
    return kinds


def _of_kind(rows: Iterable[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """What COCO's tools are given of results to measure one thing: by the others they would go, too."""
    own = {"bbox": "bbox", "segm": "segmentation", "keypoints": "keypoints"}[kind]
    return [{key: row[key] for key in ("image_id", "category_id", "score", own)} for row in rows]


def _score(truth: Any, results: list[dict[str, Any]], kind: str, numbers: dict[str, int]) -> Any:
    from pycocotools.cocoeval import COCOeval  # type: ignore[import-untyped]

    if not results:  # pycocotools takes no empty list: one detection of nothing
        image, category = next(iter(truth.imgs)), next(iter(numbers.values()))
        nothing = {"bbox": [0, 0, 0, 0], "keypoints": [0.0] * 51}
        size = [truth.imgs[image]["height"], truth.imgs[image]["width"]]
        empty = nothing.get(kind) or {"size": size, "counts": ""}
        key = "segmentation" if kind == "segm" else kind
        results = [{"image_id": image, "category_id": category, "score": 0.0, key: empty}]
    with contextlib.redirect_stdout(io.StringIO()):
        scored = COCOeval(truth, truth.loadRes(results), kind)
        scored.params.catIds = sorted(numbers.values())
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    return scored


def _class_ap(scored: Any, place: int) -> float:
    precision = scored.eval["precision"][:, :, place, 0, -1]
    known = precision[precision > -1]
    return float(np.mean(known)) if known.size else -1.0

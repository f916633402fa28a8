"""Average precision by pycocotools, of a checkpoint or of an exported file."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engines.detections import Detections, Masks
from engines.letterbox import Placement, place
from engines.masks import rle
from engines.spec import Task
from engines.suppress import nms
from trainers.augment import fit
from trainers.confusion import confusion
from trainers.data.batch import Sample
from trainers.models import prepare

__all__ = [
    "FILLED",
    "Predict",
    "Report",
    "classes_of",
    "evaluate",
    "measure",
    "opened",
    "predictor",
    "task_of",
]

FILLED = 0.53  # share of a person's box that the person fills, on average

Predict = Callable[[Sequence[NDArray[np.uint8]]], list[Detections]]  # RGB pictures -> what is in them


@dataclass(frozen=True, slots=True)
class Report:
    """COCO's box AP (mean over IoU .50:.95) and AP at IoU .50, over all and for each class; 0..1.

    NaN is of what the pictures have no object of.
    """

    ap: float
    ap50: float
    classes: dict[str, tuple[float, float]]  # name -> AP, AP50
    pictures: int
    parts: dict[str, tuple[float, float]] = field(default_factory=dict)  # masks, keypoints -> AP, AP50
    # name -> precision of the boxes at IoU .50 where recall is 0, .01, ... 1
    curves: dict[str, tuple[float, ...]] = field(default_factory=dict, compare=False)
    # [truth][found] of classes at score .25, IoU .50; the last of each is the background
    confusion: tuple[tuple[int, ...], ...] = field(default=(), compare=False)

    def figures(self) -> dict[str, tuple[float, float]]:
        """Return AP and AP50 by what they are of: all boxes, the boxes of each class, masks, keypoints."""
        boxes = {"all": (self.ap, self.ap50), **self.classes} if self.classes else {}
        return {**boxes, **self.parts}


def task_of(model: str | Path) -> Task:
    """Return what a checkpoint or a model file gives."""
    if Path(model).suffix == ".pt":
        from trainers.checkpoints import load, network

        task: Task = network(load(model))[0].task
        return task
    import engines

    with contextlib.closing(engines.load(model)) as loaded:
        return loaded.spec.task


def classes_of(model: str | Path) -> tuple[str, ...]:
    """Return the names of the classes that a checkpoint or a model file knows."""
    if Path(model).suffix == ".pt":
        from trainers.checkpoints import load

        return load(model).classes
    from engines.description import describe

    return describe(model).spec.classes


def evaluate(model: str | Path, samples: Sequence[Sample], names: Sequence[str] = ()) -> Report:
    """Measure a checkpoint (.pt) by torch, or a model file (.onnx, ...) through `engines.load`.

    ``names`` are those of its classes that are measured, in the order of the samples'; none = all.
    """
    with opened(model) as (predict, classes):
        if not names:
            return measure(predict, samples, classes)
        return measure(_only(predict, [classes.index(name) for name in names]), samples, tuple(names))


def _only(predict: Predict, classes: Sequence[int]) -> Predict:
    """Return a function that finds these classes only, each by its place among them."""
    place = {number: row for row, number in enumerate(classes)}

    def chosen(images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        kept = [found[np.isin(found.classes, classes)] for found in predict(images)]
        return [
            replace(found, classes=np.array([place[k] for k in found.classes.tolist()], np.int32))
            for found in kept
        ]

    return chosen


@contextlib.contextmanager
def opened(model: str | Path) -> Iterator[tuple[Predict, tuple[str, ...]]]:
    """Open a checkpoint or a model file; give what finds everything in pictures, and the classes."""
    if Path(model).suffix == ".pt":
        from trainers.checkpoints import load, network

        checkpoint = load(model)
        net, config = network(checkpoint)
        yield predictor(net, config.size), checkpoint.classes
        return
    import engines
    from engines.description import nms_iou

    options = engines.Options(conf=0.001, iou=nms_iou(model, 0.6), max_det=100, labels="all")
    with contextlib.closing(engines.load(model, options)) as loaded:
        yield loaded.predict, loaded.spec.classes


def predictor(net: Any, size: tuple[int, int], conf: float = 0.001, iou: float = 0.6) -> Predict:
    """Return a function that runs a network in torch and suppresses; slow and simple."""

    def predict(images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        found = []
        device = next(net.parameters()).device
        for image in images:
            empty = Sample(image, np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
            fitted = torch.from_numpy(fit(empty, size, net.input.resize).image)
            pixels = prepare(fitted.permute(2, 0, 1)[None].float().to(device) / 255, net.input)
            with torch.no_grad():
                output = {
                    name: part[0].cpu().numpy() for name, part in net.decode(net.eval()(pixels)).items()
                }
            scores = output["scores"]
            cell, label = np.nonzero(scores > conf)
            best = np.argsort(-scores[cell, label], kind="stable")[:300]
            cell, label = cell[best], label[best]
            boxes = output["boxes"][cell]
            kept = nms(boxes, scores[cell, label], label, iou)[:100]
            height, width = image.shape[:2]
            at = place((width, height), size, net.input.resize)
            own = at.to_source(boxes[kept].reshape(-1, 2, 2)).reshape(-1, 4)
            own = np.clip(own, 0, np.array([width, height] * 2, np.float32))
            parts = {name: part[cell[kept]] for name, part in output.items() if name != "prototypes"}
            found.append(
                Detections.of(
                    own,
                    scores[cell, label][kept],
                    label[kept],
                    **_extras(parts, output.get("prototypes"), at, size),
                )
            )
        return found

    return predict


def _extras(
    parts: dict[str, Any], prototypes: NDArray[np.float32] | None, at: Placement, size: tuple[int, int]
) -> dict[str, Any]:
    """Return masks or keypoints of the chosen rows in the picture's pixels, as their task has them."""
    if prototypes is not None:
        grids = np.einsum("np,phw->nhw", parts["coefficients"], prototypes)
        corners = np.array([[0, 0], size], np.float32)
        regions = np.tile(at.to_source(corners).reshape(1, 4), (len(grids), 1))
        return {"masks": Masks(tuple(grids), regions)}
    if "keypoints" in parts:
        points = parts["keypoints"]
        return {"keypoints": np.concatenate([at.to_source(points[..., :2]), points[..., 2:]], 2)}
    return {}


def measure(predict: Predict, samples: Sequence[Sample], classes: tuple[str, ...]) -> Report:
    """Compare predictions with the samples by COCO's rules.

    Masks and keypoints are measured where the samples have them; keypoints of classes that have any. What is
    found in crowds counts neither for nor against. Each sample is asked for once, its pixels are not kept.
    """
    found, seen = [], []
    for sample in samples:
        found += predict([sample.image])
        seen.append(replace(sample, image=np.zeros((*sample.image.shape[:2], 0), np.uint8)))
    samples = seen
    precision = _precision(samples, found, classes, "bbox")
    by_class = {
        name: (_mean(precision[:, :, k]), _mean(precision[:1, :, k])) for k, name in enumerate(classes)
    }
    parts = {}
    for name, kind, known in (
        ("masks", "segm", any(len(sample.masks) for sample in samples)),
        ("keypoints", "keypoints", any(sample.keypoints.size for sample in samples)),
    ):
        if known:
            further = _precision(samples, found, classes, kind)
            parts[name] = (_mean(further), _mean(further[:1]))
    curves = {
        name: tuple(precision[0, :, k].tolist()) for k, name in enumerate(classes) if precision[0, 0, k] >= 0
    }
    confused = confusion(samples, found, len(classes))
    return Report(_mean(precision), _mean(precision[:1]), by_class, len(samples), parts, curves, confused)


def _precision(
    samples: Sequence[Sample], found: Sequence[Detections], classes: tuple[str, ...], kind: str
) -> NDArray[np.float64]:
    """Return pycocotools' precision (IoU thresholds, recall steps, classes); -1 where a class is absent.

    ``kind`` is pycocotools' bbox, segm or keypoints.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    posed = {int(k) for s in samples for k, p in zip(s.classes, s.keypoints, strict=False) if p.any()}
    truth: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image, (sample, detections) in enumerate(zip(samples, found, strict=True)):
        shape = (sample.image.shape[1], sample.image.shape[0])
        for row in (*_objects(sample, kind, image, shape), *_crowds(sample, kind, image, shape)):
            truth.append(row | {"id": len(truth) + 1})
        results += _rows(detections, kind, image, shape)
    if kind == "keypoints":
        truth = [row for row in truth if row["category_id"] in posed]
        results = [row for row in results if row["category_id"] in posed]
    coco = COCO()
    coco.dataset = {
        "images": [
            {"id": image, "height": sample.image.shape[0], "width": sample.image.shape[1]}
            for image, sample in enumerate(samples)
        ],
        "annotations": truth,
        "categories": [{"id": number, "name": name} for number, name in enumerate(classes)],
    }
    if not results:
        known = {row["category_id"] for row in truth if not row["iscrowd"] and row.get("num_keypoints", 1)}
        none = np.where([number in known for number in range(len(classes))], 0.0, -1.0)
        return np.broadcast_to(none, (10, 101, len(classes)))
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        scored = COCOeval(coco, coco.loadRes(results), kind)
        scored.evaluate()
        scored.accumulate()
    precision: NDArray[np.float64] = scored.eval["precision"][:, :, :, 0, -1]
    return precision


def _objects(sample: Sample, kind: str, image: int, shape: tuple[int, int]) -> list[dict[str, Any]]:
    """Write the objects of a sample as COCO's annotations."""
    real = Detections.of(
        sample.boxes,
        np.ones(len(sample.boxes)),
        sample.classes,
        masks=sample.masks,
        **({"keypoints": sample.keypoints} if len(sample.keypoints) else {}),
    )
    rows = _rows(real, kind, image, shape)
    for row, area in zip(rows, sample.areas.tolist() or [0.0] * len(rows), strict=False):
        row |= {"iscrowd": 0, "area": area or row["area"]}
    return rows


def _crowds(sample: Sample, kind: str, image: int, shape: tuple[int, int]) -> list[dict[str, Any]]:
    """Write the crowds of a sample as COCO's annotations; they have no keypoints."""
    count, joints = len(sample.crowds.boxes), sample.keypoints.shape[1]
    real = Detections.of(
        sample.crowds.boxes,
        np.ones(count),
        sample.crowds.classes,
        masks=sample.crowds.masks,
        keypoints=np.zeros((count, joints, 3), np.float32),
    )
    return [row | {"iscrowd": 1} for row in _rows(real, kind, image, shape)]


def _rows(found: Detections, kind: str, image: int, shape: tuple[int, int]) -> list[dict[str, Any]]:
    """Write detections of one picture of ``shape`` (width, height) as COCO's results."""
    rows = []
    for row, box in enumerate(_xywh(found.boxes)):
        entry: dict[str, Any] = {
            "image_id": image,
            "category_id": int(found.classes[row]),
            "score": float(found.scores[row]),
            "bbox": box,
            "area": box[2] * box[3],
        }
        if kind == "segm":
            if not len(found.masks):
                continue
            entry["segmentation"] = rle(found.masks, row, found.boxes[row], shape)
        if kind == "keypoints":
            if not found.keypoints.shape[1]:
                continue
            points = found.keypoints[row]
            entry["area"] *= FILLED
            entry["keypoints"] = [float(value) for value in points.ravel()]
            entry["num_keypoints"] = int((points[:, 2] > 0).sum())
        rows.append(entry)
    return rows


def _xywh(boxes: NDArray[np.float32]) -> list[list[float]]:
    wide = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    return [[float(v) for v in row] for row in wide]


def _mean(precision: NDArray[np.float64]) -> float:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else math.nan

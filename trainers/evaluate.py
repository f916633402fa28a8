"""Average precision by pycocotools, of a checkpoint or of an exported file."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engines.detections import Detections
from engines.letterbox import place
from engines.suppress import nms
from trainers.augment import fit
from trainers.data.batch import Sample
from trainers.models import prepare

__all__ = ["Predict", "Report", "evaluate", "measure", "predictor"]

Predict = Callable[[Sequence[NDArray[np.uint8]]], list[Detections]]  # RGB pictures -> what is in them


@dataclass(frozen=True, slots=True)
class Report:
    """COCO's box AP (mean over IoU .50:.95) and AP at IoU .50, over all and for each class; 0..1."""

    ap: float
    ap50: float
    classes: dict[str, tuple[float, float]]  # name -> AP, AP50
    pictures: int


def evaluate(model: str | Path, samples: list[Sample]) -> Report:
    """Measure a checkpoint (.pt) by torch, or a model file (.onnx, ...) through `engines.load`."""
    if Path(model).suffix == ".pt":
        from trainers.checkpoints import load, network

        checkpoint = load(model)
        net, config = network(checkpoint)
        return measure(predictor(net, config.size), samples, checkpoint.classes)
    import engines

    with contextlib.closing(
        engines.load(model, engines.Options(conf=0.001, iou=0.6, max_det=100, labels="all"))
    ) as loaded:
        return measure(loaded.predict, samples, loaded.spec.classes)


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
            found.append(Detections.of(own, scores[cell, label][kept], label[kept]))
        return found

    return predict


def measure(predict: Predict, samples: list[Sample], classes: tuple[str, ...]) -> Report:
    """Compare predictions with the samples' boxes by COCO's rules."""
    found = [detections for sample in samples for detections in predict([sample.image])]
    precision = _precision(samples, found, classes)
    by_class = {
        name: (_mean(precision[:, :, k]), _mean(precision[:1, :, k])) for k, name in enumerate(classes)
    }
    return Report(_mean(precision), _mean(precision[:1]), by_class, len(samples))


def _precision(
    samples: list[Sample], found: list[Detections], classes: tuple[str, ...]
) -> NDArray[np.float64]:
    """Return pycocotools' precision (IoU thresholds, recall steps, classes); -1 where a class is absent."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image, (sample, detections) in enumerate(zip(samples, found, strict=True)):
        for box, kind in zip(_xywh(sample.boxes), sample.classes.tolist(), strict=True):
            row = {"id": len(truth) + 1, "image_id": image, "category_id": kind, "iscrowd": 0}
            truth.append(row | {"bbox": box, "area": box[2] * box[3]})
        rows = zip(_xywh(detections.boxes), detections.classes, detections.scores, strict=True)
        for box, kind, score in rows:
            results.append({"image_id": image, "category_id": int(kind), "bbox": box, "score": float(score)})
    coco = COCO()
    coco.dataset = {
        "images": [{"id": image} for image in range(len(samples))],
        "annotations": truth,
        "categories": [{"id": kind, "name": name} for kind, name in enumerate(classes)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        scored = COCOeval(coco, coco.loadRes(results) if results else COCO(), "bbox")
        if not results:
            return np.zeros((10, 101, len(classes)))
        scored.evaluate()
        scored.accumulate()
    precision: NDArray[np.float64] = scored.eval["precision"][:, :, :, 0, 2]
    return precision


def _xywh(boxes: NDArray[np.float32]) -> list[list[float]]:
    wide = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    return [[float(v) for v in row] for row in wide]


def _mean(precision: NDArray[np.float64]) -> float:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else 0.0

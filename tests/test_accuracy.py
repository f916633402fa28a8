"""Average precision on real pictures, by pycocotools, through the graph that streams run in."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import streamer
from engines.detections import Detections
from engines.masks import rle

pytestmark = pytest.mark.data

FILES = {
    "yolox": "yolox_nano_416.onnx",
    "yolov8": "derived/yolov8n_320_w16.onnx",
    "segment": "derived/yolov8n-seg_320_w16.onnx",
    "pose": "derived/yolo11n-pose_640_w16.onnx",
}
# COCO's rules: every score counts, and one place may be several classes.
RULES = {"conf": 0.001, "iou": 0.65, "max_det": 300, "candidates": 1000, "labels": "all"}


@pytest.fixture(scope="module")
def run(data_dir: Path) -> Callable[..., dict[int, Detections]]:
    """Detections of the pictures of tiny_coco by image id; each model is run once per set of options."""
    seen: dict[Any, dict[int, Detections]] = {}

    def by_image(name: str, **options: Any) -> dict[int, Detections]:
        key = (name, tuple(sorted(options.items())))
        if key not in seen:
            folder = data_dir / "gt" / "tiny_coco" / "val2017"
            images = [int(path.stem) for path in sorted(folder.glob("*.jpg"))]
            frames = streamer.stream(str(folder), model=str(data_dir / "models" / FILES[name]), **options)
            seen[key] = dict(zip(images, [frame.detections for frame in frames], strict=True))
        return seen[key]

    return by_image


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(
    ("name", "kind", "expected", "tolerance"),
    [
        ("yolox", "bbox", 0.339, 0.01),
        ("yolov8", "bbox", 0.330, 0.01),
        ("segment", "bbox", 0.329, 0.01),
        ("segment", "segm", 0.272, 0.015),
        ("pose", "bbox", 0.313, 0.01),
        ("pose", "keypoints", 0.556, 0.015),
    ],
)
def test_average_precision_is_that_of_the_reference(
    name: str,
    kind: str,
    expected: float,
    tolerance: float,
    backend: str,
    data_dir: Path,
    run: Callable[..., Any],
) -> None:
    found = run(name, backend=backend, **RULES)
    ap = average_precision(found, kind, name, data_dir)
    assert ap == pytest.approx(expected, abs=tolerance)


def average_precision(found: dict[int, Detections], kind: str, name: str, data_dir: Path) -> float:
    """AP at IoU (or OKS) .50:.95 of the pictures of tiny_coco."""
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    people = "person_keypoints_val2017.json" if name == "pose" else "instances_val2017.json"
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO(str(data_dir / "gt" / "tiny_coco" / "annotations" / people))
        result = cocoeval.COCOeval(truth, truth.loadRes(records(found, kind, truth)), kind)
        result.evaluate()
        result.accumulate()
        result.summarize()
    return float(result.stats[0])


def records(found: dict[int, Detections], kind: str, truth: Any) -> list[dict[str, Any]]:
    """What COCO's tools read; the models' classes are COCO's categories in order."""
    categories = sorted(truth.getCatIds())
    rows = []
    for image, seen in found.items():
        size = (truth.imgs[image]["width"], truth.imgs[image]["height"])
        for row in range(len(seen)):
            x1, y1, x2, y2 = map(float, seen.boxes[row])
            record: dict[str, Any] = {
                "image_id": image,
                "category_id": categories[seen.classes[row]],
                "score": float(seen.scores[row]),
            }
            if kind == "bbox":
                record["bbox"] = [x1, y1, x2 - x1, y2 - y1]
            elif kind == "segm":
                record["segmentation"] = rle(seen.masks, row, seen.boxes[row], size)
            else:
                record["keypoints"] = seen.keypoints[row].astype(float).ravel().tolist()
            rows.append(record)
    return rows

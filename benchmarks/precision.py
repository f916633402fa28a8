"""What fp32, bf16 and int8 cost and give on each backend: the whole table of docs/models.md.

    python -m benchmarks precision
    python -m benchmarks.precision --models yolov8n.onnx --calibrate street.mp4 --seconds 5

Average precision is COCO's for boxes on the pictures of STREAMER_TEST_DATA (or ../shared/data); twins are
calibrated on one of its videos, whose pictures are others. Exits with 1 where int8 loses more than .02 AP.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from engines.bench import measure_model
from engines.compile import compile_model
from engines.errors import InputError
from engines.evaluation import coco_options, evaluate
from engines.options import Options, Precision
from engines.quantize import quantize

DATA = Path(os.environ.get("STREAMER_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
MODELS = ("yolox_nano_416.onnx", "derived/yolov8n_320_w16.onnx")
LOSS = 0.02  # AP
WAYS: list[tuple[str, Precision, bool]] = [  # backend, precision, of the int8 twin
    ("openvino", "fp32", False),
    ("openvino", "bf16", False),
    ("openvino", "fp32", True),
    ("openvino", "bf16", True),
    ("onnxruntime", "fp32", False),
    ("onnxruntime", "fp32", True),
]


@dataclass(frozen=True, slots=True)
class Row:
    """One model in one precision on one backend."""

    model: str
    backend: str
    precision: str
    ap: float
    latency_ms: float  # median of one request that has all cores
    fps: float  # with as many in flight as keep the cores busy
    cpu_ms: float  # of one picture

    def __str__(self) -> str:
        cells = (self.model, self.backend, self.precision, f"{self.ap:.3f}".lstrip("0"))
        figures = (f"{self.latency_ms:.1f}", f"{self.fps:.0f}", f"{self.cpu_ms:.1f}")
        return f"| {' | '.join((*cells, *figures))} |"


def main(words: list[str] | None = None) -> int:
    """Print the table as it comes."""
    parser = argparse.ArgumentParser("python -m benchmarks.precision", description=__doc__)
    parser.add_argument("--models", nargs="+", default=[str(DATA / "models" / name) for name in MODELS])
    parser.add_argument("--coco", type=Path, default=DATA / "gt/tiny_coco/annotations/instances_val2017.json")
    parser.add_argument("--images", type=Path, default=DATA / "gt/tiny_coco/val2017")
    parser.add_argument("--calibrate", type=Path, default=DATA / "video/mmpose_demo.mp4")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement of speed")
    told = parser.parse_args(words)
    print("| model | backend | precision | box AP | latency ms | fps | CPU ms |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    kept = True
    with tempfile.TemporaryDirectory() as folder:
        for model in told.models:
            twin = quantize(model, told.calibrate, Path(folder) / f"{Path(model).stem}-int8.onnx")
            kept = all([_told(model, twin, told), kept])
    return 0 if kept else 1


def _told(model: str, twin: Path, told: argparse.Namespace) -> bool:
    """Print the rows of one model; whether int8 keeps its figures."""
    exact: dict[str, float] = {}
    kept = True
    for row in rows(model, twin, told):
        print(row, flush=True)
        exact.setdefault(row.backend, row.ap)
        kept &= "int8" not in row.precision or row.ap >= exact[row.backend] - LOSS
    return kept


def rows(model: str, twin: Path, told: argparse.Namespace) -> Iterator[Row]:
    """Measure one model in every way that this machine has."""
    for backend, precision, quantised in WAYS:
        file = str(twin) if quantised else model
        options = Options(backend=backend, precision=precision)
        try:
            compile_model(file, options).engine.close()
        except InputError as error:
            print(f"# {backend} {precision}: {error}", file=sys.stderr)
            continue
        scored = evaluate(
            file, told.coco, told.images, replace(coco_options(file), backend=backend, precision=precision)
        )
        speed = measure_model(file, options, told.seconds)
        name = f"int8, rest {precision}" if quantised else precision
        ap, fps = scored.figures["bbox"]["AP"], speed.throughput.fps
        cost = speed.throughput.cpu_ms
        yield Row(Path(model).stem, backend, name, ap, speed.latency.median_ms, fps, cost)


if __name__ == "__main__":
    sys.exit(main())

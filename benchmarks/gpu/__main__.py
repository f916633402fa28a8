"""The command: `python -m benchmarks.gpu`; see README.md beside it.

Exit codes: 0 all says what ONNX Runtime says, 1 something failed or differs, 2 there is nothing to run on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.gpu.cases import cases, prepare
from benchmarks.gpu.timing import Builder, Row, measure
from benchmarks.gpu.video import measure_video
from engines.backends.cuda import devices, find_driver
from engines.backends.tensorrt.binding import Binding, load_binding
from engines.backends.tensorrt.child import build_in_child
from engines.errors import InputError

DATA = Path(os.environ.get("STREAMER_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
REAL = ("derived/yolov8n_320_w16.onnx", "derived/yolov8n-seg_320_w16.onnx", "yolox_nano_416.onnx")
HEAD = f"{'model':24} {'':5} batch graph  build s plan MB   gpu ms  lat. ms  p99 ms      fps  end-to-end"


def main(words: list[str] | None = None) -> int:
    """Prepare, run, or both."""
    parser = argparse.ArgumentParser("python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("models", nargs="*", help="ONNX files, cards or shipped names")
    parser.add_argument("--batch", default="1,8,32")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--prepare", type=Path, help="only write the cases into this folder")
    parser.add_argument("--cases", type=Path, help="run the cases of this folder")
    parser.add_argument("--json", type=Path, help="write the rows into this file as well")
    told = parser.parse_args(words)
    batches = tuple(int(number) for number in told.batch.split(","))
    names = told.models or ["tiny-yolo", *(str(DATA / "models" / name) for name in REAL if DATA.is_dir())]
    if told.prepare:
        _prepare_all(names, batches, told.prepare)
        return 0
    with tempfile.TemporaryDirectory() as made:
        if not told.cases:
            _prepare_all(names, batches, Path(made))
        bindings = [load_binding(name) for name in ("tensorrt", "tensorrt_rtx") if find_spec(name)]
        rows = run(told.cases or Path(made), bindings, find_driver(), told.seconds)
    if told.json:
        told.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return 2 if not rows else 0 if all(row["right"] for row in rows) else 1


def run(
    folder: Path,
    bindings: Iterable[Binding],
    library: Any,
    seconds: float,
    build: Builder = build_in_child,
) -> list[dict[str, Any]]:
    """Measure every case with every TensorRT, print as it comes, and return the rows."""
    gpus = devices(library)
    if not gpus:
        print("benchmarks.gpu: no NVIDIA GPU that this machine's driver reaches", file=sys.stderr)
        return []
    rows = []
    for binding in bindings:
        gpu = gpus[0]
        print(
            f"{binding.name} {binding.version} on {gpu.name}, CUDA {gpu.driver // 1000}, {seconds:g} s each"
        )
        print(HEAD, flush=True)
        for case in cases(folder):
            how = measure_video if case.between else measure
            for row in how(case, binding, library, build, seconds):
                print(_line(row), flush=True)
                rows.append(
                    {"backend": binding.name, "version": binding.version, "gpu": gpu.name, **asdict(row)}
                )
    return rows


def _prepare_all(models: list[str], batches: tuple[int, ...], folder: Path) -> None:
    for model in models:
        prepare(model, batches, folder)


def _line(row: Row) -> str:
    figures = (
        f"{row.model:24} {row.precision:5} {row.batch:5} {'yes' if row.graph else 'no':5} "
        f"{row.build_s:8.1f} {row.plan_mb:7.1f} {row.gpu_ms:8.3f} {row.latency_ms:8.3f} {row.p99_ms:7.3f} "
        f"{row.fps:8.0f} {row.whole_fps:11.0f}"
    )
    return f"{figures}  {'ok' if row.right else 'WRONG'}: {row.note}"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f"error: {error}")

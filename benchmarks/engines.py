"""What engines add to a bare network: composition into the graph, suppression after it, and the second start.

    python -m benchmarks engines

Networks are those of STREAMER_TEST_DATA (or ../shared/data), on OpenVINO with one thread. Bare and composed
run in turns, and the least processor time of each counts, so that other work on the machine changes little.
The goals are stated per line; a miss exits with 1.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino

import engines
from benchmarks.pipeline import DATA, Line
from engines.compose import compose
from engines.locate import locate
from engines.network import read_network
from engines.options import Options
from engines.resolve import resolve
from engines.scenes import Scene
from engines.suppress import nms

MODELS = ("derived/yolov8n_320_w16.onnx", "yolox_nano_416.onnx")
HINTS = {"fp32": "f32", "bf16": "bf16"}
TURNS, RUNS = 40, 5


def main() -> int:
    """Measure everything; print as it comes."""
    lines = []
    for line in (*composition(), suppression(), *second_starts()):
        print(line, flush=True)
        lines.append(line)
    missed = sum(not line.met for line in lines)
    print(f"{len(lines) - missed} of {len(lines)} goals met")
    return 1 if missed else 0


def composition() -> list[Line]:
    """Pixels in, candidates out, beside the network as its file has it."""
    lines = []
    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    for name in MODELS:
        path = DATA / "models" / name
        located = locate(path)
        network, spec = resolve(read_network(located.model), located)
        with tempfile.TemporaryDirectory() as folder:
            whole = Path(folder) / "model.onnx"
            whole.write_bytes(compose(network, spec, Options())["model.onnx"])
            width, height = spec.size
            picture = Scene((width, max(height, 64)), seed=1).render(10)[0]
            planes = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)
            for precision in ("fp32", *(["bf16"] if "BF16" in able else [])):
                bare = runner(path, precision, planes if spec.scale == 1 else planes / 255)
                composed = runner(whole, precision, picture[None])
                before, after = least(bare, composed)
                what = f"{spec.name} {precision}: {before:.1f} ms bare, {after:.1f} composed, share added"
                lines.append(Line(what, after / before - 1, 0.05, least=False))
    return lines


def runner(path: Path, precision: str, values: Any) -> Callable[[], object]:
    """What infers once on one thread."""
    settings = {"INFERENCE_PRECISION_HINT": HINTS[precision], "INFERENCE_NUM_THREADS": 1}
    request = openvino.Core().compile_model(str(path), "CPU", settings).create_infer_request()
    request.set_input_tensor(openvino.Tensor(np.ascontiguousarray(values)))
    return lambda: request.infer()


def least(*calls: Callable[[], object]) -> list[float]:
    """Processor milliseconds of each call, the least of many turns."""
    found = [float("inf")] * len(calls)
    for turn in range(TURNS):
        for place, call in enumerate(calls):
            began = time.process_time()
            for _ in range(RUNS):
                call()
            if turn:
                found[place] = min(found[place], (time.process_time() - began) / RUNS * 1e3)
    return found


def suppression() -> Line:
    """Greedy NMS of 300 boxes that overlap little: all of them stay."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 600, (300, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(4, 40, (300, 2))], 1).astype(np.float32)
    scores = np.sort(rng.random(300).astype(np.float32))[::-1].copy()
    classes = rng.integers(0, 80, 300).astype(np.int32)
    kept = len(nms(boxes, scores, classes, 0.45))
    (took,) = least(lambda: [nms(boxes, scores, classes, 0.45) for _ in range(20)])
    return Line(f"suppression of 300 candidates, {kept} survive, ms", took / 20, 0.3, least=False)


def second_starts() -> list[Line]:
    """What is in the cache opens at once."""
    lines = []
    for name in MODELS:
        engines.load(DATA / "models" / name).close()
        began = time.perf_counter()
        engines.load(DATA / "models" / name).close()
        took = time.perf_counter() - began
        lines.append(Line(f"second start of {Path(name).stem}, s", took, 1.0, least=False))
    return lines


if __name__ == "__main__":
    sys.exit(main())

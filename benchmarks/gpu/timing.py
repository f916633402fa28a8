"""Timing: one case on one GPU, with and without CUDA graph, by the conventions of NVIDIA's trtexec.

Warm-up of 0.2 s, then at least 10 runs and the seconds asked for. `gpu_ms` is the network alone, from event
to event, without copies; `latency_ms` is one request from start to the end of its wait, copies in and out
included; `fps` is with two requests in flight; `whole_fps` adds writing pictures and reading detections.
"""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.cases import Case
from engines.backends import Progress
from engines.backends.cuda import Device
from engines.backends.tensorrt import TensorRtEngine
from engines.backends.tensorrt.binding import Binding
from engines.backends.tensorrt.builder import Recipe
from engines.backends.tensorrt.session import Session, Slot
from engines.errors import InputError, WorkError
from engines.model import Model
from engines.options import Options
from engines.parity import Difference, compare, outputs

__all__ = ["LEAST", "WARM_UP", "Builder", "Row", "built", "latencies", "measure", "repeat", "throughput"]

Builder = Callable[[str, Recipe, Path, Progress], None]

WARM_UP = 0.2  # seconds
LEAST = 10  # runs


@dataclass(frozen=True, slots=True)
class Row:
    """What was seen of one case; figures are 0 where it failed."""

    model: str
    precision: str
    batch: int
    graph: bool  # whether the work was recorded as a CUDA graph
    right: bool  # whether it says what ONNX Runtime says
    note: str  # how far from it, or why it failed
    build_s: float = 0.0
    plan_mb: float = 0.0
    gpu_ms: float = 0.0  # of one batch
    latency_ms: float = 0.0  # median
    p99_ms: float = 0.0
    fps: float = 0.0  # pictures per second
    whole_fps: float = 0.0


def measure(case: Case, binding: Binding, library: Any, build: Builder, seconds: float) -> Iterator[Row]:
    """Build once, and give a row with CUDA graph and one without. A failure is a row as well."""
    blank = Row(case.spec.name, case.precision, case.batch, False, False, "")
    for here_only in (False, True) if binding.rtx else (False,):
        try:
            with ExitStack() as stack:
                device = Device(0, library)
                stack.callback(device.close)
                plan, took = built(case, binding, build, here_only)
                session = Session(binding, plan, device)
                stack.callback(session.close)
                known = replace(blank, build_s=took, plan_mb=len(plan) / 1e6)
                for graph in (True, False):
                    yield _row(session, case, known, graph, seconds)
                return
        except (InputError, WorkError) as error:
            yield replace(blank, note=f"{'for this GPU alone: ' if here_only else ''}{error}")


def built(case: Case, binding: Binding, build: Builder, here_only: bool) -> tuple[bytes, float]:
    recipe = Recipe(case.graph, case.precision, contexts=2, here_only=here_only)
    with tempfile.TemporaryDirectory() as folder:
        made, began = Path(folder) / "plan", time.perf_counter()
        build(binding.name, recipe, made, lambda fraction, phase: None)
        return made.read_bytes(), time.perf_counter() - began


def _row(session: Session, case: Case, known: Row, graph: bool, seconds: float) -> Row:
    alone = session.slot(graph=graph, sleep=False)
    engine = TensorRtEngine(session, case.precision, (alone,))
    difference = _difference(engine, case)
    right = difference.none if case.precision == "fp32" else difference.small
    pair = tuple(session.slot(graph=graph) for _ in range(2))
    took = latencies(alone, seconds)
    row = replace(
        known,
        graph=alone.graph,
        right=right,
        note=str(difference) + (f"; no graph: {alone.no_graph}" if alone.no_graph else ""),
        gpu_ms=alone.compute(max(LEAST, int(seconds * 1e3 / (np.median(took) * 1e3)))),
        latency_ms=float(np.median(took)) * 1e3,
        p99_ms=float(np.percentile(took, 99)) * 1e3,
        fps=throughput(pair, seconds) * case.batch,
        whole_fps=_whole(TensorRtEngine(session, case.precision, pair), case, seconds),
    )
    for slot in (alone, *pair):
        slot.close()
    return row


def _difference(engine: TensorRtEngine, case: Case) -> Difference:
    """Against ONNX Runtime, every slot of the batch."""
    count = max(case.batch, len(case.pictures))
    order = [number % len(case.pictures) for number in range(count)]
    found = outputs(engine, [case.pictures[number] for number in order])
    return compare([case.expected[number] for number in order], found, case.spec.size)


def latencies(slot: Slot, seconds: float) -> list[float]:
    """Seconds of one request after the other."""

    def once() -> float:
        began = time.perf_counter()
        slot.start()
        slot.wait()
        return time.perf_counter() - began

    repeat(once, WARM_UP)
    return repeat(once, seconds)


def throughput(pair: tuple[Slot, ...], seconds: float) -> float:
    """Batches per second with all in flight."""
    flying = deque(pair)
    for slot in pair:
        slot.start()

    def once() -> float:
        slot = flying.popleft()
        slot.wait()
        slot.start()
        flying.append(slot)
        return 0.0

    repeat(once, WARM_UP)
    began = time.perf_counter()
    batches = len(repeat(once, seconds))
    rate = batches / (time.perf_counter() - began)
    for slot in flying:
        slot.wait()
    return rate


def _whole(engine: TensorRtEngine, case: Case, seconds: float) -> float:
    """Pictures per second from pixels in memory to detections."""
    model = Model(case.spec, engine, Options(batch=case.batch))
    flying: deque[Any] = deque()

    def once() -> float:
        batch = model.acquire()
        for number in range(case.batch):
            picture = case.pictures[number % len(case.pictures)]
            batch.add(case.spec.size)[...] = picture
        batch.submit()
        flying.append(batch)
        if len(flying) == len(engine.requests):
            flying.popleft().collect()
        return 0.0

    repeat(once, WARM_UP)
    began = time.perf_counter()
    batches = len(repeat(once, seconds))
    rate = batches / (time.perf_counter() - began)
    while flying:
        flying.popleft().collect()
    return rate * case.batch


def repeat(once: Callable[[], float], seconds: float) -> list[float]:
    """Repeat for a time, ten times at least."""
    found: list[float] = []
    end = time.perf_counter() + seconds
    while len(found) < LEAST or time.perf_counter() < end:
        found.append(once())
    return found

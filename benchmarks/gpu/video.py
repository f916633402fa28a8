"""Video: both graphs of a model on one GPU, the state bound from one engine's outputs to the other's inputs.

Two rows for each case, "NAME key" and "NAME between", each compared with ONNX Runtime on pictures and on what
follows them; their `whole_fps` is of both together, a key frame and four frames between of each stream, from
pictures in memory to detections.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.gpu.cases import Case
from benchmarks.gpu.timing import LEAST, WARM_UP, Builder, Row, built, latencies, repeat, throughput
from engines.backends.cuda import Device
from engines.backends.tensorrt import TensorRtEngine
from engines.backends.tensorrt.binding import Binding
from engines.backends.tensorrt.session import Session, Slot
from engines.errors import InputError, WorkError
from engines.model import Model
from engines.options import Options
from engines.parity import Difference, Pair, compare
from engines.video import Video

__all__ = ["measure_video"]

BETWEEN = 4  # frames after each key frame


def measure_video(
    case: Case, binding: Binding, library: Any, build: Builder, seconds: float
) -> Iterator[Row]:
    """Build both once, and give rows with CUDA graph and without. A failure is a row as well."""
    blank = Row(case.spec.name, case.precision, case.batch, False, False, "")
    for here_only in (False, True) if binding.rtx else (False,):
        try:
            with ExitStack() as stack:
                device = Device(0, library)
                stack.callback(device.close)
                sessions, known = [], []
                for name, graph in (("key", case.graph), ("between", case.between or case.graph)):
                    plan, took = built(replace(case, graph=graph), binding, build, here_only)
                    sessions.append(Session(binding, plan, device))
                    stack.callback(sessions[-1].close)
                    row = replace(blank, model=f"{case.spec.name} {name}", build_s=took)
                    known.append(replace(row, plan_mb=len(plan) / 1e6))
                for graphs in (True, False):
                    yield from _rows(sessions, case, known, graphs, seconds)
                return
        except (InputError, WorkError) as error:
            yield replace(blank, note=f"{'for this GPU alone: ' if here_only else ''}{error}")


def _rows(
    sessions: list[Session], case: Case, known: list[Row], graph: bool, seconds: float
) -> Iterator[Row]:
    alone = [session.slot(graph=graph, sleep=False) for session in sessions]
    differences = _differences(_pair(sessions, case, [(slot,) for slot in alone]), case)
    couples = [tuple(session.slot(graph=graph) for _ in range(2)) for session in sessions]
    whole = _whole(_pair(sessions, case, couples), case, seconds)
    for slot, couple, row, difference in zip(alone, couples, known, differences, strict=True):
        took = latencies(slot, seconds)
        yield replace(
            row,
            graph=slot.graph,
            right=difference.none if case.precision == "fp32" else difference.small,
            note=str(difference) + (f"; no graph: {slot.no_graph}" if slot.no_graph else ""),
            gpu_ms=slot.compute(max(LEAST, int(seconds * 1e3 / (np.median(took) * 1e3)))),
            latency_ms=float(np.median(took)) * 1e3,
            p99_ms=float(np.percentile(took, 99)) * 1e3,
            fps=throughput(couple, seconds) * case.batch,
            whole_fps=whole,
        )
    for slot in (*alone, *couples[0], *couples[1]):
        slot.close()


def _pair(sessions: list[Session], case: Case, slots: list[tuple[Slot, ...]]) -> Pair:
    return Pair(
        *(
            TensorRtEngine(session, case.precision, each)
            for session, each in zip(sessions, slots, strict=True)
        )
    )


def _differences(pair: Pair, case: Case) -> list[Difference]:
    """Of key frames and of frames between from ONNX Runtime's, every row of the batch."""
    count = max(case.batch, len(case.pictures))
    order = [number % len(case.pictures) for number in range(count)]
    found = pair.outputs([case.pictures[number] for number in order])
    later = case.expected[len(case.pictures) :]
    return [
        compare([case.expected[number] for number in order], found[:count], case.spec.size),
        compare([later[number] for number in order], found[count:], case.spec.size),
    ]


def _whole(pair: Pair, case: Case, seconds: float) -> float:
    """Pictures per second of as many streams as a batch has rows."""
    options = Options(batch=case.batch)
    key = Model(case.spec, pair.key, options)
    assert pair.between is not None
    video = Video(key, Model(case.spec, pair.between, options))
    flying: deque[Any] = deque()
    number = 0

    def once() -> float:
        nonlocal number
        is_key, number = number % (1 + BETWEEN) == 0, number + 1
        if len(flying) == len(pair.key.requests):
            flying.popleft().collect()
        shots = video.acquire(key=is_key)
        assert shots is not None
        for row in range(case.batch):
            shots.add(case.spec.size, str(row))[...] = case.pictures[row % len(case.pictures)]
        shots.submit()
        flying.append(shots)
        return 0.0

    repeat(once, WARM_UP)
    began = time.perf_counter()
    batches = len(repeat(once, seconds))
    rate = batches / (time.perf_counter() - began)
    while flying:
        flying.popleft().collect()
    return rate * case.batch

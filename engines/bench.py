"""The engine alone: how many pictures a second, how long each takes, and what it costs in processor time."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

import numpy as np

from engines.engine import Request
from engines.model import Model

__all__ = ["Measurement", "measure"]

_WARM_UP = 0.2  # share of the time that is run before it counts


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one run of the engine gave; nothing of reading or drawing is in it."""

    batch: int  # pictures per request
    requests: int  # in flight together
    pictures: int  # that were measured
    seconds: float  # that they took
    fps: float  # pictures per second
    median_ms: float  # of one request, from start to the end of its wait
    p95_ms: float
    cpu_ms: float  # processor time of the whole process per picture


def measure(model: Model, seconds: float = 3.0, requests: int = 0) -> Measurement:
    """Run the engine on noise for ``seconds`` with ``requests`` in flight (0 = all it has).

    Nothing else may use the model meanwhile. One request on a model made for throughput does not show the
    least latency that the machine can give: load it with ``Options(requests=1)`` for that.
    """
    pool = model.engine.requests[: requests or None]
    rng = np.random.default_rng(0)
    for request in pool:
        for values in request.inputs.values():
            values[...] = rng.integers(0, 256, values.shape)
    _loop(pool, seconds * _WARM_UP)
    cpu, start = time.process_time(), time.perf_counter()
    took = _loop(pool, seconds)
    cpu, elapsed = time.process_time() - cpu, time.perf_counter() - start
    pictures = len(took) * model.batch
    return Measurement(
        batch=model.batch,
        requests=len(pool),
        pictures=pictures,
        seconds=elapsed,
        fps=pictures / elapsed,
        median_ms=float(np.median(took)) * 1e3,
        p95_ms=float(np.percentile(took, 95)) * 1e3,
        cpu_ms=cpu / pictures * 1e3,
    )


def _loop(pool: tuple[Request, ...], seconds: float) -> list[float]:
    """Keep every request busy for a time; return how long each one took."""
    took: list[float] = []
    flying: deque[tuple[Request, float]] = deque()
    end = time.perf_counter() + seconds
    for request in pool:
        flying.append((request, time.perf_counter()))
        request.start()
    while flying:
        request, started = flying.popleft()
        request.wait()
        now = time.perf_counter()
        took.append(now - started)
        if now < end:
            flying.append((request, now))
            request.start()
    return took

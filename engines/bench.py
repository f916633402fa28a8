"""The engine alone: how many pictures a second, how long each takes, and what it costs in processor time."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from engines.engine import Request
from engines.errors import InputError
from engines.model import Model, load
from engines.options import Options

__all__ = ["Measurement", "Report", "measure", "measure_model"]

_WARM_UP = 0.2  # seconds, and share of the time, that is run before it counts: at least as trtexec does
_LEAST = 10  # requests that are measured, however long they take: as trtexec does


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one run of the engine gave; nothing of reading or drawing is in it."""

    model: str
    backend: str
    version: str  # of the backend
    device: str
    precision: str
    batch: int  # pictures per request
    requests: int  # in flight together
    pictures: int  # that were measured
    seconds: float  # that they took
    fps: float  # pictures per second
    median_ms: float  # of one request, from start to the end of its wait
    p95_ms: float
    p99_ms: float
    device_ms: float  # of that, the network alone on a GPU without copies; 0 where none tells
    cpu_ms: float  # processor time of the whole process per picture


@dataclass(frozen=True, slots=True)
class Report:
    """Both ends of one model: the least latency, and the most pictures per second."""

    latency: Measurement  # one request, all cores for it
    throughput: Measurement  # as many in flight as keep the device busy


def measure_model(model: str | Path, options: Options, seconds: float = 3.0) -> Report:
    """Load a model once for latency and once for throughput, and measure each for ``seconds``."""
    found = []
    for requests in (1, options.requests):
        with load(model, replace(options, requests=requests)) as loaded:
            found.append(measure(loaded, seconds))
    return Report(*found)


def measure(model: Model, seconds: float = 3.0, requests: int = 0) -> Measurement:
    """Run the engine on noise for ``seconds`` with ``requests`` in flight (0 = all it has), at least ten.

    Nothing else may use the model meanwhile. One request on a model made for throughput does not show the
    least latency that the machine can give: load it with ``Options(requests=1)`` for that.
    """
    if not 0 < seconds < math.inf:
        raise InputError(f"seconds: {seconds:g}, more than 0 is right")
    pool = model.engine.requests[: requests or None]
    with _noise(pool):
        _loop(pool, max(seconds, 1.0) * _WARM_UP)
        cpu, start = time.process_time(), time.perf_counter()
        took = _loop(pool, seconds, _LEAST)
        cpu, elapsed = time.process_time() - cpu, time.perf_counter() - start
    pictures = len(took) * model.batch
    engine = model.engine
    return Measurement(
        model=model.spec.name,
        backend=engine.backend,
        version=engine.version,
        device=engine.device,
        precision=engine.precision,
        batch=model.batch,
        requests=len(pool),
        pictures=pictures,
        seconds=elapsed,
        fps=pictures / elapsed,
        median_ms=float(np.median(took)) * 1e3,
        p95_ms=float(np.percentile(took, 95)) * 1e3,
        p99_ms=float(np.percentile(took, 99)) * 1e3,
        device_ms=_device_ms(pool[0], len(took)),
        cpu_ms=cpu / pictures * 1e3,
    )


@contextmanager
def _noise(pool: tuple[Request, ...]) -> Iterator[None]:
    """Fill the input buffers; afterwards they are as before: a batch lays the border of a size only once."""
    buffers = [values for request in pool for values in request.inputs.values()]
    before = [values.copy() for values in buffers]
    rng = np.random.default_rng(0)
    for values in buffers:
        values[...] = rng.integers(0, 256, values.shape)
    try:
        yield
    finally:
        for values, kept in zip(buffers, before, strict=True):
            values[...] = kept


def _device_ms(request: Request, times: int) -> float:
    """What a GPU's own clock says of the network."""
    compute: Callable[[int], float] | None = getattr(request, "compute", None)
    return compute(times) if compute else 0.0


def _loop(pool: tuple[Request, ...], seconds: float, least: int = 0) -> list[float]:
    """Keep every request busy for a time, ``least`` starts at least; return how long each one took."""
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
        if now < end or len(took) + len(flying) < least:
            flying.append((request, now))
            request.start()
    return took

"""Bench: the engine alone, decoding alone, then the whole pipeline, measured in one run on one machine."""

from __future__ import annotations

import os
import platform
import subprocess
import threading
import time
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.errors import InputError, WorkError
from engines.machine import peak_memory
from streamer.figures import Figures, Stage
from streamer.pipeline import Pipeline
from streamer.settings import Settings
from streamer.sources import open_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engines.bench import Measurement
    from engines.model import Model

__all__ = ["measure"]

_WARM_UP = 1.5  # seconds of the whole pipeline that are not counted
_PACKAGES = ("streamer", "numpy", "opencv-python", "av", "openvino", "onnxruntime")
_PACED = 1.25  # a live source that gives fewer frames than the engine could take by this factor paces it


def measure(settings: Settings, seconds: float) -> Figures:
    """Measure for `seconds` each: engine alone, decoding alone, the whole pipeline.

    The engine's time is halved, one half on either side of the pipeline's: a machine that grows quicker or
    slower meanwhile would shift their ratio.

    Raises:
        InputError: a source, model or sink that cannot be used, or `seconds` that is not positive and finite.
    """
    import engines
    from engines.bench import measure as measure_engine

    if not 0 < seconds < float("inf"):
        raise InputError(f"--seconds: {seconds}, a number above 0 would be right")
    settings.check_sinks()
    model = engines.load(settings.model, settings.for_engine)
    try:
        before = _threads()
        halves = [measure_engine(model, seconds / 2)]
        workers = {thread for thread, cpu in _threads().items() if cpu > before.get(thread, 0.0)}
        workers.discard(threading.get_native_id())
        decode = _decode_alone(settings, seconds)
        run = _run(settings, model, seconds, workers)
        halves.append(measure_engine(model, seconds / 2))
        return _figures(model, run, _Alone.of(halves, decode))
    finally:
        model.close()


def _decode_alone(settings: Settings, seconds: float) -> tuple[float, float]:
    """Return frames per second and CPU milliseconds per frame of the first source, nothing done with them."""
    told = settings.sources[0]
    frames, began, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        source = open_source(told.url, name=told.name)
        try:
            for _ in source:
                frames += 1
                if time.perf_counter() - began >= seconds:
                    break
        finally:
            source.close()
    return frames / (time.perf_counter() - began), (time.process_time() - cpu) / max(frames, 1) * 1e3


@dataclass(frozen=True, slots=True)
class _Alone:
    """What was measured by itself, around the whole."""

    engine_fps: float
    engine_cpu_ms: float
    decode_fps: float
    decode_cpu_ms: float

    @classmethod
    def of(cls, engine: Sequence[Measurement], decode: tuple[float, float]) -> _Alone:
        pictures = sum(one.pictures for one in engine)
        cpu_ms = sum(one.cpu_ms * one.pictures for one in engine) / pictures
        return cls(pictures / sum(one.seconds for one in engine), cpu_ms, *decode)


@dataclass(frozen=True, slots=True)
class _Moment:
    """What a running pipeline's counters say at one moment."""

    at: float  # time.perf_counter()
    cpu: float  # seconds, of the process
    results: int
    lost: int
    stages: dict[str, float]  # kind of stage -> CPU seconds of its threads
    engine: float  # CPU seconds of the engine's threads

    @classmethod
    def of(cls, pipeline: Pipeline, workers: set[int]) -> _Moment:
        figures = pipeline.report()
        stages: dict[str, float] = {}
        for node in list(pipeline.graph.nodes.values()):
            stages[_kind(node.name)] = stages.get(_kind(node.name), 0.0) + node.cpu
        engine = sum(cpu for thread, cpu in _threads().items() if thread in workers)
        return cls(
            time.perf_counter(), time.process_time(), figures.results, figures.lost.total(), stages, engine
        )


@dataclass(frozen=True, slots=True)
class _Run:
    """What the whole pipeline did between two moments."""

    frames: int
    seconds: float
    cpu_ms: float  # of the process, per frame
    engine_cpu_ms: float  # of that, the engine's threads; 0 where none tells
    stages: dict[str, Stage]
    latency_ms: tuple[float, float, float]
    drops: int
    live: bool


def _run(settings: Settings, model: Model, seconds: float, workers: set[int]) -> _Run:
    with Pipeline(settings, model=model) as pipeline:
        pipeline.start()
        _let_run(pipeline, _WARM_UP)
        before = _Moment.of(pipeline, workers)
        pipeline.forget()
        _let_run(pipeline, seconds)
        after, stages = _Moment.of(pipeline, workers), _stages(pipeline)
        latency = pipeline.report().latency_ms
        pipeline.stop()
        pipeline.join()
        live = any(source.live for source in pipeline.sources)
    frames = after.results - before.results
    if not frames:
        raise WorkError(f"bench: no frame came through in {seconds:g} s, a longer --seconds may help")
    each = 1e3 / frames
    return _Run(
        frames,
        after.at - before.at,
        (after.cpu - before.cpu) * each,
        (after.engine - before.engine) * each,
        {
            kind: replace(stage, cpu_ms=(after.stages[kind] - before.stages[kind]) * each)
            for kind, stage in stages.items()
        },
        latency,
        after.lost - before.lost,
        live,
    )


def _figures(model: Model, run: _Run, alone: _Alone) -> Figures:
    fps = run.frames / run.seconds
    return Figures(
        fps=fps,
        engine_alone_fps=alone.engine_fps,
        engine_alone_cpu_ms=alone.engine_cpu_ms,
        decode_alone_fps=alone.decode_fps,
        decode_alone_cpu_ms=alone.decode_cpu_ms,
        ratio=fps / alone.engine_fps,
        cpu_ms=run.cpu_ms,
        overhead_cpu_ms=run.cpu_ms - (run.engine_cpu_ms or alone.engine_cpu_ms),
        latency_ms=run.latency_ms,
        stages=run.stages,
        drops=run.drops,
        rss_mb=peak_memory() / 2**20,
        cores_used=run.cpu_ms * fps / 1e3,
        frames=run.frames,
        seconds=run.seconds,
        warnings=_warnings(run.live, fps, alone.engine_fps),
        engine=_engine_facts(model),
        machine=_machine(),
        versions={name: metadata.version(name) for name in _PACKAGES},
        commit=_commit(),
    )


def _stages(pipeline: Pipeline) -> dict[str, Stage]:
    """Merge the nodes of each kind: the slowest node's quantiles, the sum of what is queued."""
    found: dict[str, Stage] = {}
    for figures in pipeline.report().stages:
        kind = _kind(figures.name)
        stage = Stage(figures.median_ms, figures.p95_ms, figures.p99_ms, 0.0, figures.queued)
        known = found.get(kind)
        if known is not None:
            slower = max(stage, known, key=lambda one: one.median_ms)
            stage = replace(slower, queued=stage.queued + known.queued)
        found[kind] = stage
    return found


def _kind(node: str) -> str:
    return node.split(":")[0]


def _let_run(pipeline: Pipeline, seconds: float) -> None:
    if pipeline.graph.wait(seconds):
        pipeline.join()
        raise WorkError(
            f"bench: the sources ended within {seconds:g} s, a file or an endless source would be right"
        )


def _warnings(live: bool, fps: float, engine_fps: float) -> list[str]:
    if live and fps * _PACED < engine_fps:
        return ["a live source paces this run: its fps is the camera's, not the pipeline's"]
    return []


def _engine_facts(model: Model) -> dict[str, Any]:
    engine = model.engine
    return {
        "model": model.spec.name,
        "backend": engine.backend,
        "version": engine.version,
        "device": engine.device,
        "precision": engine.precision,
        "batch": model.batch,
        "requests": len(engine.requests),
    }


def _machine() -> dict[str, Any]:
    name = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    return {
        "cpu": name,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _commit() -> str:
    """Return the checkout's commit, with + when it has changes; "" outside a checkout."""
    where = Path(__file__).parent
    command = ["git", "-C", str(where), "describe", "--always", "--dirty=+", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _threads() -> dict[int, float]:
    """Return the CPU seconds of each thread of the process by its number; nothing where no kernel tells."""
    found = {}
    for thread in Path("/proc/self/task").glob("*/schedstat"):
        try:
            found[int(thread.parent.name)] = int(thread.read_text().split()[0]) / 1e9
        except (OSError, ValueError, IndexError):  # it ended meanwhile
            continue
    return found

"""Bench: the engine alone, decoding alone, then the whole pipeline, measured in one run on one machine."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import threading
import time
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.errors import InputError, WorkError
from streamer.pipeline import Pipeline
from streamer.settings import Settings
from streamer.sources import open_source

if TYPE_CHECKING:
    from engines.bench import Measurement
    from engines.model import Model

__all__ = ["Figures", "Stage", "compare_with", "measure", "print_figures", "read_fps", "save_figures"]

_WARM_UP = 1.5  # seconds of the whole pipeline that are not counted
_PACKAGES = ("streamer", "numpy", "opencv-python", "av", "openvino", "onnxruntime")
_PACED = 1.25  # a live source that gives fewer frames than the engine could take by this factor paces it


@dataclass(frozen=True, slots=True)
class Stage:
    """Cost of one kind of stage per frame, over all streams, in milliseconds."""

    median_ms: float
    p95_ms: float
    p99_ms: float
    cpu_ms: float  # of the stages' own threads
    queued: int  # frames waiting before it when the measurement ended


@dataclass(frozen=True, slots=True)
class Figures:
    """What a bench found; its JSON has these keys."""

    fps: float  # of the whole pipeline, all streams
    engine_alone_fps: float
    engine_alone_cpu_ms: float  # CPU of the process per frame
    decode_alone_fps: float
    decode_alone_cpu_ms: float
    ratio: float  # fps / engine_alone_fps
    cpu_ms: float  # CPU of the process per frame, whole pipeline
    overhead_cpu_ms: float  # of cpu_ms, what other threads than the engine's used
    latency_ms: tuple[float, float, float]  # median, p95, p99 from capture to result
    stages: dict[str, Stage]
    drops: int
    rss_mb: float  # peak
    cores_used: float
    frames: int
    seconds: float
    warnings: list[str]
    engine: dict[str, Any]
    machine: dict[str, Any]
    versions: dict[str, str]
    commit: str


def measure(settings: Settings, seconds: float) -> Figures:
    """Measure for `seconds` each: engine alone, decoding alone, the whole pipeline.

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
        alone = measure_engine(model, seconds=seconds)
        workers = {thread for thread, cpu in _threads().items() if cpu > before.get(thread, 0.0)}
        workers.discard(threading.get_native_id())
        return _whole(settings, model, seconds, _Alone(alone, workers, *_decode_alone(settings, seconds)))
    finally:
        model.close()


def print_figures(figures: Figures) -> None:
    """Print the table that `streamer bench` shows."""
    from rich.table import Table

    from engines.console import plain

    console = plain()
    table = Table(
        title=f"{figures.engine['backend']} {figures.engine['precision']} on {figures.engine['device']}"
    )
    for column in ("", "fps", "median ms", "p95 ms", "p99 ms", "CPU ms/frame", "queued"):
        table.add_column(column, justify="left" if not column else "right")
    table.add_row(
        "engine alone",
        f"{figures.engine_alone_fps:.1f}",
        "",
        "",
        "",
        f"{figures.engine_alone_cpu_ms:.2f}",
        "",
    )
    table.add_row(
        "decode alone",
        f"{figures.decode_alone_fps:.1f}",
        "",
        "",
        "",
        f"{figures.decode_alone_cpu_ms:.2f}",
        "",
    )
    table.add_section()
    for name, stage in figures.stages.items():
        times = (f"{value:.2f}" for value in (stage.median_ms, stage.p95_ms, stage.p99_ms, stage.cpu_ms))
        table.add_row(name, "", *times, str(stage.queued))
    table.add_section()
    whole = (f"{value:.2f}" for value in figures.latency_ms)
    table.add_row("whole pipeline", f"{figures.fps:.1f}", *whole, f"{figures.cpu_ms:.2f}", "")
    console.print(table)
    console.print(
        f"ratio whole/engine {figures.ratio:.3f}   drops {figures.drops}   cores {figures.cores_used:.2f}   "
        f"all but the engine {figures.overhead_cpu_ms:.2f} CPU ms/frame   peak RSS {figures.rss_mb:.0f} MB"
    )
    for warning in figures.warnings:
        console.print(f"warning: {warning}")


def save_figures(figures: Figures, path: Path) -> None:
    """Write the figures as JSON."""
    try:
        path.write_text(json.dumps(asdict(figures), indent=2) + "\n")
    except OSError as error:
        raise InputError(f"--save: {path}: {error.strerror}, a writable path would be right") from error


def read_fps(path: Path) -> float:
    """Return the frames per second of saved figures. InputError where the file is missing or holds none."""
    try:
        fps = float(json.loads(path.read_text())["fps"])
    except (OSError, ValueError, KeyError, TypeError):
        fps = 0.0
    if not 0 < fps < float("inf"):
        raise InputError(f"--compare: {path}: no figures in it, a file of `bench --save` would be right")
    return fps


def compare_with(figures: Figures, path: Path, before: float, fail_under: float) -> bool:
    """Print fps against those `before`, saved at `path`; True if it is at least `fail_under` of them."""
    ratio = figures.fps / before
    verdict = "ok" if ratio >= fail_under else f"below {fail_under}"
    print(f"{figures.fps:.1f} fps against {before:.1f} in {path}: ratio {ratio:.3f}, {verdict}")
    return ratio >= fail_under


def _decode_alone(settings: Settings, seconds: float) -> tuple[float, float]:
    """Return frames per second and CPU milliseconds per frame of the first source, nothing done with them."""
    told = settings.sources[0]
    frames, began, cpu = 0, time.perf_counter(), _cpu()
    while time.perf_counter() - began < seconds:
        source = open_source(told.url, name=told.name)
        try:
            for _ in source:
                frames += 1
                if time.perf_counter() - began >= seconds:
                    break
        finally:
            source.close()
    return frames / (time.perf_counter() - began), (_cpu() - cpu) / max(frames, 1) * 1e3


@dataclass(frozen=True, slots=True)
class _Alone:
    """What was measured by itself, before the whole."""

    engine: Measurement
    workers: set[int]  # the engine's threads: those that worked meanwhile
    decode_fps: float
    decode_cpu_ms: float


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
        return cls(time.perf_counter(), _cpu(), figures.results, figures.lost.total(), stages, engine)


def _whole(settings: Settings, model: Model, seconds: float, alone: _Alone) -> Figures:
    with Pipeline(settings, model=model) as pipeline:
        pipeline.start()
        _let_run(pipeline, _WARM_UP)
        before = _Moment.of(pipeline, alone.workers)
        pipeline.forget()
        _let_run(pipeline, seconds)
        after, stages = _Moment.of(pipeline, alone.workers), _stages(pipeline)
        latency = pipeline.report().latency_ms
        pipeline.stop()
        pipeline.join()
        live = any(source.live for source in pipeline.sources)
    frames, took, cpu = after.results - before.results, after.at - before.at, after.cpu - before.cpu
    if not frames:
        raise WorkError(f"bench: no frame came through in {seconds:g} s, a longer --seconds may help")
    fps, cpu_ms = frames / took, cpu / frames * 1e3
    engine_cpu_ms = (after.engine - before.engine) / frames * 1e3 if alone.workers else alone.engine.cpu_ms
    return Figures(
        fps=fps,
        engine_alone_fps=alone.engine.fps,
        engine_alone_cpu_ms=alone.engine.cpu_ms,
        decode_alone_fps=alone.decode_fps,
        decode_alone_cpu_ms=alone.decode_cpu_ms,
        ratio=fps / alone.engine.fps,
        cpu_ms=cpu_ms,
        overhead_cpu_ms=cpu_ms - engine_cpu_ms,
        latency_ms=latency,
        stages={
            kind: replace(stage, cpu_ms=(after.stages[kind] - before.stages[kind]) / frames * 1e3)
            for kind, stage in stages.items()
        },
        drops=after.lost - before.lost,
        rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        cores_used=cpu / took,
        frames=frames,
        seconds=took,
        warnings=_warnings(live, fps, alone.engine.fps),
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
        lines = cpuinfo.read_text().splitlines()
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


def _cpu() -> float:
    """Return the CPU seconds that the process has used, all threads."""
    return time.clock_gettime(time.CLOCK_PROCESS_CPUTIME_ID)

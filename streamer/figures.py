"""Figures: what a bench found, as a table, as JSON and against what was saved before."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engines.errors import InputError

__all__ = ["Figures", "Stage", "compare_with", "print_figures", "read_fps", "save_figures"]


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
        path.write_text(json.dumps(asdict(figures), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"--save: {path}: {error.strerror}, a writable path would be right") from error


def read_fps(path: Path) -> float:
    """Return the frames per second of saved figures. InputError where the file is missing or holds none."""
    try:
        fps = float(json.loads(path.read_text(encoding="utf-8"))["fps"])
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

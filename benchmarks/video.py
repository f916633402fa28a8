"""What frames between key frames save: `python -m benchmarks.video` prints a table of YolactEdge models.

Cost does not depend on weights, so the official sizes run with random ones, 550x550 as their authors have it;
a shipped model or a path may be named as well. Each is run through the pipeline on a rendered stream, nothing
drawn, with key frames only and with a key frame every 5th frame, turn by turn; beside it each graph alone:
milliseconds of one request at a time, all cores its own, and of CPU time with requests side by side.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import engines
from engines.bench import measure
from engines.spec import ModelSpec
from streamer.pipeline import Pipeline
from streamer.settings import gather

OFFICIAL = {"R-50": "yolactedge_video_resnet50", "R-101": "yolactedge_video_resnet101"}
SHIPPED = "tiny-yolactedge"
TURNS = 3  # of each way to run, whose median counts


@dataclass(frozen=True, slots=True)
class Row:
    """One model's figures."""

    name: str
    key_ms: float  # of one frame alone in the engine, median
    between_ms: float
    key_cpu_ms: float
    between_cpu_ms: float
    key_fps: float  # of the pipeline with key frames only
    video_fps: float  # with a key frame every 5th frame


def main() -> None:
    """Print the table as it comes."""
    parser = argparse.ArgumentParser("python -m benchmarks.video", description=__doc__)
    parser.add_argument("models", nargs="*", help=f"{', '.join(OFFICIAL)}, shipped names or paths")
    parser.add_argument("--size", type=int, default=550, help="of the official models, in pixels")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement, about")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--interval", type=int, default=5)
    told = parser.parse_args()
    shipped = [SHIPPED] if SHIPPED in [spec.name for spec in engines.models()] else []
    _print_head(told)
    with tempfile.TemporaryDirectory() as folder:
        for name in told.models or [*OFFICIAL, *shipped]:
            path = _random(OFFICIAL[name], told.size, Path(folder)) if name in OFFICIAL else name
            print(_line(_measure(name, str(path), told)), flush=True)


def _measure(name: str, path: str, told: argparse.Namespace) -> Row:
    how = {"backend": told.backend, "precision": told.precision}
    alone = []
    with engines.load(path, engines.Options(**how, requests=1)) as model:
        if model.video is None:
            raise engines.InputError(f"{name}: it is no model for video, it has no graph for frames between")
        print(f"{name}: {'; '.join(model.notes)}", flush=True)
        for graph in (model, model.video.between):
            alone.append(measure(graph, told.seconds / 2).median_ms)
    spent = []
    with engines.load(path, engines.Options(**how)) as model:
        for graph in (model, model.video.between):
            spent.append(measure(graph, told.seconds / 2).cpu_ms)
    frames = max(int(told.seconds * 1e3 / spent[0]) * (os.cpu_count() or 1), 3 * told.interval)
    rates: dict[int, list[float]] = {1: [], told.interval: []}
    for _ in range(TURNS):
        for interval, found in rates.items():
            found.append(_rate(path, frames, interval, how))
    return Row(name, *alone, *spent, *(median(found) for found in rates.values()))


def _rate(path: str, frames: int, interval: int, how: dict[str, str]) -> float:
    """Results per second of the whole pipeline from the first to the last."""
    url = f"synthetic:?size=640x360&count={frames}&seed=1"
    with Pipeline(gather([url], path, ["null:"], key_interval=interval, **how)) as pipeline:
        return pipeline.run().fps


def _random(arch: str, size: int, folder: Path) -> Path:
    """Export a network as it comes from its initialisation, 40 classes as YouTube-VIS has."""
    import torch

    from trainers import models
    from trainers.config import Network
    from trainers.export_video import write_video

    torch.manual_seed(0)
    net = models.build(40, Network(arch=arch)).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # else what many blocks of random weights give grows
            torch.nn.init.constant_(module.weight, 0.5)
    classes = tuple(f"class_{number}" for number in range(40))
    spec = ModelSpec(arch, "segment", "dense", classes, (size, size), **asdict(net.input))
    return write_video(net, spec, folder / f"{arch}.onnx")[0]


def _print_head(told: argparse.Namespace) -> None:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    cores = len(os.sched_getaffinity(0))
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {cores} cores, commit {commit.stdout.strip() or 'unknown'}")
    alone = f"{'key ms':>8} {'between':>8} {'key CPU':>8} {'between':>8}"
    print(f"{'model':18} {alone} {'key frames only':>16} {f'every {told.interval}th':>10}  ratio")


def _line(row: Row) -> str:
    alone = f"{row.key_ms:8.1f} {row.between_ms:8.1f} {row.key_cpu_ms:8.1f} {row.between_cpu_ms:8.1f}"
    rates = f"{row.key_fps:12.2f} fps {row.video_fps:6.2f} fps {row.video_fps / row.key_fps:6.2f}"
    return f"{row.name[:18]:18} {alone} {rates}"


if __name__ == "__main__":
    try:
        main()
    except engines.InputError as error:
        sys.exit(f"error: {error}")

"""What the pipeline costs beside its engine: throughput, CPU per frame, memory over time, time to start.

    python -m benchmarks pipeline

Reads the clip and the model of STREAMER_TEST_DATA (or ../shared/data), the same for every line. Every ratio
compares two figures of one run at equal engine precision. The goals are stated per line; a miss exits with 1.
Where the processor has no bf16 of its own, fp32 stands in for it and no line says bf16.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np

import engines
import streamer
from streamer.bench import measure
from streamer.figures import Figures
from streamer.planes import copy, scale_rgb
from streamer.settings import gather
from streamer.sinks.film import Film, Settings
from streamer.sources import open_source

DATA = Path(os.environ.get("STREAMER_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
CLIP = DATA / "video" / "one-by-one-person-detection.mp4"  # 768x432
MODEL = DATA / "models" / "derived" / "yolov8n_320_w16.onnx"
SECONDS = 12.0
SOAK = 20_000  # frames
RATIOS = {"fp32": 0.90, "bf16": 0.86}  # whole / engine alone, at least
PACE = 250  # frames per second, about what the engine takes


@dataclass(frozen=True, slots=True)
class Line:
    """One figure against its goal."""

    what: str
    figure: float
    goal: float
    least: bool  # True: the goal is the least that will do; False: the most

    @property
    def met(self) -> bool:
        """Whether the figure will do."""
        return self.figure >= self.goal if self.least else self.figure <= self.goal

    def __str__(self) -> str:
        sign = ">=" if self.least else "<="
        return f"{'ok  ' if self.met else 'MISS'} {self.what:58} {self.figure:8.3f}  ({sign} {self.goal:g})"


def main() -> int:
    """Measure everything; print as it comes."""
    with tempfile.TemporaryDirectory() as folder:
        lines = [*without_output(), *with_video(Path(folder)), *large(Path(folder)), *start(), *soak()]
    missed = sum(not line.met for line in lines)
    print(f"{len(lines) - missed} of {len(lines)} goals met")
    return 1 if missed else 0


def without_output() -> list[Line]:
    """null: at both precisions, with the batch that files get and one by one; and a bare loop's cost."""
    lines = []
    floor = beside_engine()
    for precision in dict.fromkeys(("fp32", best())):
        for batch in (0, 1):
            figures = bench(CLIP, ["null:"], precision, batch)
            case = f"{precision} null:, batch {figures.engine['batch']}:"
            more = figures.overhead_cpu_ms - floor
            lines += [
                say(f"{case} whole / engine alone", figures.ratio, RATIOS[precision], least=True),
                say(f"{case} all but the engine, CPU ms/frame", figures.overhead_cpu_ms, 0.95),
                say(f"{case} of that, more than decode + scale", more, 0.29),
            ]
    return lines


def beside_engine(path: Path | None = None, seconds: float = 5.0, burst: int = 8) -> float:
    """CPU ms/frame of one plain loop that decodes, scales and maybe encodes while another process infers.

    No pipeline can cost less on this machine: its caches and cores are shared with the engine. The loop goes
    in bursts, as a decoder that fills a queue does, at about the rate of the pipeline.
    """
    code = "import engines, sys; from engines.bench import measure; measure(engines.load(*sys.argv[1:]), 60)"
    with subprocess.Popen([sys.executable, "-c", code, str(MODEL)]) as engine:
        try:
            time.sleep(3.0)  # until it runs
            cost = plain_loop(path, seconds, burst)
        finally:
            engine.kill()
    what = "decode + scale + copy + x264" if path else "decode + scale"
    print(f"# {what} alone, an engine beside it: {cost:.2f} CPU ms/frame, the least possible here")
    return cost


def plain_loop(path: Path | None, seconds: float, burst: int) -> float:
    """CPU ms/frame of decoding and scaling, and with a path of copying and encoding to it."""
    view, frames, film = np.zeros((180, 320, 3), np.uint8), 0, None
    began, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        source = open_source(str(CLIP))
        for frame in source:
            scale_rgb(frame.planes, view)
            if path:
                frame.planes, frame.audio = copy(frame.planes), ()
                film = film or Film(str(path), "mp4", frame, source.info, Settings(preset="ultrafast"))
                film.write(frame)
            frames += 1
            if frames % burst == 0:
                time.sleep(burst / PACE)
            if time.perf_counter() - began >= seconds:
                break
        source.close()
    if film:
        film.close()
    return (time.process_time() - cpu) / frames * 1e3


def with_video(folder: Path) -> list[Line]:
    """Overlay and x264 ultrafast."""
    floor = beside_engine(folder / "floor.mp4")
    figures = bench(CLIP, [f"{folder}/a.mp4?preset=ultrafast"], best())
    return [
        say(f"{best()} overlay + x264: all but the engine, CPU ms/frame", figures.overhead_cpu_ms, 2.2),
        say(
            f"{best()} overlay + x264: of that, more than a plain loop", figures.overhead_cpu_ms - floor, 0.54
        ),
    ]


def large(folder: Path) -> list[Line]:
    """A 1080p file with overlay: the share of all cores that works."""
    clip = folder / "1080p.mp4"
    enlarge(clip)
    figures = bench(clip, [f"{folder}/b.mp4?preset=ultrafast"], best())
    share = figures.cores_used / (os.cpu_count() or 1)
    return [say(f"{best()} 1080p, overlay + x264: fps / (cores / CPU per frame)", share, 0.92, least=True)]


def start() -> list[Line]:
    """From the start of the process to help, and to the first record with a warm cache."""
    command = [sys.executable, "-c", "from streamer.cli import main; main()"]
    helping = min(timed([*command, "--help"]) for _ in range(5))
    run = [*command, "run", str(CLIP), "--model", str(MODEL), "--sink", "-", "--frames", "50", "--quiet"]
    first = min(timed_to_first_line(run) for _ in range(3))
    return [say("streamer --help, s", helping, 0.3), say("first record, warm cache, s", first, 2.0)]


def soak() -> list[Line]:
    """Resident memory after 20,000 frames, the file again and again, against that after 4,000."""
    with ProcessPoolExecutor(1, get_context("spawn")) as fresh:  # what ran before would hide what is kept
        growth = fresh.submit(grown).result()
    return [say(f"RSS at {SOAK} / RSS at {SOAK // 5} frames", growth, 1.05)]


def grown() -> float:
    """Run with overlay, video and records; the memory at the end, as a multiple of what it was early."""
    with tempfile.TemporaryDirectory() as folder:
        sinks = [f"{folder}/a.mp4?preset=ultrafast", f"{folder}/a.jsonl"]
        how = {"loop": True, "frames": SOAK, "precision": best()}
        early = 0.0
        for count, _ in enumerate(streamer.stream(str(CLIP), model=str(MODEL), sinks=sinks, **how)):
            if count == SOAK // 5:
                early = resident()
        return resident() / early


@functools.cache
def best() -> Literal["bf16", "fp32"]:
    """The fastest precision that this processor has: bf16, or else what every one has."""
    try:
        engines.load(MODEL, engines.Options(precision="bf16")).close()
    except engines.InputError:
        return "fp32"
    return "bf16"


def bench(clip: Path, sinks: list[str], precision: str, batch: int = 0) -> Figures:
    """Measure one case; a batch of 0 is the one that is chosen."""
    settings = gather([str(clip)], str(MODEL), sinks, precision=precision, batch=batch, loop=True, conf=0.4)
    figures = measure(settings, SECONDS)
    stages = ", ".join(f"{name} {stage.cpu_ms:.2f}" for name, stage in figures.stages.items())
    print(
        f"# {figures.fps:.1f} fps, engine alone {figures.engine_alone_fps:.1f}, "
        f"CPU ms/frame {figures.cpu_ms:.2f}, engine alone {figures.engine_alone_cpu_ms:.2f}, "
        f"decode alone {figures.decode_alone_cpu_ms:.2f}; stages' own threads: {stages}",
        flush=True,
    )
    return figures


def say(what: str, figure: float, goal: float, *, least: bool = False) -> Line:
    """Make a line and print it."""
    line = Line(what, figure, goal, least)
    print(line, flush=True)
    return line


def enlarge(path: Path, frames: int = 400) -> None:
    """Write the clip's first frames at 1920x1080."""
    import av

    with av.open(str(CLIP)) as source, av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=10, options={"preset": "veryfast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        for count, frame in enumerate(source.decode(video=0)):
            if count == frames:
                break
            large = frame.reformat(1920, 1080, "yuv420p")
            large.pts, large.time_base = count, Fraction(1, 10)
            output.mux(stream.encode(large))
        output.mux(stream.encode(None))


def timed(command: list[str]) -> float:
    """Return the seconds that a command takes."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def timed_to_first_line(command: list[str]) -> float:
    """Return the seconds until a command prints its first line."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        json.loads(process.stdout.readline())
        took = time.perf_counter() - began
        process.communicate()
    return took


def resident() -> float:
    """Return the resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    sys.exit(main())

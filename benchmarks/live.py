"""Live sources under faults, for long: ``python -m benchmarks.live latency|overload|faults|streams|churn``.

Serves RTSP on loopback from this process, runs the whole pipeline on it and prints one line of JSON; exit
code 1 if a bar is missed. ``--seconds`` and ``--rounds`` shorten it.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import engines
from streamer.pipeline import Pipeline
from streamer.settings import gather
from tests.servers.clip import encode
from tests.servers.rtsp import RtspServer

MODEL = "tiny-yolo"


class SlowModel:
    """A model whose engine takes longer than it would: each batch is given back late."""

    def __init__(self, seconds: float) -> None:
        self._model = engines.load(MODEL)
        self._seconds = seconds
        self.spec, self.engine, self.batch = self._model.spec, self._model.engine, self._model.batch
        self.invalid = 0

    def acquire(self, timeout: float | None = None) -> Any:
        batch = self._model.acquire(timeout=timeout)
        return None if batch is None else SlowBatch(batch, self._seconds)

    def close(self) -> None:
        self._model.close()


class SlowBatch:
    """A batch of a SlowModel."""

    def __init__(self, batch: Any, seconds: float) -> None:
        self.add, self.submit = batch.add, batch.submit
        self._batch, self._seconds = batch, seconds

    def collect(self) -> Any:
        time.sleep(self._seconds)
        return self._batch.collect()


def latency(options: argparse.Namespace) -> dict[str, Any]:
    """720p30, tiny model: the age of records, by our clock and by the sender's."""
    with RtspServer({"/cam": encode(60, (1280, 720))}) as server:
        records = Path("/tmp/streamer-live-latency.jsonl")
        with Pipeline(gather([server.url()], MODEL, [str(records)], seconds=options.seconds)) as pipeline:
            report = pipeline.run()
    rows = [json.loads(line) for line in records.read_text().splitlines()][60:]
    ages = np.array([row["age"] for row in rows]) * 1e3
    glass = np.array([row["captured"] + row["age"] - row["wall"] for row in rows if "wall" in row]) * 1e3
    figures = {
        "age_ms": quantiles(ages),
        "from_sender_ms": quantiles(glass),
        "results": report.results,
        "lost": dict(report.lost),
        "balanced": not report.unbalanced,
    }
    return figures | {"ok": figures["from_sender_ms"][0] <= 60 and figures["from_sender_ms"][1] <= 100}


def overload(options: argparse.Namespace) -> dict[str, Any]:
    """A model three times too slow: age under the target, memory flat, every frame accounted for."""
    target, said = 0.25, []
    with RtspServer({"/cam": encode(60, (640, 360))}) as server:
        settings = gather([server.url()], MODEL, ["null:"], seconds=options.seconds, latency=target)
        with Pipeline(settings, model=SlowModel(0.1), say=said.append) as pipeline:  # type: ignore[arg-type]
            ages, sizes = [], []

            def look() -> None:
                ages.append(pipeline.rates.latency("cam") * 1e3)
                sizes.append(rss())

            pipeline.each_second(look)
            report = pipeline.run()
    settled = len(sizes) // 5
    growth = max(sizes[settled:]) / sizes[settled] - 1 if sizes else 0.0
    figures = {
        "age_ms": quantiles(np.array(ages[8:])),
        "rss_growth": round(growth, 4),
        "lost": dict(report.lost),
        "said": said,
        "balanced": not report.unbalanced,
    }
    return figures | {"ok": figures["age_ms"][1] <= target * 1e3 and growth <= 0.05 and figures["balanced"]}


def faults(options: argparse.Namespace) -> dict[str, Any]:
    """Kill, stall and kick again and again, with loss; another stream must not notice."""
    clip = encode(30, (320, 180))
    with RtspServer({"/cam": clip}) as server, RtspServer({"/calm": clip}) as calm:
        urls = [server.url(), calm.url("/calm")]
        with Pipeline(gather(urls, MODEL, ["null:"])) as pipeline, running(pipeline):
            await_results(pipeline, "cam", 30)
            before, began = footprint(), time.monotonic()
            done = results(pipeline, "calm")
            recovered: dict[str, list[float]] = {}
            for number in range(options.rounds):
                for name, break_it, mend_it in hurts(server, number):
                    break_it()
                    time.sleep(0.2 if name == "kick" else 7.0 if name == "stall" and number % 2 else 1.5)
                    mend_it()
                    mended = time.monotonic()
                    await_results(pipeline, "cam", 2)
                    recovered.setdefault(name, []).append(time.monotonic() - mended)
                    await_results(
                        pipeline, "cam", 45
                    )  # a source that is lost at once again is tried less often
            rate = (results(pipeline, "calm") - done) / (time.monotonic() - began)
            time.sleep(12.0)  # what FFmpeg still holds it lets go
            after, troubles = footprint(), dict(pipeline.streams["cam"].source.troubles)  # type: ignore[attr-defined]
        report = pipeline.report()
    worst = {name: round(max(times), 2) for name, times in recovered.items()}
    figures = {
        "recovery_s_worst": worst,
        "calm_fps": round(rate, 2),
        "threads_fds": [before, after],
        "troubles": troubles,
        "balanced": not report.unbalanced,
    }
    held = max(worst.values()) <= 3.0 and rate >= 0.95 * 30
    return figures | {"ok": held and after[0] <= before[0] and after[1] <= before[1] and figures["balanced"]}


def hurts(server: RtspServer, number: int) -> Iterator[tuple[str, Callable[[], None], Callable[[], None]]]:
    """Yield the faults of one round, and what mends each."""
    yield "kill", server.down, server.up
    yield "stall", lambda: setattr(server, "stalled", True), lambda: setattr(server, "stalled", False)
    yield "kick", server.kick, lambda: None
    share = (0.01, 0.1)[number % 2]
    yield f"loss {share:.0%}", lambda: setattr(server, "drop", share), lambda: setattr(server, "drop", 0.0)


def streams(options: argparse.Namespace) -> dict[str, Any]:
    """Sixteen streams of 320x180 with one batched engine: none starves."""
    clip = encode(60, (320, 180))
    paths = [f"/cam{number}" for number in range(16)]
    with RtspServer(dict.fromkeys(paths, clip)) as server:
        settings = gather([server.url(path) for path in paths], MODEL, ["null:"], batch=8)
        with Pipeline(settings) as pipeline, running(pipeline):
            for path in paths:
                await_results(pipeline, path[1:], 10)
            before = {path: results(pipeline, path[1:]) for path in paths}
            began = time.monotonic()
            time.sleep(options.seconds)
            passed = time.monotonic() - began
            rates = [(results(pipeline, path[1:]) - before[path]) / passed for path in paths]
            status = pipeline.status()
    figures = {
        "fps_min_max": [round(min(rates), 2), round(max(rates), 2)],
        "occupancy": round(status.occupancy, 3),
        "age_ms": [round(stream.latency_ms) for stream in status.streams],
    }
    return figures | {"ok": min(rates) >= 0.9 * max(rates)}


def churn(options: argparse.Namespace) -> dict[str, Any]:
    """Add and remove a stream again and again: nothing stays behind."""
    clip = encode(30, (320, 180))
    with RtspServer({"/cam": clip, "/guest": clip}) as server:
        with Pipeline(gather([server.url()], MODEL, ["null:"])) as pipeline, running(pipeline):
            for number in range(options.rounds + 5):
                pipeline.add_stream(server.url("/guest"), "guest")
                await_results(pipeline, "guest", 3)
                pipeline.remove_stream("guest")
                if number == 4:
                    time.sleep(3.0)
                    before = footprint()
            time.sleep(12.0)
            after = footprint()
        report = pipeline.report()
    grown = after[2] / before[2] - 1
    figures = {"threads_fds_rss": [before, after], "rss_growth": round(grown, 4)}
    figures["balanced"] = not report.unbalanced
    return figures | {"ok": after[0] <= before[0] and after[1] <= before[1] and grown <= 0.05}


@contextmanager
def running(pipeline: Pipeline) -> Iterator[None]:
    pipeline.start()
    try:
        yield
    finally:
        pipeline.stop()
        pipeline.join()


def results(pipeline: Pipeline, name: str) -> int:
    return pipeline.graph.ledger.tally("collect", name).out


def await_results(pipeline: Pipeline, name: str, count: int) -> None:
    """Wait for so many results more."""
    wanted, end = results(pipeline, name) + count, time.monotonic() + 60
    while results(pipeline, name) < wanted:
        if time.monotonic() > end:
            raise SystemExit(f"{name}: no results for a minute: {pipeline.status()}")
        time.sleep(0.01)


def footprint() -> tuple[int, int, int]:
    """Return the threads, open files and resident bytes of this process."""
    gc.collect()
    return threading.active_count(), len(os.listdir("/proc/self/fd")), rss()


def rss() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def quantiles(values: np.ndarray) -> list[float]:
    """Return median and 95th percentile."""
    return [round(float(np.quantile(values, q)), 1) for q in (0.5, 0.95)] if len(values) else [0.0, 0.0]


CASES = {case.__name__: case for case in (latency, overload, faults, streams, churn)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    figures = CASES[options.case](options)
    print(
        json.dumps({"case": options.case, **figures, "machine": platform.processor() or platform.machine()})
    )
    sys.exit(not figures["ok"])


if __name__ == "__main__":
    main()

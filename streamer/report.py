"""Report: what a run did, per stream and stage, and the rates that a viewer sees while it runs."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamer.frame import Frame
from streamer.metrics import Tally

if TYPE_CHECKING:
    from streamer.pipeline import Pipeline

__all__ = ["Rates", "Report", "StageReport", "StreamReport", "report"]

_WINDOW = 1.0  # seconds over which a rate is taken
_LEAST = 0.5  # seconds of results from which on there is a rate
_BURST = 0.02  # seconds within which a batch's results come; those of the first took their time before it


class Rates:
    """Frames per second and latency of each stream over the last second."""

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = {}
        self._latency: dict[str, float] = {}
        self._ages: deque[float] = deque(maxlen=2048)  # of live results since they were last asked for
        self._lock = threading.Lock()

    def add(self, frame: Frame, now: float) -> float:
        """Note a result at time.monotonic() `now`; return its latency in seconds."""
        latency = max(now - frame.captured, 0.0)
        with self._lock:
            times = self._times.setdefault(frame.stream, deque(maxlen=4096))
            times.append(now)
            while now - times[0] > _WINDOW:
                times.popleft()
            if frame.live:
                self._ages.append(latency)
            before = self._latency.get(frame.stream, latency)
            self._latency[frame.stream] = before + 0.1 * (latency - before)
        return latency

    def ages(self) -> list[float]:
        """Return the latencies of live results since the last call, in seconds; at most the last 2048."""
        with self._lock:
            ages = list(self._ages)
            self._ages.clear()
        return ages

    def latency(self, stream: str) -> float:
        """Return a stream's latency in seconds, smoothed over about ten results; 0 before the first."""
        return self._latency.get(stream, 0.0)

    def forget(self, stream: str) -> None:
        """Drop the figures of a stream."""
        with self._lock:
            self._times.pop(stream, None)
            self._latency.pop(stream, None)

    def fps(self, stream: str) -> float:
        """Return results per second of a stream; 0 before there are enough to tell."""
        with self._lock:
            times = self._times.get(stream) or [0.0]
            span = times[-1] - times[0]
            if span < _LEAST or time.monotonic() - times[-1] > 2 * _WINDOW:
                return 0.0
            first = next(place for place, when in enumerate(times) if when > times[0] + _BURST)
            return (len(times) - first) / span

    def total(self) -> float:
        """Return results per second of all streams."""
        return sum(self.fps(stream) for stream in list(self._times))

    def hud(self, frame: Frame) -> str:
        """Return the line that a viewer sees: stream, time, rate, latency."""
        latency = self._latency.get(frame.stream, 0.0) * 1e3
        minutes, hundredths = divmod(round(frame.pts * 100), 6000)
        clock, fps = f"{minutes:02d}:{hundredths / 100:05.2f}", self.fps(frame.stream)
        rate = f"  {fps:.0f} fps" if fps else ""
        since = frame.index - frame.key_index
        key = "" if frame.key_index < 0 else f"  key+{since}" if since else "  key"
        return f"{frame.stream}  {clock}{rate}  {latency:.0f} ms{key}"


@dataclass(frozen=True, slots=True)
class StreamReport:
    """One stream's balance: decoded = results + dropped + failed."""

    name: str
    decoded: int
    results: int
    dropped: dict[str, int]  # "stage: reason" -> frames
    failed: dict[str, int]
    key_frames: int = 0  # given to a model for video
    frames_between: int = 0


@dataclass(frozen=True, slots=True)
class StageReport:
    """One stage's cost per item, in milliseconds, waiting left out."""

    name: str
    items: int
    median_ms: float
    p95_ms: float
    p99_ms: float
    cpu_ms: float  # of the stage's own thread, per item
    queued: int


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did; `unbalanced` is empty when every frame is accounted for."""

    seconds: float
    fps: float  # results per second over the whole run
    latency_ms: tuple[float, float, float]  # median, p95, p99 from capture to result
    streams: tuple[StreamReport, ...]
    stages: tuple[StageReport, ...]
    occupancy: float  # frames in a batch, as a part of its size; 0 before the first
    invalid: int  # candidates that the engine gave and that were dropped: not finite numbers
    unbalanced: tuple[str, ...]

    @property
    def results(self) -> int:
        """Frames that left the engine, over all streams."""
        return sum(stream.results for stream in self.streams)

    @property
    def lost(self) -> Counter[str]:
        """ "stage: reason" -> frames dropped or failed, over all streams."""
        total: Counter[str] = Counter()
        for stream in self.streams:
            total.update(stream.dropped)
            total.update(stream.failed)
        return total


def report(pipeline: Pipeline, names: Sequence[str] | None = None) -> Report:
    """Read the figures of a pipeline that runs or has ended: of these streams, or of all it has by now."""
    ledger, graph = pipeline.graph.ledger, pipeline.graph
    seconds = (pipeline.ended or time.perf_counter()) - pipeline.began if pipeline.began else 0.0
    names = [source.name for source in pipeline.sources] if names is None else names
    stages = ledger.stages()
    streams = tuple(_stream(pipeline, stages, name) for name in names)
    results = sum(stream.results for stream in streams)
    latency, batching = pipeline.latency, pipeline.batching
    return Report(
        seconds=seconds,
        fps=results / seconds if seconds > 0 else 0.0,
        latency_ms=(latency.quantile(0.5) * 1e3, latency.quantile(0.95) * 1e3, latency.quantile(0.99) * 1e3),
        streams=streams,
        stages=tuple(
            StageReport(
                node.name,
                node.busy.count,
                node.busy.quantile(0.5) * 1e3,
                node.busy.quantile(0.95) * 1e3,
                node.busy.quantile(0.99) * 1e3,
                node.cpu * 1e3 / max(node.busy.count, 1),
                len(node.inbox),
            )
            for node in list(graph.nodes.values())
        ),
        occupancy=batching.frames / max(batching.batches * pipeline.model.batch, 1),
        invalid=pipeline.model.invalid - pipeline.invalid_before,
        unbalanced=tuple(ledger.unbalanced()),
    )


def _stream(pipeline: Pipeline, stages: dict[str, dict[str, Tally]], name: str) -> StreamReport:
    dropped: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for stage, tallies in stages.items():
        tally = tallies.get(name)
        if tally is not None:
            dropped.update({f"{stage}: {reason}": count for reason, count in tally.dropped.items()})
            failed.update({f"{stage}: {reason}": count for reason, count in tally.failed.items()})
    return StreamReport(
        name,
        key_frames=pipeline.keys.frames[name, "key"] if pipeline.keys else 0,
        frames_between=pipeline.keys.frames[name, "between"] if pipeline.keys else 0,
        decoded=pipeline.graph.ledger.tally(f"decode:{name}", name).out,
        results=pipeline.graph.ledger.tally("collect", name).out,
        dropped=dict(dropped),
        failed=dict(failed),
    )

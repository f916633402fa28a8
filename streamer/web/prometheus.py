"""Prometheus: every figure of a running pipeline in its format, with a bounded number of series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from streamer.metrics import Histogram, Tally

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from streamer.pipeline import Pipeline
    from streamer.web.shows import Shows

__all__ = ["Figures", "expose"]

BOUNDS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
MOST_STREAMS = 256  # label values; those that come later are counted together
MOST_REASONS = 24  # label values of one stage
OTHER = "other"
STATES = ("connecting", "playing", "stalled", "frozen", "waiting", "stopped", "paused")


class Figures(Collector):
    """Reads the pipeline when it is scraped, and costs nothing in between."""

    def __init__(self, pipeline: Pipeline, shows: Shows) -> None:
        self._pipeline = pipeline
        self._shows = shows
        self._known: set[str] = set()  # streams that have a label of their own

    def collect(self) -> Iterator[Metric]:
        """Yield the families of metrics."""
        yield from self._ledger()
        yield from self._stages()
        yield from self._streams()
        yield from self._engine()
        yield from self._viewers()

    def describe(self) -> list[Metric]:
        """Return nothing: names are not to be checked before there are figures."""
        return []

    def _label(self, stream: str) -> str:
        if stream not in self._known and len(self._known) >= MOST_STREAMS:
            return OTHER
        self._known.add(stream)
        return stream

    def _ledger(self) -> Iterator[Metric]:
        offered = CounterMetricFamily(
            "streamer_frames_offered", "Frames that came to a stage.", labels=("stage", "stream")
        )
        out = CounterMetricFamily(
            "streamer_frames_out", "Frames that a stage gave on.", labels=("stage", "stream")
        )
        labels = ("stage", "stream", "reason")
        dropped = CounterMetricFamily("streamer_frames_dropped", "Frames given up on purpose.", labels=labels)
        failed = CounterMetricFamily(
            "streamer_frames_failed", "Frames that could not be used.", labels=labels
        )
        in_flight = GaugeMetricFamily(
            "streamer_frames_in_flight", "Frames queued at a stage or inside it.", labels=("stage", "stream")
        )
        for (stage, stream), tally in self._tallies().items():
            offered.add_metric((stage, stream), tally.offered)
            out.add_metric((stage, stream), tally.out)
            in_flight.add_metric((stage, stream), tally.in_flight)
            for family, reasons in ((dropped, tally.dropped), (failed, tally.failed)):
                for reason, count in _bounded(reasons).items():
                    family.add_metric((stage, stream, reason), count)
        yield from (offered, out, dropped, failed, in_flight)

    def _tallies(self) -> dict[tuple[str, str], Tally]:
        """Return the ledger by labels, streams beyond the bound added up."""
        found: dict[tuple[str, str], Tally] = {}
        for stage, streams in self._pipeline.graph.ledger.stages().items():
            for stream, tally in streams.items():
                into = found.setdefault((_kind(stage, stream), self._label(stream)), Tally())
                into.offered += tally.offered
                into.out += tally.out
                into.dropped.update(tally.dropped)
                into.failed.update(tally.failed)
        return found

    def _stages(self) -> Iterator[Metric]:
        labels = ("stage", "stream")
        busy = HistogramMetricFamily(
            "streamer_stage_busy_seconds", "Work per item of a stage, waiting left out.", labels=labels
        )
        queued = GaugeMetricFamily("streamer_queue_depth", "Items that wait for a stage.", labels=labels)
        cpu = CounterMetricFamily(
            "streamer_stage_cpu_seconds", "CPU time of a stage's own thread.", labels=labels
        )
        known = dict(self._pipeline.streams)
        owners = {node.name: stream for stream, member in known.items() for node in member.nodes}
        for node in list(self._pipeline.graph.nodes.values()):
            _, _, stream = node.name.partition(":")
            stream = stream if stream in known else owners.get(node.name, "")
            if stream and self._label(stream) == OTHER:
                continue
            told = (_kind(node.name, stream), stream)
            busy.add_metric(told, buckets=_buckets(node.busy), sum_value=node.busy.total)
            queued.add_metric(told, len(node.inbox))
            cpu.add_metric(told, node.cpu)
        latency = HistogramMetricFamily("streamer_latency_seconds", "From capture to result, all streams.")
        whole = self._pipeline.latency
        latency.add_metric((), buckets=_buckets(whole), sum_value=whole.total)
        yield from (busy, queued, cpu, latency)

    def _streams(self) -> Iterator[Metric]:
        state = GaugeMetricFamily(
            "streamer_stream_state", "1 for the state a stream is in.", labels=("stream", "state")
        )
        losses = CounterMetricFamily(
            "streamer_source_losses", "Connections that had given pictures and were lost.", labels=("stream",)
        )
        attempts = CounterMetricFamily("streamer_source_attempts", "Connections begun.", labels=("stream",))
        inferred = CounterMetricFamily(
            "streamer_video_frames", "Frames given to a model for video.", labels=("stream", "kind")
        )
        for stream in self._pipeline.status().streams:
            if self._label(stream.name) == OTHER:
                continue
            for kind, count in (("key", stream.key_frames), ("between", stream.frames_between)):
                inferred.add_metric((stream.name, kind), count)
            for name in STATES:
                state.add_metric((stream.name, name), float(name == stream.state))
            losses.add_metric((stream.name,), stream.losses)
            attempts.add_metric((stream.name,), stream.attempts)
        yield from (state, losses, attempts)
        if self._pipeline.keys is not None:
            yield inferred

    def _engine(self) -> Iterator[Metric]:
        model, engine = self._pipeline.model, self._pipeline.model.engine
        facts = {
            "model": model.spec.name,
            "task": model.spec.task,
            "backend": engine.backend,
            "backend_version": engine.version,
            "device": engine.device,
            "precision": engine.precision,
        }
        yield InfoMetricFamily("streamer_engine", "The model and what runs it.", value=facts)
        yield GaugeMetricFamily("streamer_engine_batch_size", "Frames that fit a batch.", value=model.batch)
        yield GaugeMetricFamily(
            "streamer_engine_requests", "Batches that may be in flight.", value=len(engine.requests)
        )
        status = self._pipeline.status()
        yield GaugeMetricFamily(
            "streamer_engine_batch_occupancy_ratio",
            "Frames in a batch, as a part of its size, since the start.",
            value=status.occupancy,
        )
        yield CounterMetricFamily(
            "streamer_engine_invalid_candidates",
            "Candidates that were dropped, as they were not finite numbers.",
            value=status.invalid,
        )

    def _viewers(self) -> Iterator[Metric]:
        viewers = GaugeMetricFamily("streamer_web_viewers", "Who watches now.", labels=("stream", "kind"))
        unseen = CounterMetricFamily(
            "streamer_web_dropped", "Items given up for slow viewers.", labels=("stream", "kind")
        )
        encoded = CounterMetricFamily(
            "streamer_web_frames_encoded", "Frames encoded for viewers, once for all.", labels=("stream",)
        )
        for name, show in self._shows.all().items():
            if self._label(name) == OTHER:
                continue
            encoded.add_metric((name,), show.encoded)
            for kind, audience in (("video", show.video), ("jpeg", show.pictures)):
                viewers.add_metric((name, kind), len(audience))
                unseen.add_metric((name, kind), audience.dropped)
        viewers.add_metric(("", "events"), len(self._shows.notes))
        unseen.add_metric(("", "events"), self._shows.notes.dropped)
        yield from (viewers, unseen, encoded)


def expose(figures: Figures, accept: str) -> tuple[bytes, str]:
    """Return the page that Prometheus scrapes, and its content type, as its Accept header wants it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(figures)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _kind(stage: str, stream: str) -> str:
    """Return a stage's name without that of the stream it works for alone."""
    return stage.removesuffix(f":{stream}")


def _bounded(reasons: Counter[str]) -> Counter[str]:
    if len(reasons) <= MOST_REASONS:
        return reasons
    kept = dict(reasons.most_common(MOST_REASONS - 1))
    return Counter(kept | {OTHER: reasons.total() - sum(kept.values())})


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    counts = histogram.cumulative(BOUNDS)
    return [*((str(bound), float(count)) for bound, count in zip(BOUNDS, counts, strict=True)),
            ("+Inf", float(histogram.count))]  # fmt: skip

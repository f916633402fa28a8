"""Traces: the way of some frames through the pipeline as OpenTelemetry spans, one for each stage."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from engines.errors import InputError
from streamer.frame import Frame

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

__all__ = ["Traces"]

OTLP = "opentelemetry.exporter.otlp.proto.http"
PATIENCE = 3.0  # seconds for which a collector may be away, where the environment says nothing else
IDLE = 2.0  # seconds after which a frame that nobody works on has come to its end
MOST = 4096  # frames that are followed at one time; more are left out


class Traces:
    """Follows each so-manieth frame of every stream; takes what a journal is told.

    Spans go by OTLP over HTTP to where the variables of OpenTelemetry say (OTEL_EXPORTER_OTLP_ENDPOINT, ...),
    or to ``exporter``. Raises InputError where its packages are missing.
    """

    def __init__(self, share: float, exporter: SpanExporter | None = None) -> None:
        """Follow this share of the frames, above 0 and at most 1."""
        needed = ("opentelemetry.sdk",) if exporter else ("opentelemetry.sdk", OTLP)
        if not all(_is_there(name) for name in needed):
            raise InputError("--traces: OpenTelemetry is not installed: pip install 'streamer[traces]'")
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self._every = max(round(1 / share), 1)
        self._provider = TracerProvider(resource=Resource.create({"service.name": "streamer"}))
        self._provider.add_span_processor(BatchSpanProcessor(exporter or _otlp()))
        self._tracer = self._provider.get_tracer("streamer")
        self._offset = time.time() - time.monotonic()
        self._lock = threading.Lock()
        self._ways: dict[tuple[str, int], _Way] = {}
        self._swept = time.monotonic()

    def note(self, frame: Frame, stage: str, event: str, *, captured: bool = False) -> None:
        """Take what happened to a frame at a stage, just now."""
        if frame.index % self._every:
            return
        now = time.monotonic()
        with self._lock:
            if captured and len(self._ways) < MOST:
                self._begin(frame, stage, now)
            elif way := self._ways.get((frame.stream, frame.index)):
                self._go_on(way, stage, event, now)
            if now - self._swept > IDLE / 2:
                self._sweep(now)

    def count(self, stream: str, stage: str, event: str, frames: int) -> None:
        """Frames without an index of their own have no way to show."""

    def close(self) -> None:
        """End every way and send what waits."""
        with self._lock:
            self._sweep(float("inf"))
        self._provider.shutdown()

    def _begin(self, frame: Frame, stage: str, now: float) -> None:
        facts = {"stream": frame.stream, "index": frame.index, "pts": frame.pts}
        root = self._tracer.start_span("frame", start_time=self._wall(frame.captured), attributes=facts)
        way = self._ways[frame.stream, frame.index] = _Way(root, now)
        self._child(way, stage, frame.captured).end(self._wall(now))

    def _go_on(self, way: _Way, stage: str, event: str, now: float) -> None:
        way.touched = now
        if event == "in":
            way.open[stage] = self._child(way, stage, now)
            return
        span = way.open.pop(stage, None)
        if span is None:
            return
        if event != "out":
            span.set_attribute("lost", event)
        span.end(self._wall(now))

    def _child(self, way: _Way, stage: str, began: float) -> Any:
        from opentelemetry.trace import set_span_in_context

        context = set_span_in_context(way.root)
        return self._tracer.start_span(stage, context=context, start_time=self._wall(began))

    def _sweep(self, now: float) -> None:
        self._swept = now
        over = [key for key, way in self._ways.items() if now - way.touched > IDLE]
        for key in over:
            way = self._ways.pop(key)
            for span in (*way.open.values(), way.root):
                span.end(self._wall(way.touched))

    def _wall(self, monotonic: float) -> int:
        """Return Unix nanoseconds of a time on the monotonic clock."""
        return round((monotonic + self._offset) * 1e9)


@dataclass(slots=True)
class _Way:
    """One frame that is followed."""

    root: Any
    touched: float  # time.monotonic() of the last that was heard of it
    open: dict[str, Any] = field(default_factory=dict)  # stage -> its span


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _otlp() -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    patience = os.environ.get("OTEL_EXPORTER_OTLP_TIMEOUT", PATIENCE)
    return OTLPSpanExporter(timeout=float(patience))

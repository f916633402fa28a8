"""Stream: one source in a running pipeline, with all that belongs to it alone; and its status."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from streamer.feed import Feed
from streamer.graph import Node
from streamer.report import report
from streamer.settings import SourceSettings
from streamer.sources import Source
from streamer.urls import redact

if TYPE_CHECKING:
    from streamer.pipeline import Pipeline
    from streamer.sinks.studio import Studio

__all__ = ["Status", "Stream", "StreamStatus", "status"]


@dataclass(slots=True, eq=False)
class Stream:
    """A source, its reader, and the nodes that work for it alone."""

    told: SourceSettings
    source: Source
    feed: Feed
    decoder: Node
    studio: Studio  # where its pictures are drawn and encoded for people
    nodes: list[Node] = field(default_factory=list)  # that draw and write it

    @property
    def name(self) -> str:
        """The name on its frames."""
        return self.source.name


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """One stream at one moment; its URL and messages are without secrets."""

    name: str
    url: str
    state: str  # connecting, playing, stalled, frozen, waiting, stopped, paused
    seconds: float  # in this state; 0 for sources that are not live
    reason: str  # of the last loss, "" while it plays
    fps: float  # results per second
    latency_ms: float  # from capture to result
    decoded: int
    results: int
    dropped: dict[str, int]  # "stage: reason" -> frames
    failed: dict[str, int]
    troubles: dict[str, int]  # packets lost, complaints of the decoder
    key_frames: int  # given to a model for video, 0 with others
    frames_between: int
    losses: int  # connections lost
    attempts: int  # connections begun


@dataclass(frozen=True, slots=True)
class Status:
    """A pipeline at one moment."""

    seconds: float
    fps: float
    occupancy: float  # frames in a batch, as a part of its size
    invalid: int  # candidates of the engine that were dropped, as they were not finite numbers
    doing: str  # what is done to keep the latency target
    keys: str  # when a frame is a key frame, "" with models that have none
    streams: tuple[StreamStatus, ...]


def status(pipeline: Pipeline) -> Status:
    """Read what a pipeline and its streams do right now."""
    held = list(pipeline.streams.values())  # others may come and go meanwhile
    figures = report(pipeline, [stream.name for stream in held])
    streams = []
    for stream, count in zip(held, figures.streams, strict=True):
        health = getattr(stream.source, "health", None)
        running = "playing" if stream.decoder.is_running else "stopped"
        state = "paused" if stream.feed.paused else health.state if health else running
        streams.append(
            StreamStatus(
                name=stream.name,
                url=redact(stream.told.url),
                state=state,
                seconds=time.monotonic() - health.since if health and health.since else 0.0,
                reason=redact(health.reason) if health else "",
                fps=pipeline.rates.fps(stream.name),
                latency_ms=pipeline.rates.latency(stream.name) * 1e3,
                decoded=count.decoded,
                results=count.results,
                dropped=count.dropped,
                failed=count.failed,
                troubles=dict(getattr(stream.source, "troubles", {})),
                key_frames=count.key_frames,
                frames_between=count.frames_between,
                losses=health.losses if health else 0,
                attempts=health.attempts if health else 1,
            )
        )
    doing = pipeline.governor.step.words if pipeline.governor else ""
    return Status(
        figures.seconds,
        pipeline.rates.total(),
        figures.occupancy,
        figures.invalid,
        doing,
        str(pipeline.keys.policy) if pipeline.keys else "",
        tuple(streams),
    )

"""Figures: what the page shows of a running pipeline, as plain values for JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from streamer.web.hls import playlist_of

if TYPE_CHECKING:
    from streamer.pipeline import Pipeline
    from streamer.web.shows import Shows

__all__ = ["figures", "streams"]


def figures(pipeline: Pipeline, shows: Shows) -> dict[str, Any]:
    """Return rates, latency, every stage and every stream; counts grow from the start of the run."""
    report, ledger = pipeline.report(), pipeline.graph.ledger.stages()
    median, p95, p99 = report.latency_ms
    stages = [
        {
            "name": stage.name,
            "median_ms": round(stage.median_ms, 3),
            "p95_ms": round(stage.p95_ms, 3),
            "cpu_ms": round(stage.cpu_ms, 3),
            "queued": stage.queued,
            "out": sum(tally.out for tally in ledger.get(stage.name, {}).values()),
            "dropped": sum(tally.dropped.total() for tally in ledger.get(stage.name, {}).values()),
            "failed": sum(tally.failed.total() for tally in ledger.get(stage.name, {}).values()),
        }
        for stage in report.stages
    ]
    engine = pipeline.model.engine
    return {
        "seconds": round(report.seconds, 3),
        "fps": round(pipeline.rates.total(), 2),
        "latency_ms": {"median": round(median, 2), "p95": round(p95, 2), "p99": round(p99, 2)},
        "engine": {
            "model": pipeline.model.spec.name,
            "task": pipeline.model.spec.task,
            "backend": engine.backend,
            "device": engine.device,
            "precision": engine.precision,
            "batch": pipeline.model.batch,
            "keys": str(pipeline.keys.policy) if pipeline.keys else "",
            "invalid": report.invalid,
        },
        "streams": streams(pipeline, shows),
        "stages": stages,
        "events": {"listeners": len(shows.notes), "dropped": shows.notes.dropped},
    }


def streams(pipeline: Pipeline, shows: Shows) -> list[dict[str, Any]]:
    """Return the state, rates, counts and viewers of every stream."""
    shown = shows.all()
    listed = []
    for stream in pipeline.status().streams:
        entry = asdict(stream)
        for key in ("seconds", "fps", "latency_ms"):
            entry[key] = round(entry[key], 2)
        show = shown.get(stream.name)
        entry["size"] = list(show.size if show else (0, 0))
        entry["viewers"] = len(show.video) + len(show.pictures) if show else 0
        entry["encoders"] = show.encoders if show else 0
        entry["encoded"] = show.encoded if show else 0
        entry["unseen"] = show.video.dropped + show.pictures.dropped if show else 0
        entry["hls"] = playlist_of(pipeline, stream.name)
        listed.append(entry)
    return listed

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from streamer.metrics import Histogram, Ledger
from tests.servers.website import Site


def families(text: str) -> dict[str, Any]:
    parser = pytest.importorskip("prometheus_client.parser")
    return {family.name: family for family in parser.text_string_to_metric_families(text)}


def test_every_count_of_the_ledger_is_there(site: Site) -> None:
    site.pipeline.pause("synthetic")
    site.pipeline.pause("synthetic", False)
    known = site.pipeline.graph.ledger.stages()  # before asking: a stage may get its first frame meanwhile
    found = families(site.ask("/metrics").body.decode())
    for stage, streams in known.items():
        for stream, tally in streams.items():
            kind = stage.removesuffix(f":{stream}")
            samples = [
                sample.value
                for sample in found["streamer_frames_offered"].samples
                if sample.labels == {"stage": kind, "stream": stream}
            ]
            assert len(samples) == 1, (stage, stream)
            assert samples[0] <= tally.offered


def test_names_and_units_follow_the_conventions(site: Site) -> None:
    text = site.ask("/metrics").body.decode()
    for name, family in families(text).items():
        assert re.fullmatch(r"[a-z_:][a-z0-9_:]*", name)
        assert family.documentation
        assert not re.search(r"_(ms|millis|percent|minutes)(_|$)", name)
    if promtool := shutil.which("promtool"):
        done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_open_metrics_is_served_to_those_who_ask(site: Site) -> None:
    reply = site.ask("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert reply.headers["content-type"].startswith("application/openmetrics-text")
    assert reply.body.endswith(b"# EOF\n")


def test_engine_facts_queues_and_latency_are_there(site: Site) -> None:
    found = families(site.ask("/metrics").body.decode())
    (info,) = found["streamer_engine_info"].samples
    assert info.labels["model"] == "tiny-yolo"
    assert {sample.labels["stage"] for sample in found["streamer_queue_depth"].samples} >= {
        "submit",
        "decode",
    }
    buckets = [s for s in found["streamer_latency_seconds"].samples if s.name.endswith("_bucket")]
    counts = [sample.value for sample in buckets]
    assert counts == sorted(counts)
    assert buckets[-1].labels["le"] == "+Inf"
    assert counts[-1] > 0


@pytest.mark.parametrize(
    ("seconds", "bound", "counted"),
    [(0.0009, 0.001, 1), (0.0011, 0.001, 0), (0.5, 1.0, 1), (1.1, 1.0, 0), (1e-9, 0.0001, 1), (1e9, 10.0, 0)],
)
def test_a_duration_is_below_the_bounds_that_it_is_below(seconds: float, bound: float, counted: int) -> None:
    histogram = Histogram()
    histogram.add(seconds)
    assert histogram.cumulative([bound]) == [counted]


def test_labels_are_bounded_whatever_comes_and_goes(web: None) -> None:
    from streamer.web.prometheus import MOST_REASONS, MOST_STREAMS, OTHER, Figures

    ledger = Ledger()
    for at in range(3 * MOST_STREAMS):
        tally = ledger.tally("submit", f"cam{at}")
        tally.offered = tally.out = 1
    ledger.tally("submit", "cam0").dropped = Counter({f"reason {at}": 1 for at in range(500)})
    pipeline: Any = SimpleNamespace(graph=SimpleNamespace(ledger=ledger))
    offered, _, dropped, *_ = Figures(pipeline, SimpleNamespace())._ledger()  # type: ignore[arg-type]
    assert len(offered.samples) == MOST_STREAMS + 1
    assert sum(sample.value for sample in offered.samples) == 3 * MOST_STREAMS
    assert len(dropped.samples) == MOST_REASONS
    assert sum(sample.value for sample in dropped.samples) == 500
    assert any(sample.labels["stream"] == OTHER for sample in offered.samples)

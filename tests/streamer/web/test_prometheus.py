from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter, defaultdict
from pathlib import Path
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
    known = site.pipeline.graph.ledger.stages()  # copies: stages go on while they are asked for
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
            assert samples[0] >= tally.offered


def test_names_and_units_follow_the_conventions(site: Site) -> None:
    text = site.ask("/metrics").body.decode()
    for name, family in families(text).items():
        assert re.fullmatch(r"[a-z_:][a-z0-9_:]*", name)
        assert family.documentation
        assert not re.search(r"_(ms|millis|percent|minutes)(_|$)", name)
    if promtool := shutil.which("promtool"):
        done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_asks_for_what_is_there(site: Site, tmp_path: Path) -> None:
    """Each metric and label of docs/grafana.json is one that we serve, or Prometheus adds."""
    dashboard = json.loads((Path(__file__).parents[3] / "docs" / "grafana.json").read_text())
    labels = defaultdict(set)
    for family in families(site.ask("/metrics").body.decode()).values():
        labels[family.name] |= {"instance", "job"}
        for sample in family.samples:
            labels[sample.name] |= {"instance", "job", *sample.labels}
    variables = [
        item["query"]["query"] for item in dashboard["templating"]["list"] if item["type"] == "query"
    ]
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]] + variables
    lost = {"streamer_frames_dropped_total", "streamer_frames_failed_total"}  # not there before a loss
    labels |= {name: {"stage", "stream", "reason", "instance"} for name in lost}
    for expression in asked:
        ((name, told),) = re.findall(r"((?:streamer|process)_\w+)(?:{([^}]*)})?", expression)
        assert name in labels, name
        used = set(re.findall(r"(\w+)=", told))
        for by in re.findall(r"by \(([^)]*)\)", expression):
            used |= set(by.split(", "))
        assert used <= labels[name], expression
    if promtool := shutil.which("promtool"):
        rules = [{"record": f"panel:{at}", "expr": re.sub(r"\$__\w+", "1m", told).replace("$", "")}
                 for at, told in enumerate(asked[: -len(variables)])]  # fmt: skip
        file = tmp_path / "rules.yaml"  # JSON is YAML
        file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
        done = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True)
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


def test_a_stages_work_and_queue_have_the_labels_of_its_frames(web: None) -> None:
    from streamer.web.prometheus import Figures

    names = [
        "submit",
        "decode:a",
        "draw:a",
        "write:stream.mp4:a",
        "write:stream.mp4:a-2",
        "write:one.mp4",
        "write:all.jsonl",
    ]
    nodes = {name: SimpleNamespace(name=name, busy=Histogram(), inbox=[], cpu=0.0) for name in names}
    own = SimpleNamespace(nodes=[nodes[name] for name in names[2:6]])
    graph = SimpleNamespace(nodes=nodes)
    pipeline: Any = SimpleNamespace(graph=graph, streams={"a": own}, latency=Histogram())
    _, queued, *_ = Figures(pipeline, SimpleNamespace())._stages()  # type: ignore[arg-type]
    assert [(sample.labels["stage"], sample.labels["stream"]) for sample in queued.samples] == [
        ("submit", ""),
        ("decode", "a"),
        ("draw", "a"),
        ("write:stream.mp4", "a"),
        ("write:stream.mp4:a-2", "a"),
        ("write:one.mp4", "a"),
        ("write:all.jsonl", ""),
    ]

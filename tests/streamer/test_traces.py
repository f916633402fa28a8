"""Traces: a frame's way is one tree of spans, and only for the share that was asked for."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from engines.errors import InputError
from streamer.journal import Several
from streamer.pipeline import Pipeline
from streamer.settings import gather
from streamer.traces import Traces

from .test_pipeline import GreyModel

SOURCE = "synthetic:?size=128x72&fps=30&count=20"


def spans(share: float) -> list[Any]:
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    exporter = memory.InMemorySpanExporter()
    with Pipeline(gather([SOURCE], "grey", ["-"]), model=GreyModel()) as pipeline:
        traces = Traces(share, exporter)
        pipeline.graph.journal = Several(traces)
        pipeline.run()
        traces.close()
    return list(exporter.get_finished_spans())


def test_each_frame_is_a_tree_of_its_stages(capsys: pytest.CaptureFixture[str]) -> None:
    found = spans(1.0)
    roots = {span.attributes["index"]: span for span in found if span.parent is None}
    assert sorted(roots) == list(range(20))
    for root in roots.values():
        below = [span for span in found if span.parent and span.parent.span_id == root.context.span_id]
        assert {span.name for span in below} == {"decode:synthetic", "submit", "collect", "write:-"}
        for span in below:
            assert root.start_time <= span.start_time <= span.end_time <= root.end_time
    assert len(found) == 5 * 20


def test_a_share_is_followed(capsys: pytest.CaptureFixture[str]) -> None:
    roots = [span.attributes["index"] for span in spans(0.25) if span.parent is None]
    assert roots == [0, 4, 8, 12, 16]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(InputError, match=r"pip install 'streamer\[traces\]'"):
        Traces(0.5)


def test_a_share_is_one() -> None:
    with pytest.raises(InputError, match="from 0 to 1"):
        gather([SOURCE], "grey", traces=2.0)

"""Rates that a viewer sees: true ones, or none."""

from __future__ import annotations

import time

import numpy as np
import pytest

from streamer.frame import Frame
from streamer.pipeline import Pipeline
from streamer.planes import from_rgb
from streamer.report import Rates, report
from streamer.settings import gather

from .test_pipeline import GreyModel, synthetic

PLANES = from_rgb(np.zeros((8, 8, 3), np.uint8))


def rate_of(times: list[float]) -> float:
    """Add results whose last comes now and return the rate."""
    rates, now = Rates(), time.monotonic()
    for index, when in enumerate(times):
        rates.add(Frame("cam", index, 0.0, PLANES), now + when - times[-1])
    return rates.fps("cam")


def bursts(count: int, size: int, every: float) -> list[float]:
    """Return the times of results that come in batches."""
    return [number * every + place * 1e-4 for number in range(count) for place in range(size)]


@pytest.mark.parametrize(
    ("times", "rate"),
    [
        pytest.param([0.0], 0, id="one result tells nothing"),
        pytest.param(bursts(1, 5, 1.0), 0, id="nor does one batch"),
        pytest.param(bursts(2, 4, 0.2), 0, id="nor do two that are soon after one another"),
        pytest.param(bursts(31, 1, 1 / 30), 30, id="one by one"),
        pytest.param(bursts(6, 4, 0.2), 20, id="batches"),
        pytest.param(bursts(3, 4, 0.4), 10, id="few batches"),
        pytest.param(bursts(2000, 1, 0.0005), 2000, id="very many"),
    ],
)
def test_a_rate_is_shown_once_it_is_true(times: list[float], rate: float) -> None:
    assert rate_of(times) == pytest.approx(rate, rel=0.03)


def test_the_hud_has_no_rate_before_there_is_one() -> None:
    rates, now = Rates(), time.monotonic()
    frame = Frame("cam", 0, 0.0, PLANES)
    for when in bursts(1, 5, 1.0):
        rates.add(frame, now + when)
    assert "fps" not in rates.hud(frame)


@pytest.mark.parametrize(("key", "shown"), [(-1, ""), (7, "  key"), (5, "  key+2")])
def test_the_hud_says_time_rate_latency_and_key_frame(key: int, shown: str) -> None:
    rates, now = Rates(), time.monotonic()
    for when in bursts(31, 1, 1 / 30):
        rates.add(Frame("cam", 0, 0.0, PLANES, captured=now + when - 0.04), now + when)
    assert rates.hud(Frame("cam", 7, 62.5, PLANES, key_index=key)) == f"cam  01:02.50  30 fps  40 ms{shown}"


def test_a_stream_that_stands_has_no_rate() -> None:
    rates, now = Rates(), time.monotonic()
    for when in bursts(31, 1, 1 / 30):
        rates.add(Frame("cam", 0, 0.0, PLANES), now + when - 5.0)
    assert rates.fps("cam") == rates.total() == 0.0


def test_ages_are_of_live_results_since_the_last_look() -> None:
    rates = Rates()
    rates.add(Frame("cam", 0, 0.0, PLANES, captured=1.0, live=True), 1.5)
    rates.add(Frame("film", 0, 0.0, PLANES, captured=1.0), 9.0)
    assert rates.ages() == [0.5]
    assert rates.ages() == []


def test_latency_is_smoothed_over_ten_results_and_forgotten_with_the_stream() -> None:
    rates = Rates()
    for latency in [1.0] + [0.0] * 10:
        rates.add(Frame("cam", 0, 0.0, PLANES, captured=5.0 - latency), 5.0)
    assert rates.latency("cam") == pytest.approx(0.9**10)
    rates.forget("cam")
    assert rates.latency("cam") == 0.0


def test_figures_are_of_the_unit_that_they_say() -> None:
    with Pipeline(gather([synthetic(4)], "grey"), model=GreyModel(batch=4)) as pipeline:
        pipeline.run()
        pipeline.began, pipeline.ended = 100.0, 102.0
        pipeline.batching.batches, pipeline.batching.frames = 2, 6
        for times in (pipeline.latency, pipeline.graph.nodes["collect"].busy):
            times.clear()
            for milliseconds in range(1, 101):
                times.add(milliseconds / 1e3)
        tally = pipeline.graph.ledger.tally("collect", "synthetic")
        tally.dropped["late"], tally.failed["broken"] = 2, 1
        figures = report(pipeline)
    assert (figures.seconds, figures.fps, figures.occupancy) == (2.0, 2.0, 0.75)
    (stage,) = [stage for stage in figures.stages if stage.name == "collect"]
    for found in (figures.latency_ms, (stage.median_ms, stage.p95_ms, stage.p99_ms)):
        assert found == pytest.approx((50, 95, 99), rel=0.03)
    assert (stage.items, stage.queued) == (100, 0)
    (stream,) = figures.streams
    assert (stream.decoded, stream.results, stream.key_frames, stream.frames_between) == (4, 4, 0, 0)
    assert (stream.dropped, stream.failed) == ({"collect: late": 2}, {"collect: broken": 1})
    assert figures.lost == {"collect: late": 2, "collect: broken": 1}
    assert figures.unbalanced == ("collect: synthetic: -3 of 4 frames unaccounted for",)

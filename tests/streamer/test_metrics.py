"""Histogram against numpy's quantiles, and the balance of the ledger."""

import numpy as np
import pytest

from streamer.metrics import Histogram, Ledger


@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("scale", [2e-6, 1e-3, 4.0], ids=["microseconds", "milliseconds", "seconds"])
def test_quantiles_are_within_a_bucket(q, scale):
    times = np.random.default_rng(0).gamma(2.0, scale, 20_000)
    histogram = Histogram()
    for seconds in times:
        histogram.add(seconds)
    assert histogram.quantile(q) == pytest.approx(np.quantile(times, q), rel=0.025, abs=1e-6)
    assert histogram.mean == pytest.approx(times.mean())


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 1e4], ids=["zero", "below", "above"])
def test_durations_out_of_range_are_kept_at_the_ends(seconds):
    histogram = Histogram()
    histogram.add(seconds)
    assert histogram.count == 1
    assert 0 < histogram.quantile(0.5) <= 1.01e3


def test_an_empty_histogram_is_zero():
    assert (Histogram().quantile(0.5), Histogram().mean) == (0.0, 0.0)


def test_ledger_names_what_is_not_accounted_for():
    ledger = Ledger()
    tally = ledger.tally("infer", "door")
    tally.offered, tally.out = 7, 3
    tally.dropped["late"] = 1
    tally.failed["broken"] = 2
    assert ledger.unbalanced() == ["infer: door: 1 of 7 frames unaccounted for"]
    assert ledger.lost() == {"infer: late": 1, "infer: broken": 2}
    ledger.write_off("aborted")
    assert ledger.unbalanced() == []
    assert ledger.lost() == {"infer: late": 1, "infer: broken": 2, "infer: aborted": 1}

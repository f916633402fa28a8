"""Timeline: true times are left alone, false ones mended, and time never falls."""

from __future__ import annotations

import pytest

from streamer.sources.timeline import TICK, Timeline

END = 2**33 / 90_000

CASES = {
    "true times stay, however uneven": ([0.0, 0.05, 2.0, 2.1], [0.0, 0.05, 2.0, 2.1]),
    "a late or negative start stays": ([-0.2, -0.1, 0.0], [-0.2, -0.1, 0.0]),
    "missing times follow at the usual step": ([None, None, None], [0.0, 0.1, 0.2]),
    "a gap in the times is filled": ([1.0, None, 1.2], [1.0, 1.1, 1.2]),
    "a repeated time moves on by a tick only": ([1.0, 1.0, 1.1], [1.0, 1.0 + TICK, 1.1]),
    "a small step back moves on by a tick only": ([1.0, 0.9, 1.1], [1.0, 1.0 + TICK, 1.1]),
    "a jump back starts anew where the old ended": ([5.0, 5.1, 0.0, 0.1], [5.0, 5.1, 5.2, 5.3]),
    "a clock that runs over goes on": (
        [END - 0.2, END - 0.1, 0.05, 0.2],
        [END - 0.2, END - 0.1, END + 0.05, END + 0.2],
    ),
    "also where pictures take turns": (
        [END - 0.1, 0.0, END + 0.1, 0.2],
        [END - 0.1, END, END + 0.1, END + 0.2],
    ),
    "one that starts anew after a day does not run over": (
        [9e4, 9e4 + 0.1, 0.0],
        [9e4, 9e4 + 0.1, 9e4 + 0.2],
    ),
    "and again": ([5.0, 0.0, 4.0, 0.0, 0.1], [5.0, 5.1, 9.1, 9.2, 9.3]),
}


@pytest.mark.parametrize("case", CASES)
def test_times_rise(case):
    given, expected = CASES[case]
    timeline = Timeline(0.1)
    assert [timeline.stamp(pts) for pts in given] == pytest.approx(expected)


def test_a_pictures_own_duration_places_the_next():
    timeline = Timeline(0.1)
    assert [timeline.stamp(1.0, 0.5), timeline.stamp(None)] == pytest.approx([1.0, 1.5])


def test_sound_is_moved_as_the_pictures_whose_clock_runs_over():
    timeline = Timeline(0.1)
    timeline.stamp(END - 0.1)
    assert [timeline.shift(pts) for pts in (END - 0.05, 0.02)] == pytest.approx([0.0, END])
    timeline.stamp(0.0)
    assert [timeline.shift(pts) for pts in (END - 0.05, 0.02)] == pytest.approx([0.0, END])


def test_offset_is_what_sound_must_be_moved_by():
    timeline = Timeline(0.1)
    for pts in (5.0, 5.1, 2.0):
        timeline.stamp(pts)
    assert timeline.offset == pytest.approx(3.2)

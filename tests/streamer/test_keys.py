"""Key frames: when they come, how streams share them out, what the user may ask for."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from engines.detections import Detections
from engines.errors import InputError
from streamer.frame import Frame, Planes
from streamer.keys import KeyPolicy, Keys, key_policy


def frame(index: int, *, pts: float | None = None, size: int = 4, cuts: int = 0, stream: str = "a") -> Frame:
    grey = np.zeros((size, size), np.uint8)
    return Frame(stream, index, index / 25 if pts is None else pts, Planes(grey, grey, grey), cuts=cuts)


def pattern(keys: Keys, frames: list[Frame]) -> str:
    """K for key frames, b for frames between."""
    return "".join("K" if keys.is_key(each, known=number > 0) else "b" for number, each in enumerate(frames))


@pytest.mark.parametrize(
    ("told", "frames", "expected"),
    [
        ("5", [frame(n) for n in range(11)], "KbbbbKbbbbK"),
        ("1", [frame(n) for n in range(4)], "KKKK"),
        ("3", [frame(n) for n in (0, 1, 7, 8, 9, 20, 21)], "KbbKbbK"),
        ("4", [frame(n, cuts=n // 3) for n in range(8)], "KbbKKbKb"),
        ("4", [frame(n, size=8 if n > 1 else 4) for n in range(6)], "KbKbKb"),
        ("9", [frame(n, pts=0.3 * n) for n in range(8)], "KbbbKbbb"),
        ("9,seconds=0.5", [frame(n, pts=0.3 * n) for n in range(5)], "KbKbK"),
        ("9", [frame(0, pts=5), frame(1, pts=5.04), frame(2, pts=1), frame(3, pts=1.04)], "KbKb"),
        ("auto,most=3", [frame(n) for n in range(7)], "KbbKbbK"),
    ],
    ids=[
        "interval", "every frame", "dropped frames lengthen the gap", "cut, and back in step", "new size",
        "age in time", "age in time asked for", "time runs back", "adaptive by age",
    ],
)  # fmt: skip
def test_key_frames_come_when_due(told, frames, expected):
    assert pattern(Keys(key_policy(told)), frames) == expected


def test_frames_know_their_key_frame():
    keys, frames = Keys(KeyPolicy(3)), [frame(n) for n in (4, 5, 9, 10, 11)]
    pattern(keys, frames)
    assert [each.key_index for each in frames] == [4, 4, 4, 10, 10]
    assert keys.frames == {("a", "key"): 2, ("a", "between"): 3}


@pytest.mark.parametrize(
    ("streams", "interval", "batch"), [(8, 5, 1), (3, 5, 1), (12, 4, 1), (20, 5, 4), (6, 5, 4)]
)
def test_phases_of_streams_are_spread_by_batches(streams, interval, batch):
    """After the first round, key frames of one round make whole batches, as evenly as these allow."""
    keys = Keys(KeyPolicy(interval), batch)
    rounds = Counter()
    for number in range(1 + 3 * interval):
        for stream in range(streams):
            given = frame(number, stream=f"s{stream}")
            rounds[number] += keys.is_key(given, known=number > 0)
    assert rounds[0] == streams
    loads = [rounds[number] for number in range(1, 1 + interval)]
    assert sum(loads) == streams
    assert max(loads) - min(loads) <= batch
    assert sum(load % batch > 0 for load in loads) <= 1
    assert [rounds[number] for number in range(1 + interval, 1 + 2 * interval)] == loads


@pytest.mark.parametrize("interval", [1, 2, 3, 7, 12])
def test_a_new_stream_takes_the_least_used_phase_that_is_farthest_from_others(interval):
    random = np.random.default_rng(interval)
    for _ in range(20):
        keys, phases = Keys(KeyPolicy(interval)), []
        for stream in range(2 * interval):
            keys.is_key(frame(0, stream=f"s{stream}"), known=False)
            phase = keys._courses[f"s{stream}"].phase
            least = min(phases.count(each) for each in range(interval))
            free = [each for each in range(interval) if phases.count(each) == least]
            gaps = {
                each: min((min((each - it) % interval, (it - each) % interval) for it in phases), default=0)
                for each in free
            }
            assert phase == max(free, key=lambda each: (gaps[each], -each))
            phases.append(phase)
            if random.random() < 0.3:
                keys.forget(f"s{stream}")
                phases.pop()


def test_a_large_interval_takes_no_time_to_share_out():
    keys = Keys(key_policy(1_000_000_000))
    for stream in ("a", "b", "c"):
        keys.is_key(frame(0, stream=stream), known=False)
    assert [keys._courses[stream].phase for stream in ("a", "b", "c")] == [0, 500_000_000, 250_000_000]


def test_a_stream_that_left_makes_room_in_its_phase():
    keys = Keys(KeyPolicy(2))
    for stream in ("a", "b"):
        keys.is_key(frame(0, stream=stream), known=False)
    keys.forget("a")
    keys.is_key(frame(0, stream="c"), known=False)
    keys.is_key(frame(1, stream="b"), known=True)
    assert [keys.is_key(frame(1, stream=stream), known=True) for stream in ("c",)] == [False]
    assert keys.is_key(frame(2, stream="c"), known=True)


def test_a_frame_whose_state_the_engine_no_longer_has_is_a_key_frame():
    keys = Keys(KeyPolicy(5))
    assert [keys.is_key(frame(n), known=n not in (0, 2)) for n in range(4)] == [True, False, True, False]


def scored(*scores: float) -> Detections:
    return Detections.of(np.zeros((len(scores), 4)), scores, np.zeros(len(scores)))


@pytest.mark.parametrize(
    ("found", "motion", "due"),
    [
        (scored(0.9, 0.6), 0.01, False),
        (scored(0.9, 0.6), 0.2, True),
        (scored(0.9), 0.0, True),
        (scored(0.8, 0.5), 0.0, False),
        (scored(0.9, 0.6, 0.7), 0.0, False),
    ],
    ids=["calm", "moved far", "one is lost", "a little less sure", "one more"],
)
def test_adaptive_key_frames_follow_flow_and_scores(found, motion, due):
    keys = Keys(key_policy("auto,flow=0.1,fall=0.25"))
    first, second, third = (frame(number) for number in range(3))
    keys.is_key(first, known=False)
    keys.note(first, scored(0.9, 0.6), 0.0)
    keys.is_key(second, known=True)
    keys.note(second, found, motion)
    assert keys.is_key(third, known=True) is due


def test_late_results_of_an_earlier_key_frame_count_no_more():
    keys = Keys(key_policy("auto"))
    late = frame(0)
    keys.is_key(late, known=False)
    keys.is_key(frame(1, cuts=1), known=True)
    keys.note(late, scored(), 1.0)
    assert not keys.is_key(frame(2, cuts=1), known=True)
    keys.forget("a")
    keys.note(late, scored(), 1.0)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("0", "'0', a number of frames from 1 to 1000000000 or auto is right"),
        ("100000000000", "'100000000000', a number of frames from 1 to"),
        ("9" * 5000, "a number of frames from 1 to"),
        ("²", "'²', a number of frames from 1 to"),
        ("auto,fall=2", "fall: '2', a share above 0 and up to 1"),
        ("often", "'often', a number of frames"),
        ("auto,fluw=1", "'fluw', one of seconds, most, flow, fall is right, did you mean 'flow'"),
        ("auto,flow=x", "flow: 'x', a number above 0"),
        ("auto,most=-3", "most: '-3', a number above 0"),
        ("5,most=3", "most: only auto has it"),
    ],
)
def test_what_cannot_be_is_refused(told, words):
    with pytest.raises(InputError, match="key-interval: ") as caught:
        key_policy(told)
    assert words in str(caught.value)


def test_policies_are_read():
    assert key_policy(7) == KeyPolicy(7)
    assert key_policy("auto,most=20,flow=0.1,seconds=2") == KeyPolicy(0, 2.0, 20, 0.1)

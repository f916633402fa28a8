"""Chaos: each fault does what it says, when it says, and what follows balances."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from engines.errors import InputError, WorkError
from streamer import planes as pixels
from streamer.frame import Frame, Planes
from streamer.pipeline import Pipeline
from streamer.settings import gather
from streamer.sources import SourceInfo, Unavailable, open_source
from streamer.sources.chaos import Chaos, Fault, Plan, open_chaos
from streamer.sources.quarantine import is_black

from ..test_pipeline import GreyModel
from .conftest import Film, picture


class Camera:
    """Twenty-five pictures a second by a clock that only they move."""

    name, live = "cam", True
    info = SourceInfo((64, 48), 25.0)

    def __init__(self, clock: dict[str, float], seconds: float = 10.0) -> None:
        self.failures: Counter[str] = Counter()
        self.clock, self.seconds = clock, seconds

    def __iter__(self) -> Iterator[Frame]:
        for index in range(round(self.seconds * 25)):
            self.clock["now"] += 0.04
            grey = np.full((48, 64, 3), 50 + index * 7 % 150, np.uint8)
            planes = pixels.from_rgb(grey, subsampling=(2, 2), matrix="bt709", full_range=False)
            yield Frame("cam", index, index / 25, planes, self.clock["now"])

    def stop(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def clock(monkeypatch) -> dict[str, float]:
    now = {"now": 1000.0}
    monkeypatch.setattr("streamer.sources.chaos.time.monotonic", lambda: now["now"])
    return now


def play(clock, query: str) -> tuple[list[Frame], Chaos]:
    plan = Plan(f"chaos:cam?{query}")
    plan.begin()
    chaos = Chaos(Camera(clock), plan)
    waited = []
    chaos._stopped.wait = lambda seconds: (waited.append(seconds), clock.update(now=clock["now"] + seconds))
    frames = []
    with suppress(WorkError):
        frames.extend(chaos)
    return frames, chaos


def test_a_plan_is_read_whole():
    plan = Plan(
        "chaos:rtsp://me:hush@cam/1?a=b?stall=5s@30s&stall=1s@2m&drop=1%&corrupt=.001&jitter=40ms&seed=3"
    )
    assert plan.url == "rtsp://me:hush@cam/1?a=b"
    assert plan.faults == [Fault("stall", 30, 5), Fault("stall", 120, 1)]
    assert (plan.drop, plan.corrupt, plan.jitter) == (0.01, 0.001, 0.04)
    assert Plan("chaos:0").url == "0"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("stal=5s@30s", "did you mean 'stall'"),
        ("stall=5s", "stall=5s@30s"),
        ("drop=1%@3s", "takes no time"),
        ("drop=150%", "0% to 100%"),
        ("stall=5x@30s", "'5x', a duration such as"),
        ("eof@soon", "'soon', a duration"),
        ("seed=x", "seed=x"),
    ],
)
def test_a_mistake_is_refused_with_what_would_be_right_and_no_secret(query, words):
    with pytest.raises(InputError) as refusal:
        open_source(f"chaos:rtsp://me:hush@cam/1?{query}")
    assert words in str(refusal.value)
    assert "hush" not in str(refusal.value)


def test_a_stall_gives_nothing_for_its_time(clock):
    frames, _ = play(clock, "stall=3s@2s")
    gaps = [b - a for a, b in pairwise([0.0, *(frame.pts for frame in frames)])]
    assert max(gaps) <= 0.041
    assert clock["now"] == pytest.approx(1000 + 10 + 3, abs=0.05)


def test_the_end_comes_once(clock):
    frames, chaos = play(clock, "eof@4s")
    assert frames[-1].pts == pytest.approx(4.0, abs=0.1)
    again = Chaos(Camera(clock), chaos._plan)
    assert len(list(again)) == 250


def test_a_refusal_lasts_its_time(clock, monkeypatch):
    plan = Plan("chaos:synthetic:?refuse=2s@0s")
    with pytest.raises(Unavailable, match="on purpose"):
        open_chaos("chaos:synthetic:?refuse=2s@0s", "cam", plan)
    clock["now"] += 2.1
    open_chaos("chaos:synthetic:?refuse=2s@0s", "cam", plan).close()


def test_the_clock_jumps_and_stays(clock):
    frames, _ = play(clock, "clock=-2s@4s&clock=5s@6s")
    shifts = [round(frame.pts - frame.index / 25, 3) for frame in frames]
    assert list(dict.fromkeys(shifts)) == [0.0, -2.0, 3.0]


def test_the_size_is_halved_from_its_time_on(clock):
    frames, _ = play(clock, "resize@4s")
    sizes = [frame.size for frame in frames]
    assert list(dict.fromkeys(sizes)) == [(64, 48), (32, 24)]
    assert sizes.index((32, 24)) == pytest.approx(100, abs=2)


def test_pictures_are_black_and_frozen_for_their_time(clock):
    frames, _ = play(clock, "black=2s@2s&freeze=2s@6s")
    assert sum(is_black(frame.planes) for frame in frames) == pytest.approx(50, abs=2)
    same = sum(np.array_equal(a.planes.y, b.planes.y) for a, b in pairwise(frames[140:]))
    assert same == pytest.approx(50, abs=3)


def test_jitter_delays_and_reorders_nothing(clock):
    frames, _ = play(clock, "jitter=40ms&seed=1")
    assert [frame.index for frame in frames] == list(range(250))
    assert 1000 + 10 + 250 * 0.01 < clock["now"] < 1000 + 10 + 250 * 0.03


def test_the_same_seed_gives_the_same_faults(clock):
    kept = [[frame.index for frame in play(clock, f"drop=10%&seed={seed}")[0]] for seed in (1, 1, 2)]
    assert kept[0] == kept[1] != kept[2]
    frames, chaos = play(clock, "drop=10%&corrupt=20%&seed=1")
    assert len(frames) + chaos.failures["lost on purpose"] == 250
    assert 10 < 250 - len(frames) < 45
    assert 20 < sum(frame.damaged for frame in frames) < 80


def test_packets_of_a_film_are_lost_and_spoilt_before_they_are_decoded(film: Film, tmp_path: Path):
    path = film("a.mp4", [picture(number) for number in range(30)])
    whole = len(list(open_source(str(path))))
    for query, least in (("drop=20%&seed=2", 1), ("corrupt=50%&seed=2", 1)):
        source = open_source(f"chaos:{path}?{query}")
        source._source.live = True  # no pacing
        frames = list(source)
        damaged = sum(frame.damaged for frame in frames)
        assert damaged + whole - len(frames) + source.failures.total() >= least
        source.close()


def test_pictures_that_are_not_coded_cannot_be_spoilt():
    with pytest.raises(InputError, match=r"corrupt: wrapped_avframe: .*drop would be right"):
        open_chaos("chaos:lavfi:testsrc2=size=64x48?corrupt=1%", "x")


def schedule(seed: int) -> str:
    """A random plan of faults for a run of two seconds."""
    rng = random.Random(seed)
    kinds = {
        "eof": lambda at: f"eof@{at}ms",
        "refuse": lambda at: f"refuse={rng.randint(50, 400)}ms@{at}ms",
        "stall": lambda at: f"stall={rng.randint(50, 600)}ms@{at}ms",
        "clock": lambda at: f"clock={rng.choice([-3600, -2, -1, 1, 100])}s@{at}ms",
        "resize": lambda at: f"resize@{at}ms",
        "black": lambda at: f"black={rng.randint(50, 400)}ms@{at}ms",
        "freeze": lambda at: f"freeze={rng.randint(50, 400)}ms@{at}ms",
        "drop": lambda at: f"drop={rng.randint(1, 30)}%",
        "corrupt": lambda at: f"corrupt={rng.randint(1, 30)}%",
        "jitter": lambda at: f"jitter={rng.randint(1, 60)}ms",
    }
    faults = [kinds[name](rng.randint(0, 1800)) for name in rng.sample(sorted(kinds), rng.randint(2, 7))]
    return "&".join([*faults, f"seed={seed}"])


QUERIES = [
    *map(schedule, (0, 1, 2, 3, 4, 12)),
    "eof@100ms&eof@700ms&drop=5%&corrupt=5%&seed=1",
    "refuse=300ms@200ms&clock=-2s@900ms&resize@1s&jitter=10ms",
    "black=300ms@200ms&stall=300ms@700ms&clock=100s@1200ms",
]


@pytest.mark.parametrize("query", QUERIES)
def test_totals_balance_under_random_faults_and_order_is_kept(query, tmp_path):
    url = f"chaos:synthetic:?size=128x72&fps=50&count=0&live=1&seed=4?{query}"
    settings = gather([url, "synthetic:?size=128x72&count=30"], "grey", seconds=2.0)
    with Pipeline(settings, model=GreyModel(batch=2)) as pipeline:
        frames = list(pipeline.frames())
        report = pipeline.report()
    assert report.unbalanced == ()
    for stream in report.streams:
        mine = [frame for frame in frames if frame.stream == stream.name]
        late = stream.dropped.get("frames: late", 0)  # for the loop above
        assert len(mine) + late == stream.results
        assert all(b.index > a.index and b.pts > a.pts for a, b in pairwise(mine))
        assert stream.decoded + late == stream.results + sum(stream.dropped.values())
    assert len([frame for frame in frames if frame.stream.endswith("-2")]) == 30
    assert not any(is_black(frame.planes) for frame in frames)


def test_black_planes_are_black_in_both_ranges():
    from streamer.sources.chaos import blackened

    luma, chroma = np.full((4, 6), 99, np.uint8), np.full((2, 3), 60, np.uint8)
    for full in (False, True):
        planes = Planes(luma, chroma, chroma, full_range=full)
        assert is_black(blackened(planes))
        assert not is_black(planes)

"""Film: the clock of a file, and how much the encoder may hold back."""

from __future__ import annotations

from itertools import pairwise

import pytest

from streamer.sinks.film import LOOKAHEAD, Clock, Settings, _delays

TICKS = 90_000


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        pytest.param([0.0, 0.1, 0.2], [0.0, 0.1, 0.2], id="as they are"),
        pytest.param([9.9, 10.0], [9.9, 10.0], id="a late start is kept"),
        pytest.param([10.1, 10.2], [0.0, 0.1], id="a very late start is not"),
        pytest.param([-1.0, 0.0, 1.0], [0.0, 1.0, 2.0], id="time before zero"),
        pytest.param([0.0, 3600.0], [0.0, 3600.0], id="a gap is real"),
        pytest.param([0.0, 2.0, 4.0, 0.0, 2.0], [0.0, 2.0, 4.0, 6.0, 8.0], id="a loop goes on"),
        pytest.param([0.0, 2.0, 25e3, 25e3 + 2], [0.0, 2.0, 4.0, 6.0], id="a leap that MP4 cannot hold"),
        pytest.param([8.0, 25e3], [8.0, 8.0 + 1 / TICKS], id="and one after the first picture"),
    ],
)
def test_time_is_kept_where_a_file_can_hold_it(times: list[float], expected: list[float]) -> None:
    clock = Clock("a.mp4")
    ticks = [clock.tick(time) for time in times]
    assert [tick / TICKS for tick in ticks] == pytest.approx(expected, abs=1 / TICKS)


def test_time_always_grows() -> None:
    clock = Clock("a.mp4")
    ticks = [clock.tick(time) for time in (0.0, 0.0, 0.5, 0.4, 0.4, 0.6, -5.0, -5.0)]
    assert all(later > earlier for earlier, later in pairwise(ticks))


@pytest.mark.parametrize("preset", LOOKAHEAD)
@pytest.mark.parametrize("fps", [0, 1, 5, 10, 25, 60, 240])
@pytest.mark.parametrize("size", [(320, 180), (1920, 1080), (7680, 4320)])
def test_the_encoder_holds_half_a_second_at_most(preset: str, fps: float, size: tuple[int, int]) -> None:
    threads, lookahead = _delays(size, 1 / fps if fps else 0.0, Settings(preset))
    assert threads >= 1
    assert 0 <= lookahead <= LOOKAHEAD[preset]
    assert threads - 1 + lookahead <= fps / 2


def test_threads_may_be_the_user_s() -> None:
    assert _delays((320, 180), 1 / 30, Settings(threads=5))[0] == 5

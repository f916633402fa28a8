"""Room: files give small pictures in bursts, live streams never wait for one."""

import numpy as np
import pytest

from streamer.frame import Frame
from streamer.inbox import Inbox
from streamer.planes import from_rgb as to_planes
from streamer.rooms import Room, before_engine, before_output
from streamer.sources import SourceInfo
from streamer.stages import draw


class Still:
    """A source of which only the size and the kind matter."""

    def __init__(self, size: tuple[int, int], *, live: bool = False, steady: bool = True) -> None:
        self.info, self.live = SourceInfo(size, steady=steady), live


@pytest.mark.parametrize(
    ("size", "live", "prompt", "engine", "output"),
    [
        ((768, 432), False, False, Room("block", 16), Room("block", 16, 8)),
        ((1280, 720), False, False, Room("block", 6), Room("block", 6, 3)),
        ((3840, 2160), False, False, Room("block", 6), Room("block", 4, 1)),
        ((768, 432), False, True, Room("block", 6), Room("block", 4, 1)),
        ((768, 432), True, False, Room("latest", 2), Room("latest", 8)),
        ((1, 1), False, False, Room("block", 16), Room("block", 16, 8)),
    ],
    ids=["small file", "720p file", "4K file", "file at its own pace", "camera", "one pixel"],
)
def test_bursts_are_for_small_pictures_of_files_that_nobody_waits_for(size, live, prompt, engine, output):
    source = Still(size, live=live)
    assert before_engine(source, prompt=prompt) == engine
    assert before_output(source, prompt=prompt) == output
    assert output.capacity >= 2 * output.burst or output.burst == 1  # else a full lane would wait for itself


def test_pictures_of_any_size_are_not_stored_by_the_size_of_the_first():
    source = Still((128, 96), steady=False)
    assert before_engine(source, prompt=False) == Room("block", 6)
    assert before_output(source, prompt=False) == Room("block", 4)


def test_many_streams_store_no_more_than_a_few():
    stored = [
        before_engine(Still((768, 432)), prompt=False, streams=count).capacity for count in (1, 2, 3, 40)
    ]
    assert stored == [16, 8, 6, 6]


class Watched(Inbox[Frame]):
    """Tells how many items were awaited each time that it was empty."""

    def __init__(self) -> None:
        super().__init__()
        self.awaited: list[int] = []

    def linger(self, items: int, seconds: float) -> None:
        assert not len(self)
        self.awaited.append(items)


@pytest.mark.parametrize(("burst", "awaited"), [(1, []), (3, [3])])
def test_a_stage_waits_for_a_burst_only_before_an_empty_inbox(burst, awaited):
    picture = to_planes(np.zeros((2, 2, 3), np.uint8))
    inbox, frames = Watched(), [Frame("a", index, index / 10, picture) for index in range(5)]
    lane = inbox.lane("a", capacity=8)
    for frame in frames:
        lane.put(frame)
    lane.close()
    assert list(draw([], burst)(inbox)) == frames
    assert inbox.awaited == awaited

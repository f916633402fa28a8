"""Feed: limits, loops and pacing over a source, and its failures in the ledger."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

from streamer.audio import AudioPacket, AudioTrack
from streamer.feed import Feed, Limits
from streamer.frame import Frame, Planes
from streamer.metrics import Tally
from streamer.sources import SourceInfo

GREY = Planes(np.zeros((2, 2), np.uint8), np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint8))


class Clip:
    """Ten frames at 25 per second, the fourth of them broken; time starts at 2 s."""

    name, info = "clip", SourceInfo((2, 2), 25.0, 10)

    def __init__(self, live: bool = False) -> None:
        self.live = live
        self.failures: Counter[str] = Counter()
        self.stopped = self.closed = False

    def __iter__(self) -> Iterator[Frame]:
        for index in range(10):
            if self.stopped:
                return
            if index == 3:
                self.failures["decode error"] += 1
                continue
            yield Frame("clip", index, 2 + index / 25, GREY, duration=1 / 25)

    def stop(self) -> None:
        self.stopped = True

    def close(self) -> None:
        self.closed = True


def read(most: int = 100, live: bool = False, **limits) -> tuple[list[Frame], Tally, list[Clip]]:
    clips = [Clip(live)]

    def reopen() -> Clip:
        clips.append(Clip(live))
        return clips[-1]

    tally = Tally()
    feed = Feed(clips[0], reopen, Limits(**limits), tally)
    frames = []
    for frame in feed:
        frames.append(frame)
        tally.offered += 1
        tally.out += 1
        if len(frames) == most:
            feed.stop()
    return frames, tally, clips


@pytest.mark.parametrize(
    ("limits", "indices"),
    [
        ({}, [0, 1, 2, 4, 5, 6, 7, 8, 9]),
        ({"frames": 4}, [0, 1, 2, 4]),
        ({"seconds": 0.2}, [0, 1, 2, 4]),
        ({"seconds": 0.2, "frames": 2}, [0, 1]),
    ],
    ids=["all", "frames", "seconds of its own time", "whichever comes first"],
)
def test_limits(limits, indices):
    frames, _, clips = read(**limits)
    assert [frame.index for frame in frames] == indices
    assert clips[0].closed


def test_failures_are_in_the_ledger():
    _, tally, _ = read()
    assert tally.failed == {"decode error": 1}
    assert tally.offered == 10
    assert tally.in_flight == 0


def test_a_loop_goes_on_in_time_and_number():
    frames, tally, clips = read(most=20, loop=True)
    assert [frame.index for frame in frames] == sorted({frame.index for frame in frames})
    steps = np.diff([frame.pts for frame in frames])
    assert np.all((steps > 0.039) & (steps < 0.081))
    assert frames[9].pts == pytest.approx(2 + 10 / 25)
    assert len(clips) == 3
    assert all(clip.closed for clip in clips)
    assert tally.failed == {"decode error": 2}
    assert tally.in_flight == 0


def test_the_sound_of_a_loop_goes_on_with_its_pictures(monkeypatch):
    track = AudioTrack("aac", 8000, "mono", Fraction(1, 8000))
    silent = Clip.__iter__

    def sounding(clip: Clip) -> Iterator[Frame]:
        for frame in silent(clip):
            at = round(frame.pts * 8000)
            frame.audio = (AudioPacket(b"", at, at, 320),)
            yield frame

    monkeypatch.setattr(Clip, "info", SourceInfo((2, 2), 25.0, 10, audio=track))
    monkeypatch.setattr(Clip, "__iter__", sounding)
    frames, _, _ = read(most=20, loop=True)
    assert [frame.audio[0].pts / 8000 for frame in frames] == pytest.approx([frame.pts for frame in frames])
    assert [packet.dts for frame in frames for packet in frame.audio] == [
        packet.pts for frame in frames for packet in frame.audio
    ]


def test_stop_ends_a_loop():
    frames, _, _ = read(most=5, loop=True)
    assert len(frames) == 5


def test_realtime_gives_a_frame_when_its_time_has_come():
    began = time.monotonic()
    frames, _, _ = read(realtime=True)
    arrivals = [frame.captured - began for frame in frames]
    for arrival, frame in zip(arrivals, frames, strict=True):
        assert arrival >= frame.pts - 2 - 0.001


def test_what_follows_a_pause_comes_as_much_later():
    feed = Feed(Clip(), Clip, Limits(realtime=True), Tally())
    frames = iter(feed)
    next(frames)
    feed.pause(True)
    resume = threading.Timer(0.6, feed.pause, (False,))
    resume.start()
    arrivals = [frame.captured for frame in frames]
    resume.join()
    assert arrivals[-1] - arrivals[0] >= (9 - 1) / 25 - 0.02


def test_a_live_source_is_neither_looped_nor_paced():
    frames, _, clips = read(live=True, loop=True, realtime=True)
    assert len(frames) == 9
    assert len(clips) == 1


def test_who_pauses_a_feed_while_it_is_stopped_holds_up_nobody(monkeypatch):
    feed = Feed(Clip(), Clip, Limits(), Tally())
    clear = feed._playing.clear

    def stop_first() -> None:
        feed.stop()
        clear()

    monkeypatch.setattr(feed._playing, "clear", stop_first)
    feed.pause(True)
    assert not feed.paused

"""RTSP: a real server's stream through FFmpeg and the wrapper, with everything that can happen to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from streamer.frame import Frame
from streamer.sources import Unavailable, open_source, video
from streamer.sources.opening import Opening, settle
from streamer.sources.reconnect import Reconnect
from tests.servers.clip import Clip, encode, number_of, still
from tests.servers.rtsp import RtspServer

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def clip() -> Clip:
    return encode(30, gop=15)


@pytest.fixture
def server(clip: Clip) -> Iterator[RtspServer]:
    with RtspServer({"/cam": clip}) as server:
        yield server


@pytest.fixture
def camera(server: RtspServer) -> Iterator[Callable[..., Reconnect]]:
    opened = []

    def connect(**how) -> Reconnect:
        (source,) = settle([Opening(server.url(), **how)])
        assert isinstance(source, Reconnect)
        opened.append(source)
        return source

    yield connect
    for source in opened:
        source.stop()


def take(frames: Iterator[Frame], count: int) -> list[Frame]:
    return [next(frames) for _ in range(count)]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_pictures_are_those_of_the_sender_in_order_with_its_clock(server, monkeypatch, transport):
    monkeypatch.setitem(video.OPTIONS, "rtsp", {"rtsp_transport": transport})
    source = open_source(server.url())
    frames = iter(source)
    found = take(frames, 60)
    numbers = [number_of(frame.planes.y) for frame in found]
    assert numbers[0] % 15 == 0
    assert all((b - a) % 30 == 1 for a, b in pairwise(numbers))
    assert {frame.live for frame in found} == {True}
    assert not any(frame.damaged for frame in found)
    age = time.time() - found[-1].wall
    assert 0 < age < 2
    source.stop()
    source.close()


def test_a_lost_connection_is_renewed_and_numbers_and_time_go_on(server, camera):
    frames = iter(source := camera())
    seen = take(frames, 10)
    for fault in (server.kick, lambda: (server.down(), server.up()), server.kick):
        fault()
        seen += take(frames, 10)
    assert [frame.index for frame in seen] == sorted({frame.index for frame in seen})
    assert all(b.pts > a.pts for a, b in pairwise(seen))
    assert {frame.stream for frame in seen} == {"cam"}
    assert source.health.losses == 3
    assert number_of(seen[-10].planes.y) % 15 <= 14


def test_size_may_change_in_the_middle(server, camera):
    frames = iter(camera())
    assert next(frames).size == (320, 180)
    server.clips["/cam"] = encode(30, (640, 360), gop=15)
    assert any(next(frames).size == (640, 360) for _ in range(90))


def test_lost_packets_damage_pictures_that_are_withheld_and_counted(server, camera, monkeypatch):
    monkeypatch.setitem(video.OPTIONS, "rtsp", {"rtsp_transport": "udp"})
    frames = iter(source := camera())
    take(frames, 5)
    server.drop = 0.02
    while not source.failures["corrupt"]:
        next(frames)
    server.drop = 0.0
    take(frames, 5)
    assert source.troubles.total() > 0


def test_a_frozen_picture_is_not_given_out_for_long(server, camera, monkeypatch):
    monkeypatch.setattr("streamer.sources.quarantine.FROZEN_AFTER", 0.5)
    frames = iter(source := camera())
    server.clips["/cam"] = encode(15, gop=15, paint=still)
    threading.Timer(2.0, lambda: server.clips.update({"/cam": encode(30, gop=15)})).start()
    while not source.failures["frozen"]:
        next(frames)
    take(frames, 30)
    assert source.health.state == "playing"


@pytest.mark.parametrize("state", ["playing", "stalled", "mute", "down"])
def test_stop_ends_within_two_seconds_in_every_state(server, camera, state):
    source = camera()
    frames = iter(source)
    next(frames)
    if state == "stalled":
        server.stalled = True
    elif state == "mute":
        server.mute = True
        server.kick()
    elif state == "down":
        server.down()
    threading.Timer(0.7, source.stop).start()
    began = time.monotonic()
    for _ in frames:
        pass
    assert time.monotonic() - began < 2.7
    if state == "down":
        server.up()


def test_a_password_with_special_characters_works_and_is_never_shown(clip):
    with RtspServer({"/cam": clip}, login="user:s@c:r#t/%?") as server:
        source = open_source(server.url())
        next(iter(source))
        source.close()
        url = server.url().replace("user", "other")
        with pytest.raises(Unavailable) as refusal:
            open_source(url)
    assert refusal.value.lasting
    assert "another user name and password" in str(refusal.value)
    assert "s@c" not in str(refusal.value)


def test_an_unknown_path_is_said_and_lasting(server):
    with pytest.raises(Unavailable, match="no such path") as refusal:
        open_source(server.url("/other"))
    assert refusal.value.lasting

"""Reconnect: whatever a source does, the stream goes on, nothing false is given out, and counts balance."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest

from streamer.audio import MOST_CARRIED, AudioPacket, AudioTrack
from streamer.frame import Frame, Planes
from streamer.sources import SourceInfo
from streamer.sources.link import Lost
from streamer.sources.quarantine import Quarantine
from streamer.sources.reconnect import Backoff, Patience, Reconnect

STEP = 0.04  # seconds between pictures
CHROMA = np.full((4, 4), 128, np.uint8)
INFO = SourceInfo((8, 8), 25.0, audio=AudioTrack("aac", 8000, "mono", Fraction(1, 8000)))


class SimulatedClock:
    def __init__(self) -> None:
        self.time = 100.0
        self.is_interrupted = False

    def now(self) -> float:
        return self.time

    def wait(self, seconds: float) -> bool:
        if not self.is_interrupted:
            self.time += max(seconds, 0.0)
        return self.is_interrupted

    def interrupt(self) -> None:
        self.is_interrupted = True


@dataclass(frozen=True)
class Spell:
    """How the source is from `start` on."""

    start: float
    kind: str  # good, down, mute, stall, refuse, absent, black, freeze, corrupt, leap


class World:
    """A camera with good and bad spells, and a count of all that it was made to give."""

    def __init__(self, spells: list[Spell]) -> None:
        self.clock = SimulatedClock()
        self.spells = spells
        self.attempts: list[float] = []
        self.open_links: set[Link] = set()
        self.given = 0
        self.said: list[str] = []

    def now(self) -> str:
        kinds = [spell.kind for spell in self.spells if spell.start <= self.clock.time]
        return kinds[-1] if kinds else "good"

    def connect(self) -> Link:
        assert not self.open_links, "a connection was begun before the last one was left"
        self.attempts.append(self.clock.time)
        link = Link(self)
        self.open_links.add(link)
        return link

    def reconnect(self, **how) -> Reconnect:
        how.setdefault("knock", lambda: self.now() != "down")
        return Reconnect("cam", self.connect, clock=self.clock, say=self.said.append, **how)


class Link:
    def __init__(self, world: World) -> None:
        self.world = world
        self.info = INFO
        self.failures: Counter[str] = Counter()
        self.troubles: Counter[str] = Counter()
        self.count = 0
        self.began_in = world.now()
        self.time = 7.0  # the connection's own, in seconds
        self.is_left = False

    def receive(self, timeout: float) -> Frame | None:
        clock, kind = self.world.clock, self.world.now()
        if self.is_left:
            raise Lost("left")
        if kind == "down":
            raise Lost("connection refused")
        if kind == "refuse" and not self.count:
            raise Lost("wrong password", lasting=True)
        if kind == "absent":
            raise Lost("lost") if self.count else Lost("no such path", lasting=True, absent=True)
        if kind in ("mute", "stall") or self.began_in == "mute":
            clock.wait(timeout)
            return None
        clock.wait(STEP)
        self.time += 3600 if kind == "leap" and self.count % 50 == 9 else STEP
        grey = {"black": 16, "freeze": 90}.get(kind, 60 + self.world.given * 7 % 100)
        planes = Planes(np.full((8, 8), grey, np.uint8), CHROMA, CHROMA)
        sound = AudioPacket(b"", round(self.time * 8000), round(self.time * 8000), 1)
        frame = Frame(
            "x", self.count, self.time, planes, clock.time, damaged=kind == "corrupt", audio=(sound,)
        )
        self.count += 1
        self.world.given += 1
        return frame

    def leave(self) -> None:
        self.is_left = True
        self.world.open_links.discard(self)


def play(world: World, source: Reconnect, seconds: float) -> Iterator[tuple[float, str, Frame]]:
    end = world.clock.time + seconds
    # A stream that gives no picture gives nobody the chance to stop it from within the loop.
    wait = world.clock.wait
    world.clock.wait = lambda span: (source.stop() if world.clock.time > end else None, wait(span))[1]
    for frame in source:
        yield world.clock.time, world.now(), frame


KINDS = ["good", "down", "mute", "stall", "refuse", "absent", "black", "freeze", "corrupt", "leap"]


def schedule(seed: int) -> list[Spell]:
    chance, at, spells = random.Random(seed), 100.0, []
    for _ in range(12):
        spells.append(Spell(at, chance.choice(KINDS)))
        at += chance.choice([0.3, 2.0, 8.0, 40.0])
    return [*spells, Spell(at, "good")]


@pytest.mark.parametrize("seed", range(30))
def test_any_schedule_of_faults_is_survived_and_accounted_for(seed):
    world = World(schedule(seed))
    source = world.reconnect()
    last_fault = world.spells[-1].start
    frames, recovered = [], 0.0
    for now, _, frame in play(world, source, last_fault - 100 + 60):
        assert not frame.damaged
        assert frame.planes.y.max() > 24
        frames.append(frame)
        recovered = recovered or (now if now > last_fault else 0.0)
    indices, times = [frame.index for frame in frames], np.array([frame.pts for frame in frames])
    assert indices == sorted(set(indices))
    assert world.given == len(frames) + source.failures.total()
    assert indices[-1] == world.given - 1
    assert np.all(np.diff(times) > 0)
    assert times[-1] - times[0] <= frames[-1].captured - frames[0].captured + 0.1
    assert recovered - last_fault <= 31, world.said
    assert source.health.state == "stopped"
    assert not world.open_links
    sounds = [frame.audio[-1].pts / 8000 for frame in frames]
    assert np.allclose(sounds, times, atol=0.001)


@pytest.mark.parametrize(
    ("kind", "away", "within"),
    [
        ("down", 1.0, 1.0),
        ("down", 300.0, 1.0),
        ("stall", 3.0, 0.5),
        ("stall", 20.0, 2.0),
        ("mute", 3.0, 0.5),
        ("refuse", 100.0, 31.0),
        ("absent", 3.0, 4.0),
    ],
)
def test_pictures_are_back_soon_after_the_source_is(kind, away, within):
    world = World([Spell(110, kind), Spell(110 + away, "good")])
    frames = play(world, world.reconnect(), 10 + away + 60)
    first = next(now for now, _, _ in frames if now > 110 + away)
    assert first - 110 - away <= within + STEP
    frames.close()


def test_pictures_of_another_connection_come_after_a_cut():
    world = World([Spell(110, "down"), Spell(112, "good"), Spell(120, "down"), Spell(121, "good")])
    cuts = [(now, frame.cuts) for now, _, frame in play(world, world.reconnect(), 40)]
    spans = [
        {cut for now, cut in cuts if low < now < high} for low, high in ((0, 110), (112, 120), (121, 140))
    ]
    assert [len(span) for span in spans] == [1, 1, 1]
    assert len(set.union(*spans)) == 3


@pytest.mark.parametrize(
    ("audio", "is_heard"),
    [
        (INFO.audio, True),
        (replace(INFO.audio, others=1), True),
        (replace(INFO.audio, codec="pcm_mulaw"), False),
        (replace(INFO.audio, time_base=Fraction(1, 90_000)), False),
        (replace(INFO.audio, extradata=b"\x12\x10"), False),
    ],
)
def test_sound_of_another_kind_than_was_described_is_left_out_and_said(audio, is_heard):
    world = World([Spell(110, "down"), Spell(112, "good")])
    connect = world.connect

    def change() -> Link:
        link = connect()
        link.info = replace(INFO, audio=audio) if world.clock.time > 105 else INFO
        return link

    world.connect = change
    source = world.reconnect()
    frames = [(now, frame) for now, _, frame in play(world, source, 30)]
    assert all(frame.audio for now, frame in frames if now < 110)
    assert {bool(frame.audio) for now, frame in frames if now > 112} == {is_heard}
    assert replace(source.info.audio, others=0) == INFO.audio
    assert sum("the sound is another one than before" in line for line in world.said) == (not is_heard)


@pytest.mark.parametrize(
    ("kind", "least", "most"),
    [
        ("down", 30 / 40, 30 / 20),
        ("refuse", 1 / 31, 1 / 20),
        ("absent", 1 / 31, 1 / 20),
        ("mute", 1 / 32, 1 / 20),
    ],
)
def test_a_source_that_stays_away_is_tried_seldom(kind, least, most):
    world = World([Spell(0, kind)])
    assert not list(play(world, world.reconnect(knock=None), 3600))
    late = [at for at in world.attempts if at > 200]
    if kind == "down":
        least, most = 1 / 31, 1 / 22
    assert least * 3400 <= len(late) <= most * 3600
    assert len([line for line in world.said if "trying" in line or "tried" in line]) == 1


def test_each_change_is_said_once_with_what_to_do():
    world = World([Spell(105, "refuse"), Spell(105, "down"), Spell(107, "refuse"), Spell(180, "good")])
    list(play(world, world.reconnect(), 130))
    assert world.said == [
        "cam: connection refused, trying again",
        "cam: wrong password, to be mended by you; tried again now and then",
        "cam: connected again",
    ]


def test_pauses_double_up_to_the_longest_with_jitter_and_begin_anew_after_good_time():
    patience = Patience()
    backoff = Backoff(patience, seed=1)
    pauses = [backoff.pause(lasting=False) for _ in range(12)]
    full = [min(0.5 * 2**n, 30) for n in range(12)]
    assert all(0.75 * whole <= pause <= whole for pause, whole in zip(pauses, full, strict=True))
    assert len({pause / whole for pause, whole in zip(pauses, full, strict=True)}) == 12
    backoff.reset()
    assert backoff.pause(lasting=False) <= 0.5


def test_a_frozen_picture_is_withheld_and_tried_to_be_mended_once():
    world = World([Spell(110, "freeze"), Spell(200, "good")])
    source = world.reconnect(quarantine=Quarantine(frozen_after=4.0))
    frames = [(now, kind) for now, kind, _ in play(world, source, 120)]
    seen = [now for now, kind in frames if kind == "freeze"]
    assert max(seen) - 110 <= 4.1
    assert len(world.attempts) == 2
    assert source.failures["frozen"] * STEP == pytest.approx(86, abs=1.5)
    assert len([now for now, _ in frames if now > 200.1]) > 400


@pytest.mark.parametrize("kind", ["black", "corrupt"])
@pytest.mark.parametrize("seconds", [3.0, 60.0])
def test_the_next_picture_brings_the_sound_of_those_withheld(kind, seconds):
    world = World([Spell(101, kind), Spell(101 + seconds, "good")])
    source = world.reconnect()
    frames = [frame for _, _, frame in play(world, source, seconds + 5)]
    withheld = source.failures[kind]
    assert withheld * STEP == pytest.approx(seconds, abs=0.1)
    sounds = [packet.pts for frame in frames for packet in frame.audio]
    assert len(sounds) == len(frames) + min(withheld, MOST_CARRIED)
    assert np.all(np.diff(sounds) > 0)
    assert sum(len(frame.audio) > 1 for frame in frames) == 1


def test_stop_ends_at_once_in_every_state():
    for kind in KINDS:
        world = World([Spell(0, "good"), Spell(101, kind)])
        source = world.reconnect()
        frames = iter(source)
        next(frames)
        world.clock.time = 130.0
        before = world.clock.time
        source.stop()
        assert list(frames) == []
        assert world.clock.time - before <= STEP
        assert not world.open_links


def test_a_first_connection_that_failed_is_tried_again():
    world = World([Spell(0, "down"), Spell(104, "good")])
    source = world.reconnect(first=world.connect())
    assert source.info == INFO
    frames = play(world, source, 20)
    assert next(frames)[0] == pytest.approx(104, abs=1)
    frames.close()


def test_counts_of_all_connections_add_up():
    world = World([Spell(110, "down"), Spell(112, "good")])
    source = world.reconnect()
    links = []
    connect = source._connect

    def counting() -> Link:
        links.append(connect())
        links[-1].failures["decode"] = len(links)
        links[-1].troubles["packets lost"] = 10 * len(links)
        return links[-1]

    source._connect = counting
    list(play(world, source, 30))
    assert len(links) >= 2
    whole = sum(range(1, len(links) + 1))
    assert source.failures["decode"] == whole
    assert source.troubles["packets lost"] == 10 * whole


def test_a_count_that_changes_while_it_is_read_ends_nothing():
    class Growing(Counter[str]):
        """Another thread counts whenever it is looked into."""

        def __getitem__(self, key: str) -> int:
            self[f"packet {len(self)}"] = 1
            return super().__getitem__(key)

    seen, into = Growing({"late": 2}), Counter[str]()
    known = Reconnect._count(seen, Counter({"late": 1}), into)
    assert (into, known) == ({"late": 1}, {"late": 2})


def test_patience_is_what_is_waited():
    world = World([Spell(110, "stall")])
    patience = replace(Patience(), stall=2.0)
    source = world.reconnect(patience=patience)
    states = set()
    wait = world.clock.wait
    world.clock.wait = lambda span: (states.add(source.health.state), wait(span))[1]
    list(play(world, source, 13))
    assert world.attempts[1] == pytest.approx(112.5, abs=0.6)
    assert {"playing", "stalled", "waiting", "connecting"} <= states

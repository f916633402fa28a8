"""Link: opened, read and closed by one thread that nobody waits for."""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest

from engines.errors import InputError, WorkError
from streamer.frame import Frame, Planes
from streamer.sources import SourceInfo, Unavailable
from streamer.sources import link as link_module
from streamer.sources.link import BACKLOG, Link, Lost, newest
from streamer.sources.opening import Opening, settle

GREY = Planes(np.zeros((2, 2), np.uint8), np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint8))


class Camera:
    """Ten pictures in real pace by their stamps, after ``backlog`` that came in no time."""

    name, info = "cam", SourceInfo((2, 2), 25.0)

    def __init__(self, *, live: bool = True, backlog: int = 0, error: Exception | None = None) -> None:
        self.live, self.backlog, self.error = live, backlog, error
        self.failures: Counter[str] = Counter()
        self.troubles = Counter({"packets lost": 3})
        self.hold = threading.Event()
        self.hold.set()
        self.threads: list[str] = []
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.backlog + 10):
            self.hold.wait()
            self.threads.append(threading.current_thread().name)
            late = max(index - self.backlog, 0) * 0.04
            yield Frame("cam", index, index * 0.04, GREY, 5.0 + late)
        if self.error:
            raise self.error

    def stop(self) -> None:
        self.hold.set()

    def close(self) -> None:
        self.threads.append(threading.current_thread().name)
        self.closed.set()


def receive_all(link: Link) -> tuple[list[Frame], Lost]:
    frames = []
    while True:
        try:
            frame = link.receive(5.0)
        except Lost as lost:
            return frames, lost
        frames += [frame] if frame is not None else []


def test_frames_come_in_order_and_one_thread_does_everything():
    camera = Camera(live=False)
    frames, lost = receive_all(Link("cam", lambda: camera))
    assert [frame.index for frame in frames] == list(range(10))
    assert (str(lost), lost.final) == ("the stream ended", True)
    assert set(camera.threads) == {"read:cam"}


@pytest.mark.parametrize(
    ("error", "reason", "lasting"),
    [
        (WorkError("connection lost"), "connection lost", False),
        (Unavailable("no answer"), "no answer", False),
        (Unavailable("401", lasting=True), "401", True),
        (InputError("no video in it"), "no video in it", True),
        (ValueError("a defect"), "ValueError: a defect", False),
    ],
)
def test_every_failure_is_a_loss_with_its_reason(error, reason, lasting):
    camera = Camera(error=error)
    for opener in (lambda: camera, lambda: (_ for _ in ()).throw(error)):
        _, lost = receive_all(Link("cam", opener))
        assert (str(lost), lost.lasting, lost.final) == (reason, lasting, False)
    assert camera.closed.wait(5)


def test_the_end_of_a_live_stream_is_a_loss():
    _, lost = receive_all(Link("cam", Camera))
    assert (str(lost), lost.final) == ("the stream ended", False)


def test_leaving_does_not_wait_and_the_thread_closes_the_source():
    camera, opened = Camera(), threading.Event()
    camera.hold.clear()

    def opener() -> Camera:
        opened.wait()
        return camera

    for is_open in (False, True):
        camera.closed.clear()
        link = Link("cam", opener)
        if is_open:
            opened.set()
            link.settled.wait()
        link.leave()
        opened.set()
        assert camera.closed.wait(5)
        with pytest.raises(Lost):
            link.receive(0)


def test_an_error_keeps_nothing_alive_of_what_failed():
    held = []

    def opener() -> Camera:
        packet = Camera()
        held.append(weakref.ref(packet))
        raise Unavailable("no picture")

    link = Link("cam", opener)
    link._thread.join(5)
    assert isinstance(link.error, Unavailable)
    assert held[0]() is None


def test_nothing_in_time_is_none():
    camera = Camera()
    camera.hold.clear()
    link = Link("cam", lambda: camera)
    assert link.receive(0.01) is None
    link.leave()


def test_pictures_that_had_piled_up_are_counted_and_not_given_out():
    camera = Camera(backlog=30)
    frames = list(newest(camera))
    assert frames[0].index >= 30
    assert frames[-1].index == 39
    assert camera.failures[BACKLOG] + len(frames) == 40
    assert len(frames) >= 6


def test_troubles_of_the_source_are_the_links():
    link = Link("cam", Camera)
    link.settled.wait()
    assert link.troubles == {"packets lost": 3}
    link.leave()


def openings(monkeypatch, *outcomes) -> list[Opening]:
    made = dict(enumerate(outcomes))

    def opener(url: str, *, name: str = "") -> Camera:
        outcome = made[int(url)]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr("streamer.sources.opening.open_source", opener)
    return [Opening(str(number)) for number in made]


def test_a_lone_source_that_is_away_is_an_error_unless_told_to_wait(monkeypatch):
    with pytest.raises(Unavailable, match="no answer"):
        settle(openings(monkeypatch, Unavailable("no answer")))
    (source,) = settle(openings(monkeypatch, Unavailable("no answer")), wait=True)
    assert source.live
    source.close()


def test_one_that_is_away_does_not_end_the_others(monkeypatch):
    camera = Camera()
    away, here = settle(openings(monkeypatch, Unavailable("no answer"), camera))
    assert away.live
    assert away.info.size == (0, 0)
    assert here.info == camera.info
    for source in (away, here):
        source.close()
    assert camera.closed.wait(5)


def test_one_that_is_lost_as_soon_as_it_was_open_is_tried_again(monkeypatch):
    camera = Camera(backlog=-10, error=WorkError("connection lost"))
    (opening,) = openings(monkeypatch, camera)
    assert camera.closed.wait(5)
    (source,) = settle([opening])
    assert source.live
    source.close()


def test_a_mistake_is_an_error_though_others_work(monkeypatch):
    camera = Camera()
    with pytest.raises(InputError, match="unknown key"):
        settle(openings(monkeypatch, camera, InputError("unknown key")))
    assert camera.closed.wait(5)


def test_a_file_is_closed_where_another_source_is_a_mistake(monkeypatch):
    film, calls = Camera(live=False), []
    close = film.close
    film.close = lambda: (calls.append(1), close())
    opened = openings(monkeypatch, film, InputError("unknown key"))
    with pytest.raises(InputError, match="unknown key"):
        settle(opened)
    opened[0].link.leave()
    assert calls == [1]


def test_a_source_with_an_end_is_handed_over_bare(monkeypatch):
    camera = Camera(live=False)
    assert settle(openings(monkeypatch, camera)) == [camera]
    assert not camera.threads


class Looked(threading.Event):
    """Opens a gate once it was waited for so many times."""

    def __init__(self, gate: threading.Event, looks: int) -> None:
        super().__init__()
        self.gate, self.looks = gate, looks

    def wait(self, timeout: float | None = None) -> bool:
        self.looks -= 1
        if not self.looks:
            self.gate.set()
        return super().wait(timeout)


@pytest.mark.parametrize(("url", "waited"), [("share/a.mp4", True), ("rtsp://10.0.0.9/a", False)])
def test_a_file_that_opens_slowly_is_waited_for_and_stays_a_file(monkeypatch, url, waited):
    """Whoever is open already, and however long that takes; what may be live has its grace only."""
    gate, camera, slow = threading.Event(), Camera(), Camera(live=not waited)

    def opener(wanted: str, *, name: str = "") -> Camera:
        if wanted == url:
            gate.wait()
        return slow if wanted == url else camera

    seconds = count(step=10)
    monkeypatch.setattr("streamer.sources.opening.open_source", opener)
    monkeypatch.setattr("streamer.sources.opening.time", SimpleNamespace(monotonic=lambda: next(seconds)))
    openings = [Opening("0"), Opening(url)]
    openings[0].link.settled.wait()
    openings[1].link.settled = Looked(gate, 5)
    sources = settle(openings)
    assert (sources[1] is slow) == waited
    assert gate.is_set() == waited
    gate.set()
    for source in sources:
        source.close()


def test_a_file_that_does_not_open_is_given_up_by_who_has_no_more_patience(monkeypatch):
    gate, slow = threading.Event(), Camera(live=False)

    def opener(wanted: str, *, name: str = "") -> Camera:
        gate.wait()
        return slow

    monkeypatch.setattr("streamer.sources.opening.open_source", opener)
    with pytest.raises(InputError, match=r"share/a\.mp4: does not open"):
        settle([Opening("share/a.mp4")], patient=lambda: False)
    gate.set()
    assert slow.closed.wait(5)


def test_the_end_of_the_process_waits_for_no_reader_that_was_not_started(monkeypatch):
    reader = threading.Thread(target=print)
    monkeypatch.setattr(link_module, "_READERS", {reader})
    link_module._await_readers()
    assert reader.ident is None

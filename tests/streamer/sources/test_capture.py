"""Capture: cameras through OpenCV; films stand in for them where OpenCV has a part in it, fakes elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from engines.errors import InputError, WorkError
from streamer import Pipeline, gather, planes
from streamer.sources import Source, Unavailable, camera, capture, open_source
from streamer.sources.capture import Capture
from streamer.sources.link import Link
from streamer.sources.reconnect import Patience, Reconnect
from streamer.sources.record import open_record
from tests.streamer.test_pipeline import GreyModel, records

from .conftest import Film, picture

VideoCapture = cv2.VideoCapture
GREY = np.full((48, 64, 3), 90, np.uint8)
SIZE = [("width", 1280), ("height", 720)]
MJPG = ("fourcc", cv2.VideoWriter.fourcc(*"MJPG"))
KEYS = {
    cv2.CAP_PROP_FRAME_WIDTH: "width",
    cv2.CAP_PROP_FRAME_HEIGHT: "height",
    cv2.CAP_PROP_FPS: "fps",
    cv2.CAP_PROP_FOURCC: "fourcc",
}


class Fake:
    """Gives pictures, fails at None, raises errors; then it fails for ever, or blocks at ``gate``."""

    def __init__(self, *pictures: object, fps: float = 30.0, gate: threading.Event | None = None) -> None:
        self.pictures, self.fps, self.gate = list(pictures), fps, gate
        self.asked: list[tuple[str, float]] = []
        self.reading = threading.Event()  # it blocks
        self.released: list[str] = []  # by which thread

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return True

    def set(self, key: int, value: float) -> bool:
        self.asked.append((KEYS[key], value))
        return True

    def get(self, key: int) -> float:
        assert key == cv2.CAP_PROP_FPS
        return self.fps

    def read(self) -> tuple[bool, np.ndarray | None]:
        assert not self.released
        if not self.pictures and self.gate is not None:
            self.reading.set()
            self.gate.wait(10)
            assert not self.released
        taken = self.pictures.pop(0) if self.pictures else None
        if isinstance(taken, Exception):
            raise taken
        return taken is not None, taken

    def release(self) -> None:
        self.released.append(threading.current_thread().name)


class Plugged:
    """The cameras of a machine: number -> what opens there, a path or a fake, or one for each attempt."""

    def __init__(self) -> None:
        self.cameras: dict[int, object] = {}
        self.opened: list[tuple[int, int]] = []  # number, backend

    def __call__(self, index: int, backend: int) -> object:
        self.opened.append((index, backend))
        found = self.cameras.get(index, "/nowhere")
        if isinstance(found, list):
            found = found.pop(0) if found else "/nowhere"
        return VideoCapture(str(found)) if isinstance(found, str | Path) else found


@pytest.fixture(params=["darwin", "win32"])
def system(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch, system: str) -> Iterator[Plugged]:
    """Be on another system, without cameras at first, and in no hurry to lose nor to read them."""
    plugged = Plugged()
    for module in (camera, capture):
        monkeypatch.setattr(module, "sys", SimpleNamespace(platform=system))
    monkeypatch.setattr(cv2, "VideoCapture", plugged)
    monkeypatch.setattr(capture, "SILENCE", 0.0)
    monkeypatch.setattr(capture, "PAUSE", 0.0)
    capture._others.cache_clear()
    yield plugged
    assert not capture._held


mac = pytest.mark.parametrize("system", ["darwin"], indirect=True)


@mac
def test_a_films_pictures_are_live_frames_in_their_colours(plugged: Plugged, film: Film):
    pictures = [
        np.full((64, 96, 3), colour, np.uint8) for colour in ((200, 40, 30), (30, 60, 180), (90, 170, 20))
    ]
    plugged.cameras[0] = film("a.mp4", pictures)
    source = open_source("0", name="desk")
    assert (source.live, source.info.size, source.info.fps, source.info.frames) == (True, (96, 64), 10.0, 0)
    frames = []
    with pytest.raises(WorkError, match=r"^0: connection lost: no picture for 0 s$"):
        frames.extend(source)
    source.close()
    for frame, rgb in zip(frames, pictures, strict=True):
        assert np.abs(planes.to_rgb(frame.planes).astype(int) - rgb).max() <= 5  # H.264 took some
        assert repr(frame.planes) == "Planes(96x64 4:2:0 bt601 limited)"
        assert (frame.stream, frame.live) == ("desk", True)
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert frames[0].pts == 0.0
    for last, frame in pairwise(frames):
        assert frame.pts > last.pts
        assert frame.pts == pytest.approx(frame.captured - frames[0].captured, abs=0.003)


def test_pts_rise_by_a_clock_that_stands_still(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(capture, "time", SimpleNamespace(monotonic=lambda: 7.0))
    source = Capture(Fake(*[GREY] * 3), "0", "cam")
    frames = iter(source)
    assert [next(frames).pts for _ in range(3)] == pytest.approx([0.0, 0.001, 0.002])


@pytest.mark.parametrize("url", ["1", "camera:1"])
def test_each_system_has_its_backend(plugged: Plugged, system: str, url: str):
    plugged.cameras[1] = Fake(GREY)
    open_source(url).close()
    assert plugged.opened == [(1, {"darwin": cv2.CAP_AVFOUNDATION, "win32": cv2.CAP_DSHOW}[system])]


@pytest.mark.parametrize(
    ("query", "wishes"),
    [
        ("", []),
        ("?size=1280x720", SIZE),
        ("?fps=15", [("fps", 15.0)]),
        ("?size=1280x720&fps=30", [*SIZE, ("fps", 30.0)]),
    ],
)
def test_wishes_reach_the_driver_compression_last(plugged: Plugged, system: str, query: str, wishes: list):
    plugged.cameras[0] = fake = Fake(GREY)
    open_source("0" + query).close()
    assert fake.asked == wishes + ([MJPG] if wishes and system == "win32" else [])


def test_size_is_what_comes_whatever_was_asked(plugged: Plugged):
    plugged.cameras[0] = Fake(GREY[:45, :61])
    source = open_source("0?size=1280x720")
    source.stop()
    assert source.info.size == (61, 45)
    assert [frame.size for frame in source] == [(61, 45)]
    source.close()


@pytest.mark.parametrize(
    ("told", "fps"),
    [
        (30.0, 30.0),
        (29.97, 29.97),
        (0.0, 0.0),
        (-1.0, 0.0),
        (float("nan"), 0.0),
        (float("inf"), 0.0),
        (1e7, 0.0),
    ],
)
def test_a_rate_that_is_none_is_unknown(told: float, fps: float):
    assert Capture(Fake(GREY, fps=told), "0", "cam").info.fps == fps


@pytest.mark.parametrize("failure", [None, GREY[:0], cv2.error("no sample")], ids=["no", "empty", "raises"])
def test_a_read_that_fails_now_and_then_costs_nothing(monkeypatch: pytest.MonkeyPatch, failure: object):
    monkeypatch.setattr(capture, "PAUSE", 0.0)
    source = Capture(Fake(failure, GREY, failure, failure, GREY), "0", "cam")
    frames = iter(source)
    assert [next(frames).index for _ in range(2)] == [0, 1]


def test_a_grey_picture_is_one(plugged: Plugged):
    plugged.cameras[0] = Fake(GREY[..., 0])
    source = open_source("0")
    assert np.abs(planes.to_rgb(next(iter(source)).planes).astype(int) - 90).max() <= 1
    source.close()


@pytest.mark.parametrize(
    ("url", "there", "says"),
    [
        ("7", [], "no camera opens: is one plugged in and free, and {allowed}"),
        ("7", [0, 2], "no such camera, or in use by another program, there are: 0, 2"),
        ("1", [1], "opens but gives no picture: is it free, and {allowed}"),
    ],
    ids=["none", "others", "mute"],
)
def test_what_is_away_now_says_what_would_help(
    plugged: Plugged, system: str, url: str, there: list, says: str
):
    fakes = {number: Fake() for number in there}
    plugged.cameras.update(fakes)
    with pytest.raises(Unavailable) as caught:
        open_source(url)
    assert str(caught.value) == f"{url}: {says.format(allowed=capture.ALLOWED[system])}"
    assert not caught.value.lasting
    assert all(len(fake.released) == 1 for fake in fakes.values())


@pytest.mark.parametrize(
    "url", ["/dev/video0", "/dev/v4l/by-id/usb-Acme", "camera:front", "camera:", "100", "99999999999"]
)
def test_what_is_no_number_of_a_camera_is_a_mistake(plugged: Plugged, url: str):
    with pytest.raises(InputError, match="cameras go by number here, 0 to 99: 0 would be right") as caught:
        open_source(url)
    assert not isinstance(caught.value, Unavailable)
    assert str(caught.value).startswith(f"{url}: ")
    assert not plugged.opened


@mac
def test_others_are_switched_on_once_not_with_each_attempt_and_never_while_in_use(plugged: Plugged):
    plugged.cameras |= {0: Fake(GREY), 1: Fake()}
    source = open_source("0")
    for _ in range(3):
        with pytest.raises(Unavailable, match=r"there are: 0, 1$"):
            open_source("3")
    source.close()
    assert [number for number, _ in plugged.opened] == [0, 3, 1, 2, 4, 3, 3]


@mac
def test_a_camera_is_opened_once_at_a_time(plugged: Plugged):
    plugged.cameras[0] = [Fake(GREY), Fake(GREY)]
    first = open_source("0")
    with pytest.raises(Unavailable, match=r"^0: in use by another stream of this program$"):
        open_source("0")
    first.close()
    open_source("0").close()


@mac
def test_a_camera_that_hangs_on_opening_holds_up_no_other_for_ever(
    plugged: Plugged, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(capture, "TURN", 0.0)
    with capture._turn, pytest.raises(Unavailable, match="another camera is being opened"):
        open_source("0")


@mac
def test_opencv_says_nothing_and_may_speak_again(
    plugged: Plugged, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(capture, "LOOKED_AT", 0)
    monkeypatch.setattr(
        cv2, "VideoCapture", lambda index, backend: VideoCapture("/nowhere/%d", cv2.CAP_IMAGES)
    )
    level = cv2.utils.logging.LOG_LEVEL_WARNING
    before = cv2.utils.logging.setLogLevel(level)
    try:
        cv2.VideoCapture(0, 0)
        assert "WARN" in capfd.readouterr().err
        with pytest.raises(Unavailable):
            open_source("0")
        assert capfd.readouterr().err == ""
        assert cv2.utils.logging.getLogLevel() == level
    finally:
        cv2.utils.logging.setLogLevel(before)


def test_stop_ends_the_iteration_and_close_frees_once():
    freed: list[int] = []
    fake = Fake(*[GREY] * 9)
    source = Capture(fake, "0", "cam", freed=partial(freed.append, 1))
    indices = []
    for frame in source:
        indices.append(frame.index)
        if frame.index == 3:
            source.stop()
    assert indices == [0, 1, 2, 3]
    assert not fake.released
    source.close()
    source.close()
    assert (len(fake.released), freed) == (1, [1])
    assert source._try() is None  # of a reader that was about to; the fake minds being read now


def test_a_camera_that_is_being_read_is_freed_by_its_reader():
    gate, freed = threading.Event(), threading.Event()
    fake = Fake(GREY, gate=gate)
    source = Capture(fake, "0", "cam", freed=freed.set)
    frames = []
    reader = threading.Thread(target=lambda: frames.extend(source), name="reader")
    reader.start()
    assert fake.reading.wait(10)
    source.close()
    assert not fake.released
    gate.set()
    assert freed.wait(10)
    reader.join(10)
    source.close()
    assert fake.released == ["reader"]
    assert len(frames) == 1


def test_nobody_waits_for_a_camera_that_hangs(plugged: Plugged):
    """It counts as in use until the driver lets go of it, and only then can it be opened anew."""
    gate = threading.Event()
    hanging = Fake(GREY, gate=gate)
    plugged.cameras[0] = [hanging, Fake(GREY)]
    link = Link("cam", partial(open_source, "0"))
    assert link.receive(10) is not None
    assert hanging.reading.wait(10)
    link.leave()
    with pytest.raises(Unavailable, match="in use by another stream"):
        open_source("0")
    gate.set()
    link._thread.join(10)
    assert hanging.released == ["read:cam"]
    open_source("0").close()


@mac
def test_a_camera_that_is_plugged_in_again_goes_on(plugged: Plugged):
    plugged.cameras[0] = [Fake(*[GREY] * 3), "/nowhere", Fake(*[picture(number) for number in range(4)])]
    said: list[str] = []
    source = Reconnect(
        "cam",
        lambda: Link("cam", partial(open_source, "0")),
        patience=Patience(shortest=0.01),
        say=said.append,
    )
    frames = []
    for frame in source:
        frames.append(frame)
        if len(frames) == 7:
            source.stop()
    assert [frame.index for frame in frames] == list(range(7))
    assert all(last.pts < frame.pts for last, frame in pairwise(frames))
    assert said[0] == "cam: 0: connection lost: no picture for 0 s, trying again"
    assert said[1].startswith("cam: 0: no camera opens: ")
    assert said[2] == "cam: connected again"
    until(lambda: not capture._held)


def until(true: Callable[[], object]) -> None:
    for _ in range(2000):
        if true():
            return
        threading.Event().wait(0.005)
    pytest.fail("it did not come")


@mac
def test_it_sends_no_packets_to_record(plugged: Plugged, tmp_path: Path):
    plugged.cameras[0] = Fake(GREY)
    with pytest.raises(InputError, match="only films, cameras and streams that send packets"):
        open_record(f"record:0?to={tmp_path}/kept", "cam")


@mac
def test_a_pipeline_runs_from_it(plugged: Plugged, film: Film, tmp_path: Path):
    plugged.cameras[0] = film("a.mp4", [picture(number) for number in range(9)])
    settings = gather(["0?fps=10"], "grey", [str(tmp_path / "{stream}.jsonl")])
    with Pipeline(settings, model=GreyModel()) as pipeline:
        taken = []
        for frame in pipeline.frames():
            taken.append(frame)
            if len(taken) == 3:
                pipeline.stop()
    assert {frame.stream for frame in taken} == {"camera0"}
    assert all(len(frame.detections) == 1 for frame in taken)
    assert pipeline.report().unbalanced == ()
    assert len(records(tmp_path / "camera0.jsonl")) >= 3
    until(lambda: not capture._held)


def test_linux_goes_on_as_before(monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(camera, "sys", SimpleNamespace(platform="linux"))
    monkeypatch.setattr(
        camera, "_open_device", lambda where, options, url, name: asked.append((where, url, name))
    )
    opened: Source | None = open_source("3?fps=5")
    assert (opened, asked) == (None, [("3", "3?fps=5", "camera3")])

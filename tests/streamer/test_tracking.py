"""Tracking in a running pipeline: ids, frames between, lines and zones, each stream by itself."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from engines.detections import Detections
from engines.errors import InputError
from engines.spec import ModelSpec
from streamer.analytics.events import Event
from streamer.analytics.plan import LinePlan, Plan, ZonePlan
from streamer.config import load
from streamer.frame import Frame
from streamer.graph import Graph
from streamer.inbox import Inbox
from streamer.overlay import Canvas
from streamer.overlay.heat import Heat
from streamer.pipeline import Pipeline
from streamer.planes import from_rgb
from streamer.settings import gather, merge
from streamer.sinks import SINKS
from streamer.sinks.address import parse
from streamer.sinks.records import RecordSink
from streamer.sources import SourceInfo

ROOT = Path(__file__).parents[2]
RECORDS = json.loads((ROOT / "docs" / "record.schema.json").read_text())
SCHEMA = json.loads((ROOT / "docs" / "event.schema.json").read_text())
MIDDLE = LinePlan("middle", ((0.5, 1.0), (0.5, 0.0)))


class Walker:
    """A model that sees one person walk to the right, STEP pixels further in each picture it is given."""

    STEP = 4.0

    def __init__(self, step: float = STEP) -> None:
        self.spec, self.batch = ModelSpec("walker", "detect", "dense", ("person",), (128, 72)), 1
        self.invalid = 0
        self.engine = SimpleNamespace(requests=(None, None))
        self.free, self.step, self.shown = threading.Semaphore(2), step, 0
        self.invalid = 0

    def acquire(self, timeout: float | None = None) -> Walk | None:
        return Walk(self) if self.free.acquire(timeout=timeout) else None

    def close(self) -> None:
        pass


class Walk:
    def __init__(self, model: Walker) -> None:
        self.model = model

    def add(self, size: tuple[int, int]) -> np.ndarray:
        return np.zeros((72, 128, 3), np.uint8)

    def submit(self) -> None:
        pass

    def collect(self) -> list[Detections]:
        x = 10 + self.model.step * self.model.shown
        self.model.shown += 1
        self.release()
        return [Detections.of([[x, 10, x + 12, 50]], [0.9], [0])]

    def release(self) -> None:
        self.model.free.release()


def synthetic(count: int) -> str:
    return f"synthetic:?size=128x72&fps=10&count={count}"


def frames(count: int, step: float = Walker.STEP, **how: Any) -> list[Frame]:
    with Pipeline(gather([synthetic(count)], "walker", **how), model=Walker(step)) as pipeline:
        return list(pipeline.frames())


def test_every_frame_carries_the_same_track() -> None:
    assert [frame.detections.ids.tolist() for frame in frames(10, track="sort")] == [[1]] * 10


def test_without_a_tracker_there_are_no_ids() -> None:
    assert [frame.detections.ids.tolist() for frame in frames(3)] == [[-1]] * 3


@pytest.mark.parametrize("every", [2, 4])
def test_frames_between_are_predicted_over_real_time(every: int) -> None:
    shown = frames(24, step=2.0 * every, track="bytetrack", every=every)
    for frame in shown[8:]:
        assert frame.inferred == (frame.index % every == 0)
        assert frame.detections.ids.tolist() == [1]
        assert frame.detections.boxes[0, 0] == pytest.approx(10 + 2.0 * frame.index, abs=1.5)


def test_each_stream_has_a_tracker_of_its_own() -> None:
    urls = [synthetic(6), synthetic(6)]
    with Pipeline(gather(urls, "walker", track="bytetrack"), model=Walker(0.0)) as pipeline:
        ids = [(frame.stream, frame.detections.ids.tolist()) for frame in pipeline.frames()]
    assert len({stream for stream, _ in ids}) == 2
    assert all(numbers == [1] for _, numbers in ids)


def test_events_are_lines_of_their_own(tmp_path: Path) -> None:
    path, film = tmp_path / "out.jsonl", tmp_path / "out.mp4"
    zone = ZonePlan("right", ((0.5, 0), (1, 0), (1, 1), (0.5, 1)), classes=("person",), dwell=0.3, crowd=1)
    plan = Plan((MIDDLE,), (zone,))
    settings = gather([synthetic(24)], "walker", [str(path), str(film)], analytics=plan)
    with Pipeline(settings, model=Walker()) as pipeline:
        assert pipeline.run().unbalanced == ()
    told = [json.loads(line) for line in path.read_text().splitlines()]
    events = [line for line in told if "event" in line]
    assert len(told) - len(events) == 24
    assert [(event["event"], event["what"]) for event in events] == [
        ("zone", "in"), ("alert", "begin"), ("line", "in"), ("dwell", "begin"),
    ]  # fmt: skip
    assert all(event["name"] in ("right", "middle") for event in events)
    assert [event.get("id") for event in events] == [1, None, 1, 1]
    for event in events:
        assert set(SCHEMA["required"]) <= set(event) <= set(SCHEMA["properties"])
        assert event["event"] in SCHEMA["properties"]["event"]["enum"]
    assert film.stat().st_size > 0


def test_lines_of_another_stream_are_not_watched() -> None:
    plan = Plan((LinePlan("middle", MIDDLE.points, streams=("elsewhere",)),))
    assert not any(frame.events or frame.signs for frame in frames(24, analytics=plan))


def test_what_is_watched_is_drawn(tmp_path: Path) -> None:
    still = tmp_path / "plain.png", tmp_path / "signs.png"
    for path, how in zip(still, ({}, {"analytics": Plan((MIDDLE,))}), strict=True):
        settings = gather(
            [synthetic(1)], "walker", [str(path.with_name(path.stem + "%d.png"))], track="sort", **how
        )
        with Pipeline(settings, model=Walker()) as pipeline:
            pipeline.run()
    plain, signs = (sorted(tmp_path.glob(f"{path.stem}*.png"))[0].read_bytes() for path in still)
    assert plain != signs


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Plan((LinePlan("a", ((0, 0), (0, 0))),)), "line a: 2 points, would be two that differ"),
        (lambda: Plan((), (ZonePlan("b", ((0, 0), (1, 1))),)), "zone b: 2 points, would be three or more"),
        (
            lambda: Plan((LinePlan("a", MIDDLE.points, classes=("persn",)),)).check(("person", "car")),
            "a: classes: no class 'persn', did you mean 'person'?",
        ),
    ],
)
def test_mistakes_are_told_in_one_sentence(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value) == sentence


def test_file_says_what_the_api_says(tmp_path: Path) -> None:
    path = tmp_path / "door.yaml"
    path.write_text(
        "sources: {a: x.mp4}\nmodel: tiny-yolo\ntrack: {name: sort, lost: 2}\nanalytics:\n"
        "  lines:\n    middle: [[0.5, 1], [0.5, 0]]\n"
        "  zones:\n    hall: {points: [[1, 2], [30, 4], [5, 60]], dwell: 3.0, classes: [person]}\n"
    )
    settings = merge([], "", [], path, {})
    assert settings.track == "sort,lost=2"
    hall = ZonePlan("hall", ((1, 2), (30, 4), (5, 60)), dwell=3.0, classes=("person",))
    assert settings.analytics == Plan((MIDDLE,), (hall,))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("track: bytetrak", "3: track: 'bytetrak': unknown, did you mean 'bytetrack'?"),
        ("analytics: {lins: {}}", "3: analytics: unknown key 'lins', did you mean 'lines'?"),
        (
            "analytics: {lines: {a: {points: [[0, 0], [1, 1]], anchr: feet}}}",
            "3: analytics.lines.a: unknown key 'anchr', did you mean 'anchor'?",
        ),
        (
            "analytics: {lines: {a: {points: [[0, 0], [1, 1]], anchor: feets}}}",
            "3: analytics.lines.a.anchor: 'feets', did you mean 'feet'?",
        ),
        (
            "analytics: {zones: {a: [[0, 0], [1]]}}",
            "3: analytics.zones.a: [[0, 0], [1]], would be points, like [[0.5, 0.0], [0.5, 1.0]]",
        ),
        (
            "analytics: {speeds: {a: {points: [[0, 0]], metres: [[0, 0]], limt: 3}}}",
            "3: analytics.speeds.a: unknown key 'limt', did you mean 'limit'?",
        ),
        ("heatmap: -1", "3: heatmap: -1, would be more than 0"),
    ],
)
def test_mistakes_in_the_file_name_their_line(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "door.yaml"
    path.write_text(f"sources: {{a: x.mp4}}\nmodel: tiny-yolo\n{text}\n")
    with pytest.raises(InputError) as caught:
        load(path)
    assert str(caught.value) == f"{path}:{sentence}"


def test_speeds_are_measured_drawn_and_recorded(tmp_path: Path) -> None:
    """128 x 72 pixels are 12.8 x 7.2 m: 4 pixels a frame at 10 frames a second are 4 m/s."""
    corners = [[0, 0], [1, 0], [1, 1], [0, 1]]
    metres = [[0, 0], [12.8, 0], [12.8, 7.2], [0, 7.2]]
    path = tmp_path / "street.yaml"
    path.write_text(
        f"sources: {{door: '{synthetic(24)}'}}\nmodel: walker\nsinks: ['{tmp_path}/out.jsonl']\n"
        f"analytics: {{speeds: {{yard: {{points: {corners}, metres: {metres}, limit: 3, seconds: 0.5}}}}}}\n"
    )
    with Pipeline(merge([], "", [], path, {}), model=Walker()) as pipeline:
        pipeline.run()
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    for line in lines:
        known = SCHEMA["properties"] if "event" in line else RECORDS["properties"]
        assert set(line) <= set(known)
    speeds = [row["speed"] for line in lines for row in line.get("detections", []) if "speed" in row]
    assert "speed" in RECORDS["$defs"]["detection"]["properties"]
    assert len(speeds) > 12
    assert np.mean(speeds[-10:]) == pytest.approx(4, abs=0.2)
    [alert] = [line for line in lines if "event" in line]
    assert (alert["event"], alert["name"], alert["what"], alert["id"]) == ("speed", "yard", "begin", 1)


def test_a_heat_map_is_drawn_where_the_walker_was() -> None:
    settings = gather([synthetic(20)], "walker", heatmap=60)
    with Pipeline(settings, model=Walker()) as pipeline:
        shown = list(pipeline.frames())
        overlays = pipeline.overlays()
    heat = next(overlay for overlay in overlays if isinstance(overlay, Heat))
    for frame in shown:
        canvas = Canvas(frame.planes, shared=True)
        heat(canvas, frame)
    changed = cv2.absdiff(canvas.planes.y, frame.planes.y)
    rows, columns = np.nonzero(changed > 8)
    assert rows.min() >= 40
    assert rows.max() <= 60
    assert columns.min() < 25
    assert columns.max() > 75


def test_no_event_is_lost_with_the_frames_that_a_slow_sink_of_a_live_stream_loses(tmp_path: Path) -> None:
    """Sixty crossings in two seconds, and a reader that takes a frame now and then."""
    graph, taken, planes = Graph(), [], from_rgb(np.zeros((4, 4, 3), np.uint8))
    frames = [
        Frame("a", index, index / 30, planes, events=(Event("line", "door", 0.0, str(index)),))
        for index in range(60)
    ]
    sink = RecordSink(parse(str(tmp_path / "a.jsonl"), "", SINKS), SourceInfo((4, 4), 30.0), Walker().spec)

    def slow(inbox: Inbox[Frame]) -> Any:
        ended.wait(10)
        for frame in inbox:
            sink.write(frame)
            taken.append(frame.index)
            yield frame

    ended = threading.Event()

    def camera() -> Any:
        yield from frames
        ended.set()

    source, node = graph.source("camera", camera), graph.stage("slow", slow)
    graph.connect(source, node, policy="latest", capacity=4)
    graph.start()
    assert graph.wait(10)
    graph.raise_error()
    sink.close()
    assert len(taken) < 10
    told = [json.loads(line)["what"] for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert told == [str(index) for index in range(60)]

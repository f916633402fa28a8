"""Desk: lines and zones that change while a run goes on, and the pipeline file that keeps them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engines.detections import Detections
from engines.errors import InputError, WorkError
from streamer.analytics.desk import Desk
from streamer.analytics.plan import LinePlan, Plan, ZonePlan
from streamer.analytics.watch import Watch
from streamer.config import load
from streamer.follow import Follower
from streamer.frame import Frame
from streamer.pipeline import Pipeline
from streamer.planes import from_rgb
from streamer.settings import merge

NAMES = ("person", "car")
FILE = """\
# My street
sources:
  door: 'synthetic:'   # the camera
model: tiny-yolo
analytics:
  lines:
    middle: [[0.5, 1.0], [0.5, 0.0]]
  zones: {"left half": {points: [[0, 0], [0.5, 0], [0.5, 1]], dwell: 5}}

# where it goes
sinks: [out.jsonl]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "street.yaml"
    path.write_text(FILE)
    return path


def test_what_is_drawn_is_kept_and_the_rest_of_the_file_stays(file: Path) -> None:
    file.chmod(0o640)
    desk = Desk(load(file).analytics.plan(), NAMES, str(file))
    desk.put("lines", "gate", {"points": [[0.1, 0.2], [0.9, 0.2]], "classes": ["car"]})
    assert file.stat().st_mode & 0o777 == 0o640
    desk.put("zones", "left half", {"points": [[0, 0], [0.4, 0], [0.4, 1]]})
    assert load(file).analytics.plan() == desk.plan
    text = file.read_text()
    assert text.startswith(FILE[: FILE.index("analytics:")])
    assert text.endswith(FILE[FILE.index("\n# where") :])
    assert "    middle: [[0.5, 1.0], [0.5, 0.0]]\n" in text
    assert "    gate: {points: [[0.1, 0.2], [0.9, 0.2]], classes: [car]}\n" in text
    assert "    left half: [[0.0, 0.0], [0.4, 0.0], [0.4, 1.0]]\n" in text
    desk.put("lines", "middle", {"points": [[0.6, 1], [0.6, 0]]})
    assert [line.name for line in desk.plan.lines] == ["middle", "gate"], "changed where it was"
    assert desk.remove("lines", "gate")
    assert not desk.remove("lines", "gate")
    assert "gate" not in file.read_text()


def test_the_last_one_takes_the_section_with_it(file: Path) -> None:
    desk = Desk(load(file).analytics.plan(), NAMES, str(file))
    desk.remove("lines", "middle")
    desk.remove("zones", "left half")
    assert "analytics" not in file.read_text()
    desk.put("lines", "gate", {"points": [[0, 0], [1, 1]]})
    assert load(file).analytics.plan() == desk.plan


@pytest.mark.parametrize(
    "text",
    [
        "sources: {a: 'synthetic:'}\nmodel: tiny-yolo",
        "model: m.onnx\nanalytics: {lines: {a: [[0, 0], [1, 1]]}}\nsources: {a: b}\n",
    ],
)
def test_other_spellings_of_the_file_are_kept_too(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    desk = Desk(load(path).analytics.plan(), NAMES, str(path))
    desk.put("lines", "no: 'plain' name", {"points": [[0, 0], [0, 1]]})
    assert load(path).analytics.plan() == desk.plan


def test_a_file_that_cannot_be_changed_changes_nothing(file: Path) -> None:
    desk = Desk(Plan(), NAMES, str(file))
    file.write_text("{sources: {a: 'synthetic:'}, model: tiny-yolo}")
    with pytest.raises(WorkError, match=r"street\.yaml: lines and zones cannot be kept"):
        desk.put("lines", "gate", {"points": [[0, 0], [1, 1]]})
    assert desk.plan == Plan()
    assert file.read_text() == "{sources: {a: 'synthetic:'}, model: tiny-yolo}"
    assert os.listdir(file.parent) == ["street.yaml"]


def test_what_cannot_be_is_refused(file: Path) -> None:
    desk = Desk(Plan(), NAMES, str(file))
    with pytest.raises(InputError, match="no class 'cow'"):
        desk.put("lines", "gate", {"points": [[0, 0], [1, 1]], "classes": ["cow"]})
    with pytest.raises(InputError, match="did you mean 'dwell'"):
        desk.put("zones", "hall", {"points": [[0, 0], [1, 1], [1, 0]], "dwel": 1})
    full = Desk(Plan(tuple(LinePlan(str(at), ((0, 0), (1, 1))) for at in range(64))), NAMES)
    with pytest.raises(InputError, match="64 at most"):
        full.put("lines", "one more", {"points": [[0, 0], [1, 1]]})
    full.put("lines", "63", {"points": [[0, 0], [0, 1]]})
    with pytest.raises(InputError, match=r"zones\.hall: points: 65, at most 64 would be right"):
        desk.put("zones", "hall", {"points": [[at / 65, at % 2] for at in range(65)]})
    assert file.read_text() == FILE


def test_lines_that_stay_go_on_counting() -> None:
    door, gate = LinePlan("door", ((0.5, 1), (0.5, 0))), LinePlan("gate", ((0.2, 1), (0.2, 0)))
    watch = Watch(Plan((door,)), "cam", (100, 100), NAMES)

    def see(x: float, index: int) -> None:
        rows = Detections.of([[x - 2, 40, x + 2, 60]], [0.9], [0], ids=np.array([1]))
        planes = from_rgb(np.zeros((100, 100, 3), np.uint8))
        watch.update(Frame(planes=planes, stream="cam", index=index, pts=index / 10, detections=rows))

    see(30, 0)
    see(70, 1)
    watch = Watch(Plan((gate, replace(door, streams=("cam",)))), "cam", (100, 100), NAMES, watch)
    see(10, 2)
    assert [sign.text for sign in watch.signs()] == ["gate in 0 out 0", "door in 1 out 1"]


def test_counts_go_on_in_pictures_of_another_size() -> None:
    line = LinePlan("door", ((0.5, 1.0), (0.5, 0.0)))
    zone = ZonePlan("hall", ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0)))
    watch = Watch(Plan((line,), (zone,)), "cam", (100, 100), ("thing",))
    for size, places in (((100, 100), (20, 80)), ((200, 200), (160, 70))):
        watch = Watch(watch.plan, "cam", size, ("thing",), watch)
        planes = from_rgb(np.zeros((*size, 3), np.uint8))
        for pts, x in enumerate(places):
            found = Detections.of([[x - 5, 40, x + 5, 60]], [0.9], [0], ids=np.array([1]))
            watch.update(Frame("cam", 0, size[0] + pts, planes, detections=found))
    assert watch.lines[0].counts == {"in": 1, "out": 1}
    assert watch.zones[0].counts["in"] - watch.zones[0].counts["out"] == watch.zones[0].occupancy == 0
    assert watch.zones[0].counts["in"] >= 1


def test_a_file_that_is_edited_is_watched_by_what_it_says_now(file: Path) -> None:
    settings = merge([], "", [], file, {"track": "sort"})
    said: list[str] = []
    with Pipeline(settings) as pipeline:
        desk = pipeline.desk
        assert desk is not None
        follower = Follower(file, pipeline, lambda: merge([], "", [], file, {"track": "sort"}), said.append)
        file.write_text(FILE.replace("middle", "gate"))
        follower.look()
        assert [line.name for line in desk.plan.lines] == ["gate"]
        assert said == [f"{file}: lines and zones: changed"]
        desk.put("lines", "door", {"points": [[0, 0], [1, 1]]})
        follower.look()
        assert len(said) == 1, "what came from here is no news"

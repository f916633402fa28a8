"""JSON lines: what a record says, and that every line is whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.detections import EMPTY, Detections, Masks
from engines.errors import WorkError
from engines.spec import ModelSpec
from streamer.frame import Frame
from streamer.sinks import Sink
from streamer.sinks.records import record

ROOT = Path(__file__).parents[3]
SCHEMA = json.loads((ROOT / "docs" / "record.schema.json").read_text())
SPEC = ModelSpec("toy", "detect", "detections", ("person", "Zürich"), (320, 320))

PLAIN = Detections.of([[1.006, 2, 30.5, 40.123456], [0, 0, 5, 6]], [0.87654321, 0.5], [0, 1])
TRACKED = PLAIN.with_ids(np.array([7, -1]))
POSED = replace(PLAIN, keypoints=np.array([[[1.234, 2, 0.9], [3, 4, 0]]] * 2, np.float32))
MASKED = replace(
    PLAIN,
    masks=Masks(
        (np.full((4, 4), 5, np.float32), np.full((2, 2), -5, np.float32)),
        np.array([[0, 0, 40, 48], [0, 0, 5, 6]], np.float32),
    ),
)


def test_a_record_says_what_was_found(frames: Callable[..., list[Frame]]) -> None:
    frame = _with(frames([1 / 3])[0], TRACKED)
    assert record(frame, SPEC) == {
        "stream": "cam",
        "index": 0,
        "pts": 0.333333,
        "detections": [
            {"id": 7, "class": "person", "class_id": 0, "score": 0.8765, "box": [1.01, 2.0, 30.5, 40.12]},
            {"id": None, "class": "Zürich", "class_id": 1, "score": 0.5, "box": [0.0, 0.0, 5.0, 6.0]},
        ],
    }


def test_the_record_of_a_picture_names_its_file(frames: Callable[..., list[Frame]]) -> None:
    frame = frames([0.0])[0]
    assert "file" not in record(frame, SPEC)
    frame.file = "photos/é.jpg"
    told = record(frame, SPEC)
    assert told["file"] == "photos/é.jpg"
    assert _faults(told, SCHEMA) == []


def test_a_class_without_a_name_is_called_by_its_number(frames: Callable[..., list[Frame]]) -> None:
    frame = _with(frames([0.0])[0], Detections.of([[0, 0, 1, 1]], [0.5], [4]))
    assert record(frame, SPEC)["detections"][0]["class"] == "4"


def test_keypoints_are_there_when_the_model_gives_them(frames: Callable[..., list[Frame]]) -> None:
    rows = record(_with(frames([0.0])[0], POSED), SPEC)["detections"]
    assert [row["keypoints"] for row in rows] == [[[1.23, 2.0, 0.9], [3.0, 4.0, 0.0]]] * 2


def test_masks_are_what_pycocotools_reads(frames: Callable[..., list[Frame]]) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    rows = record(_with(frames([0.0])[0], MASKED), SPEC)["detections"]
    first, second = (coco.decode(row["mask"]) for row in rows)
    assert first.shape == (96, 160)
    assert first[2:40, 2:30].all()
    assert first.sum() == pytest.approx(29.5 * 38, rel=0.05)
    assert second.sum() == 0


@pytest.mark.parametrize("found", [EMPTY, PLAIN, TRACKED, POSED, MASKED], ids=repr)
def test_a_line_keeps_to_the_schema(
    tmp_path: Path, frames: Callable[..., list[Frame]], write: Callable[..., None], found: Detections
) -> None:
    path = tmp_path / "a.jsonl"
    write(path, [_with(frame, found) for frame in frames([0.0, 0.1])])
    lines = path.read_text().splitlines()
    assert len(lines) == 2
    for line in lines:
        assert _faults(json.loads(line), SCHEMA) == []


def test_a_live_frame_tells_when_it_came_and_how_old_it_is(frames: Callable[..., list[Frame]]) -> None:
    (frame,) = frames([0.5])
    assert record(frame, SPEC).keys().isdisjoint({"captured", "age", "wall"})
    frame.live, frame.captured = True, time.monotonic() - 0.25
    told = record(frame, SPEC)
    assert told["age"] == pytest.approx(0.25, abs=0.1)
    assert told["captured"] == pytest.approx(time.time() - 0.25, abs=0.1)
    assert "wall" not in told
    frame.wall = 1_700_000_000.25
    told = record(frame, SPEC)
    assert told["wall"] == 1_700_000_000.25
    assert _faults(json.loads(json.dumps(told)), SCHEMA) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"pts": "0"}, "pts: type"),
        ({"extra": 1}, "extra: unknown"),
        ({"detections": [{}]}, "detections: 0: box: missing"),
        ({"index": -1}, "index: minimum"),
    ],
)
def test_the_check_against_the_schema_finds_faults(change: dict[str, Any], fault: str) -> None:
    right = {"stream": "cam", "index": 0, "pts": 0.0, "detections": []}
    assert fault in _faults(right | change, SCHEMA)


def test_only_frames_that_went_through_the_model_are_recorded(
    tmp_path: Path, frames: Callable[..., list[Frame]], write: Callable[..., None]
) -> None:
    pictures = frames([0.0, 0.1, 0.2, 0.3])
    for frame in pictures:
        frame.inferred = frame.index % 2 == 0
    write(tmp_path / "a.jsonl", pictures)
    written = [json.loads(line)["index"] for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert written == [0, 2]


def test_streams_share_a_file_line_by_line(
    tmp_path: Path, frames: Callable[..., list[Frame]], write: Callable[..., None]
) -> None:
    pairs = zip(frames([0.0, 0.1], stream="a"), frames([0.0, 0.1], stream="b"), strict=True)
    write(tmp_path / "a.jsonl", [_with(frame, PLAIN) for pair in pairs for frame in pair])
    names = [json.loads(line)["stream"] for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert names == ["a", "b", "a", "b"]


def test_a_line_is_on_disk_when_write_returns_and_no_file_before_it(
    tmp_path: Path, frames: Callable[..., list[Frame]], sink: Callable[..., Sink]
) -> None:
    path = tmp_path / "new" / "a.jsonl"
    opened = sink(path)
    assert list(tmp_path.iterdir()) == []
    for count, frame in enumerate(frames([0.0, 0.1, 0.2]), start=1):
        opened.write(_with(frame, PLAIN))
        assert path.read_bytes().count(b"\n") == count
    opened.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_a_failure_that_names_the_file(
    tmp_path: Path, frames: Callable[..., list[Frame]], sink: Callable[..., Sink]
) -> None:
    (tmp_path / "a.jsonl").symlink_to("/dev/full")
    opened = sink(tmp_path / "a.jsonl")
    with pytest.raises(WorkError, match=r"a\.jsonl: cannot be written: No space left"):
        opened.write(_with(frames([0.0])[0], PLAIN))
    opened.close()


def test_a_torn_line_is_taken_back(
    tmp_path: Path, frames: Callable[..., list[Frame]], sink: Callable[..., Sink]
) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "a.jsonl"
    opened = sink(path)
    pictures = [_with(frame, PLAIN) for frame in frames([0.0, 0.1])]
    opened.write(pictures[0])
    whole = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 20, limits[1]))
    try:
        with pytest.raises(WorkError):
            opened.write(pictures[1])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
        opened.close()
    assert path.read_bytes() == whole


STDOUT = """
import sys
import time
import numpy as np
from engines.spec import ModelSpec
from streamer.frame import Frame, Planes
from streamer.sinks import Closed, open_sink
from streamer.sources import SourceInfo

grey = np.zeros((2, 2), np.uint8)
sink = open_sink("-", info=SourceInfo((2, 2)), spec=ModelSpec("toy", "detect", "detections", (), (32, 32)))
try:
    for index in range(int(sys.argv[1])):
        sink.write(Frame("cam", index, 0.0, Planes(grey, grey, grey), inferred=True))
except Closed:
    sys.stderr.write("closed")
finally:
    sink.close()
"""


def test_standard_output_carries_the_lines() -> None:
    run = subprocess.run([sys.executable, "-c", STDOUT, "3"], cwd=ROOT, capture_output=True, check=True)
    assert [json.loads(line)["index"] for line in run.stdout.splitlines()] == [0, 1, 2]


def test_a_reader_that_goes_away_ends_the_run_quietly() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", STDOUT, "1000000"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stderr is not None
    assert json.loads(child.stdout.readline())["index"] == 0
    child.stdout.close()
    assert child.stderr.read() == b"closed"
    child.stderr.close()
    assert child.wait() == 0


def _with(frame: Frame, found: Detections) -> Frame:
    frame.detections, frame.inferred = found, True
    return frame


def _faults(value: Any, schema: dict[str, Any], where: str = "") -> list[str]:
    """List what breaks the schema, by the few keywords of JSON Schema that ours uses."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(_is(value, name) for name in types):
        return [f"{where}type"]
    faults = []
    if isinstance(value, dict):
        known = schema["properties"]
        faults += [f"{where}{key}: missing" for key in schema["required"] if key not in value]
        faults += [f"{where}{key}: unknown" for key in value if key not in known]
        for key in value.keys() & known.keys():
            faults += _faults(value[key], known[key], f"{where}{key}: ")
    elif isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            faults.append(f"{where}length")
        for index, item in enumerate(value):
            faults += _faults(item, schema["items"], f"{where}{index}: ")
    elif value is not None and not isinstance(value, str):
        faults += [f"{where}minimum"] * (value < schema.get("minimum", value))
        faults += [f"{where}maximum"] * (value > schema.get("maximum", value))
    return faults


def _is(value: Any, name: str) -> bool:
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "null": type(None)}
    return isinstance(value, int | float) if name == "number" else isinstance(value, kinds[name])

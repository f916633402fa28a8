"""Targets: what a run has written is never written over by the same run."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.errors import InputError
from streamer.sinks.targets import Targets


@pytest.mark.parametrize(
    ("url", "later"),
    [
        ("a.mp4", ["a-2.mp4", "a-3.mp4"]),
        ("a.mkv?crf=20&preset=fast", ["a-2.mkv?crf=20&preset=fast", "a-3.mkv?crf=20&preset=fast"]),
        ("{stream}.jsonl", ["{stream}-2.jsonl", "{stream}-3.jsonl"]),
        ("{stream}/%06d.jpg", ["{stream}/%06d-2.jpg", "{stream}/%06d-3.jpg"]),
        ("a.txt", ["a-2.txt", "a-3.txt"]),
        ("a.m3u8?keep=0", ["a-2.m3u8?keep=0", "a-3.m3u8?keep=0"]),
        ("a.m3u8", ["a.m3u8", "a.m3u8"]),
        ("clips:events", ["clips:events", "clips:events"]),
        ("rtsp://:8554/{stream}", ["rtsp://:8554/{stream}", "rtsp://:8554/{stream}"]),
        ("-", ["-", "-"]),
    ],
)
def test_a_file_of_this_run_is_opened_under_the_next_number(
    url: str, later: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    targets = Targets()
    assert [targets.claim(url, "cam") for _ in range(3)] == [url, *later]
    assert targets.now(url, "cam") == later[-1]


def test_no_other_file_is_written_over_either(tmp_path: Path) -> None:
    said: list[str] = []
    targets = Targets(said.append)
    url = f"{tmp_path}/{{stream}}.mp4"
    (tmp_path / "cam-2.mp4").touch()
    assert targets.claim(url, "cam-3") == targets.claim(url, "cam") == url
    assert not said
    assert targets.claim(url, "cam") == f"{tmp_path}/{{stream}}-4.mp4"
    (sentence,) = said
    assert sentence.startswith("cam: ")
    assert f"{tmp_path}/cam.mp4" in sentence
    assert f"{tmp_path}/cam-4.mp4" in sentence


def test_streams_whose_names_make_one_file_get_one_each(tmp_path: Path) -> None:
    targets = Targets()
    url = f"{tmp_path}/{{stream}}.jsonl"
    assert targets.claim(url, "front door") == url
    assert targets.claim(url, "front_door") == f"{tmp_path}/{{stream}}-2.jsonl"


@pytest.mark.parametrize(
    "url", ["out/{stream}.m3u8", "{stream}.mp4", "rtsp://:8554/{stream}", "clips:{stream}"]
)
def test_streams_whose_names_make_one_place_are_refused(url: str) -> None:
    targets = Targets()
    targets.check_apart(url, "a b", ["cam", "a-b", "a b"])
    with pytest.raises(InputError, match=r"a_b.*streams 'a/b' and 'a b' would both write to it"):
        targets.check_apart(url, "a b", ["cam", "a/b"])
    targets.check_apart("all.jsonl", "a b", ["a/b"])


@pytest.mark.parametrize(
    ("sink", "source"),
    [
        ("a.mp4", "a.mp4"),
        ("./x/../a.mp4?crf=20", "a.mp4"),
        ("link.mp4", "a.mp4"),
        ("hard.mkv", "a.mp4"),
        ("{stream}.mp4", "cam.mp4"),
        ("p/%06d.jpg", "p/000012.jpg"),
        ("p/%d.jpg", "p/7.jpg"),
        ("p/{stream}-%03d.png", "p/cam-001.png"),
    ],
)
def test_no_sink_writes_over_a_source(
    sink: str, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("x", "p"):
        Path(folder).mkdir()
    Path(source).touch()
    if source == "a.mp4":
        Path("link.mp4").symlink_to(source)
        Path("hard.mkv").hardlink_to(source)
    targets = Targets()
    targets.check(sink, "cam")
    targets.protect([Path(source)])
    with pytest.raises(InputError, match=f"would write over {source}, a source"):
        targets.check(sink, "cam")


@pytest.mark.parametrize(
    "sink", ["b.mp4", "p/%06d.png", "q/%06d.jpg", "p/x%06d.jpg", "-", "null:", "rtsp://:8554/a"]
)
def test_other_places_are_free(sink: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p").mkdir()
    targets = Targets()
    targets.protect([Path("a.mp4"), Path("p/000001.jpg")])
    Path("p/000001.jpg").touch()
    targets.check(sink, "cam")

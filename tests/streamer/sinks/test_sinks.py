"""The table of sinks: what a URL chooses, and how a wrong one is refused."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from engines.errors import InputError
from streamer.sinks import SINKS, check_sink, sink_kind, target, wants_overlay


@pytest.mark.parametrize("key", SINKS)
def test_every_name_in_the_table_leads_to_an_opener(key: str) -> None:
    module, _, name = SINKS[key].opener.partition(":")
    assert callable(getattr(importlib.import_module(module), name).check)


@pytest.mark.parametrize(
    ("url", "overlay", "shared", "main_thread"),
    [
        ("a.mp4", True, False, False),
        ("out/A.MKV?crf=20", True, False, False),
        ("dir/%06d.jpg", True, False, False),
        ("a.jsonl", False, True, False),
        ("{stream}.jsonl", False, False, False),
        ("-", False, True, False),
        ("window:", True, True, True),
        ("window:{stream}", True, False, True),
        ("null:", False, True, False),
    ],
)
def test_a_url_says_what_kind_of_sink_it_is(url: str, overlay: bool, shared: bool, main_thread: bool) -> None:
    kind = sink_kind(url)
    assert (kind.overlay, kind.shared, kind.main_thread) == (overlay, shared, main_thread)
    assert wants_overlay(url) == overlay


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("a.mp5", ["a.mp5", "did you mean '.mp4'", "*.jsonl", "window:"]),
        ("out", ["'out'", "*.mp4"]),
        ("windows:", ["'windows:'", "did you mean 'window:'"]),
        ("rtsq://me:secret@host/x", ["'rtsq:'", "me:***@host"]),
        ("a.mp4?presett=fast", ["presett", "did you mean 'preset'"]),
        ("a.mp4?preset=veryfest", ["veryfest", "did you mean 'veryfast'"]),
        ("a.mp4?crf=99", ["crf", "99", "0 to 51"]),
        ("a.mp4?gop=many", ["gop", "'many'", "whole number"]),
        ("a.jsonl?indent=2", ["takes no options"]),
        ("null:?x=1", ["takes no options"]),
        ("dir/%06d.jpg?quality=0", ["quality", "1 to 100"]),
        ("dir/%06d.png?quality=90", ["quality", "compression"]),
        ("dir/%s.jpg", ["dir/%s.jpg", "%06d"]),
        ("dir/%d-%d.jpg", ["dir/%d-%d.jpg", "%06d"]),
        ("dir-%03d/a.jpg", ["dir-%03d/a.jpg", "in the file's name"]),
    ],
)
def test_a_wrong_url_is_refused_with_what_would_be_right(url: str, words: list[str]) -> None:
    with pytest.raises(InputError) as refused:
        check_sink(url)
    message = str(refused.value)
    assert [word for word in words if word not in message] == []
    assert "secret" not in message


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.jsonl", "%03d.jpg", "a.png"])
@pytest.mark.parametrize("place", ["a file", "a folder", "below a file"])
def test_a_place_that_cannot_be_written_is_refused_early(tmp_path: Path, name: str, place: str) -> None:
    if place == "a folder":
        (tmp_path / name).mkdir()
        url = tmp_path / name
    else:
        (tmp_path / "file").touch()
        url = tmp_path / "file" / ("" if place == "a file" else "deep") / name
    with pytest.raises(InputError, match="folder"):
        check_sink(str(url))


SHOWN = re.findall(
    r'--sink "([^"]+)"', (Path(__file__).parents[3] / "docs" / "publishing.md").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("url", SHOWN)
def test_every_sink_that_the_page_on_publishing_shows_is_one(url: str) -> None:
    try:
        check_sink(url)
    except InputError as missing:
        if "pip install" not in str(missing):
            raise


def test_a_check_leaves_nothing_on_disk(tmp_path: Path) -> None:
    for name in ("a.mp4", "new/a.jsonl", "new/%d.jpg"):
        check_sink(f"{tmp_path}/{name}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a.mp4", "./x/../a.mp4?crf=30", True),
        ("a.mp4", "a.mkv", False),
        ("-", "-", True),
        ("window:", "window:Street", False),
    ],
)
def test_targets_are_equal_where_two_sinks_would_collide(one: str, other: str, same: bool) -> None:
    assert (target(one) == target(other)) == same


def test_the_stream_in_a_path_keeps_to_safe_characters() -> None:
    names = {
        stream: os.path.basename(target("out/{stream}.mp4", stream)) for stream in ("cam 1", "../../x", "/")
    }
    assert names == {"cam 1": "cam_1.mp4", "../../x": "_.._x.mp4", "/": "_.mp4"}
    assert target("{stream}.mp4", "a") != target("{stream}.mp4", "b")


def test_the_table_is_read_without_the_libraries_that_open_things() -> None:
    code = "import sys, streamer.sinks; print([m for m in ('av', 'cv2', 'torch') if m in sys.modules])"
    root = Path(__file__).parents[3]
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"

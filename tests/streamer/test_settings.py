"""Settings: what Python gives is read as what a command line and a file give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engines.errors import InputError
from streamer.config import read_analytics
from streamer.settings import gather, merge

GATE = {"lines": {"gate": [[0.1, 0.5], [0.9, 0.5]]}}


def test_lines_and_zones_may_be_told_as_in_the_file() -> None:
    settings = gather("synthetic:", "tiny-yolo", analytics=GATE)
    assert settings.analytics == read_analytics(GATE)
    assert settings.analytics.lines[0].name == "gate"
    assert settings.track == "bytetrack"


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"analytics": {"lins": {}}}, "analytics: unknown key 'lins', did you mean 'lines'?"),
        ({"analytics": 3}, "analytics: 3, would be a mapping"),
        ({"analytics": {"lines": 3}}, "analytics.lines: 3, would be a mapping"),
        ({"hide": {"how": "blur"}}, "hide: {'how': 'blur'}, text such as 'blur,classes=face' would be right"),
        ({"latency": float("nan")}, "latency: nan, 5ms or more would be right"),
        ({"classes": ""}, "classes: '', names or ids"),
        ({"conf": -1}, "conf: -1, a number from 0 to 1 is right"),
        ({"iou": -1.0}, "iou: -1, a number from 0 to 1 is right"),
        ({"every": "2"}, "every: '2', a number would be right"),
        ({"trails": True}, "trails: True, a number would be right"),
        ({"loop": "no"}, "loop: 'no', True or False is right"),
        ({"track": True}, "track: True, text such as 'bytetrack' is right"),
        ({"latency": [1]}, "latency: [1], seconds or text such as '150ms' is right"),
        ({"quarantine": True}, "quarantine: True, text such as 'corrupt,black' is right"),
        ({"traces": "x"}, "traces: 'x', a share from 0 to 1 is right"),
        ({"then": 5}, "then: 5, text such as 'reid.onnx,classes=person' is right"),
        ({"sinks": [None]}, "sink: NoneType, a path or URL as text is right"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(how: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        gather("synthetic:", "tiny-yolo", **how)
    assert sentence in str(caught.value)


def test_what_the_command_line_gives_wins_over_what_the_file_says_of_one_source(tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    file.write_text("""\
sources:
  a: {url: 'synthetic:', every: 2, realtime: false, loop: true}
  b: 'synthetic:'
model: tiny-yolo
""")
    told = merge([], "", [], file, {"every": 5, "realtime": True}).sources
    assert [(one.every, one.limits.realtime, one.limits.loop) for one in told] == [
        (5, True, True),
        (5, True, False),
    ]
    assert [one.every for one in merge([], "", [], file, {}).sources] == [2, 1]


@pytest.mark.parametrize(
    ("source", "model", "sentence"),
    [
        ([["a.mp4", "b.mp4"]], "tiny-yolo", "source: list, a path or URL as text is right"),
        (None, "tiny-yolo", "source: NoneType, a path or URL as text is right"),
        (0, object(), "model: object, a path or URL as text is right"),
    ],
    ids=["a list in a list", "no source", "a model that is loaded"],
)
def test_what_is_no_place_is_named_by_its_type(source: Any, model: Any, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        gather(source, model)
    assert str(caught.value) == sentence


def test_an_unknown_keyword_is_told_with_the_nearest_right_one() -> None:
    with pytest.raises(TypeError, match="unknown keyword 'cnf', did you mean 'conf'"):
        gather("synthetic:", "tiny-yolo", cnf=0.3)


def test_what_is_printed_holds_no_password() -> None:
    settings = gather("rtsp://me:hush@camera/1", "tiny-yolo", ["mqtt://me:hush@broker/street"])
    assert "rtsp://me:***@camera/1" in repr(settings)
    assert "hush" not in repr(settings)

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

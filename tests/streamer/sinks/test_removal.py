"""Removal: a file that is taken away while it is written is not passed over."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.errors import WorkError
from streamer.frame import Frame
from streamer.sinks import Sink

FILES = ["a.mp4", "a.mkv", "a.jsonl", "a.txt"]
TIMES = [index / 10 for index in range(15)]


def begun(opened: Sink, frames: list[Frame]) -> None:
    for frame in frames:
        frame.inferred = True
        opened.write(frame)


@pytest.mark.parametrize("name", FILES)
def test_a_file_whose_folder_was_removed_is_said_at_the_end(
    name: str, tmp_path: Path, frames: Callable[..., list[Frame]], sink: Callable[..., Sink]
) -> None:
    opened = sink(tmp_path / "out" / name)
    begun(opened, frames(TIMES))
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(WorkError, match=rf"{name}: was removed while it was written"):
        opened.close()


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_was_moved_is_whole_elsewhere(
    name: str, tmp_path: Path, frames: Callable[..., list[Frame]], sink: Callable[..., Sink]
) -> None:
    opened = sink(tmp_path / name)
    begun(opened, frames(TIMES))
    (tmp_path / name).rename(tmp_path / f"b{name}")
    opened.close()
    assert [path.name for path in tmp_path.iterdir()] == [f"b{name}"]

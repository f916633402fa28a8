"""Clips: what happened, what was before it and what came after, and no more than is to be kept."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import av
import cv2
import pytest

from engines.errors import InputError, WorkError
from streamer.analytics.events import Event
from streamer.analytics.plan import LinePlan, Plan
from streamer.frame import Frame
from streamer.pipeline import Pipeline
from streamer.settings import gather
from streamer.sinks import Sink, check_sink
from tests.servers.camera import FPS, PICTURES
from tests.servers.clip import number_of
from tests.streamer.test_tracking import Walker, synthetic

Write = Callable[..., None]


def film(count: int, *at: int, name: str = "door", kind: str = "line", start: float = 0.0) -> list[Frame]:
    """Numbered pictures; in those of ``at`` somebody crosses the line."""
    frames = []
    for index in range(count):
        pts = start + index / FPS
        events = (Event(kind, name, pts, "in", 7, 0, count=1),) if index in at else ()
        frames.append(Frame("cam", index, pts, PICTURES[index % len(PICTURES)], events=events, inferred=True))
    return frames


def numbers(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [number_of(frame.to_ndarray(format="gray")) for frame in container.decode(video=0)]


def clips(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.mp4"))


def test_a_clip_holds_what_was_before_and_after(tmp_path: Path, write: Write) -> None:
    write(f"clips:{tmp_path}?before=1&after=0.5&gop=15", film(200, 100))
    assert clips(tmp_path) == ["000003.333-line-door.mp4"]
    seen = numbers(tmp_path / "000003.333-line-door.mp4")
    assert seen == list(range(seen[0], 116))
    assert 55 <= seen[0] <= 70  # a keyframe one second before, or just before that
    [told] = (tmp_path / "000003.333-line-door.jsonl").read_text().splitlines()
    assert json.loads(told)["id"] == 7
    picture = cv2.imread(str(tmp_path / "000003.333-line-door.jpg"), cv2.IMREAD_GRAYSCALE)
    assert number_of(picture) == 100


def test_times_begin_at_zero_and_keep_their_distances(tmp_path: Path, write: Write) -> None:
    write(f"clips:{tmp_path}?before=1&after=1&gop=15", film(150, 60, start=1000.0))
    [name] = clips(tmp_path)
    assert name == "001002.000-line-door.mp4"
    with av.open(str(tmp_path / name)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert times[0] == pytest.approx(0, abs=0.01)
    assert [b - a for a, b in pairwise(times)] == pytest.approx([1 / FPS] * (len(times) - 1), abs=1e-3)


def test_events_close_together_share_a_clip_and_others_do_not(tmp_path: Path, write: Write) -> None:
    write(f"clips:{tmp_path}?before=0.5&after=0.5&gop=10", film(200, 50, 60, 150))
    first, second = clips(tmp_path)
    assert numbers(tmp_path / first)[-1] == 75
    assert len((tmp_path / first).with_suffix(".jsonl").read_text().splitlines()) == 2
    assert (tmp_path / f"{first.removesuffix('.mp4')}-2.jpg").exists()
    assert numbers(tmp_path / second)[-1] == 165


def test_a_clip_that_lasts_too_long_goes_on_in_another(tmp_path: Path, write: Write) -> None:
    write(f"clips:{tmp_path}?before=0&after=1&longest=2&gop=10", film(240, *range(30, 200, 10)))
    names = clips(tmp_path)
    assert len(names) >= 3
    shown = [number for name in names for number in numbers(tmp_path / name)]
    assert set(range(30, 200)) <= set(shown)


def test_the_end_of_the_source_completes_a_clip(tmp_path: Path, write: Write) -> None:
    write(f"clips:{tmp_path}?before=9&after=60", film(40, 30))
    assert numbers(tmp_path / clips(tmp_path)[0]) == list(range(40))


@pytest.mark.parametrize(
    ("query", "count"),
    [("on=line", 1), ("on=zone+alert", 0), ("names=door", 1), ("names=gate+door", 1), ("names=gate", 0)],
)
def test_only_chosen_events_are_kept(query: str, count: int, tmp_path: Path, write: Write) -> None:
    write(f"clips:{tmp_path}/x?{query}&after=0&snapshot=0", film(30, 20))
    assert len(clips(tmp_path / "x")) == count
    assert not list(tmp_path.glob("x/*.jpg"))


def test_old_clips_go_by_age_and_size_and_other_files_stay(tmp_path: Path, write: Write) -> None:
    (tmp_path / "holiday.mp4").write_bytes(b"x" * 3_000_000)
    for number, days in ((1, 9), (2, 2), (3, 1)):
        for suffix in ("mp4", "jsonl", "jpg"):
            path = tmp_path / f"00000{number}.000-line-door.{suffix}"
            path.write_bytes(b"x" * 600_000)
            age = path.stat().st_mtime - days * 86400
            os.utime(path, (age, age))
    write(f"clips:{tmp_path}?before=1&after=0&days=7&megabytes=3", film(200, 150))
    assert clips(tmp_path) == ["000003.000-line-door.mp4", "000005.000-line-door.mp4", "holiday.mp4"]
    assert not list(tmp_path.glob("000002*"))


def test_clips_that_somebody_carries_away_meanwhile_are_no_failure(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "000001.000-line-door.mp4").write_bytes(b"x")
    entries = os.scandir

    def carried_away(folder: str) -> Iterator[os.DirEntry[str]]:
        for entry in entries(folder):
            if entry.name.startswith("000001.000"):
                os.remove(entry.path)
            yield entry

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", carried_away)
        write(f"clips:{tmp_path}?after=0&days=7", film(60, 40))
    assert clips(tmp_path) == ["000001.333-line-door.mp4"]


def test_a_run_leaves_a_clip_of_each_crossing_that_other_sinks_share_the_encoder_of(tmp_path: Path) -> None:
    plan = Plan((LinePlan("middle", ((0.5, 1.0), (0.5, 0.0))),))
    sinks = [f"clips:{tmp_path}/clips?before=0.5&after=0.5", f"{tmp_path}/live.m3u8"]
    with Pipeline(gather([synthetic(28)], "walker", sinks, analytics=plan), model=Walker()) as pipeline:
        report = pipeline.run()
        studio = next(iter(pipeline.streams.values())).studio
    assert not report.unbalanced
    assert studio.encoded == 28
    [name] = clips(tmp_path / "clips")
    assert name.endswith("-line-middle.mp4")


def test_mistakes_are_told(tmp_path: Path, write: Write) -> None:
    (tmp_path / "file").write_text("")
    for url, sentence in (
        ("clips:", "no folder, would be clips:FOLDER"),
        (f"clips:{tmp_path}/file", "is not a folder that can be written"),
        (f"clips:{tmp_path}?befor=3", "unknown key 'befor', did you mean 'before'?"),
        (f"clips:{tmp_path}?before=-1", "before: -1, must be from 0 to 300"),
    ):
        with pytest.raises(InputError) as caught:
            check_sink(url)
        assert sentence in str(caught.value)


def test_a_full_disk_leaves_no_half_picture_and_no_empty_clip(
    tmp_path: Path, sink: Callable[..., Sink]
) -> None:
    opened = sink(f"clips:{tmp_path}?before=1&after=1")
    frames = film(31, 30)
    for frame in frames[:30]:
        opened.write(frame)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, limits[1]))
    try:
        with pytest.raises(WorkError, match=r"clips:.*cannot be written: File too large"):
            opened.write(frames[30])
        opened.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [
        path.name for path in tmp_path.iterdir() if path.suffix == ".jpg" or not path.stat().st_size
    ] == []


def test_a_folder_that_cannot_be_made_is_a_failure_at_work(tmp_path: Path, write: Write) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkError, match="cannot be written"):
        write(f"clips:{tmp_path}/file/clips", film(10, 5))

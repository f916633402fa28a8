"""Tracking on real video: six people come and go, and every tracker sees six, whatever is dropped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import streamer
from engines.detections import Detections
from streamer.analytics import Line, LineCounter
from streamer.trackers import TRACKERS, open_tracker

ACROSS = Line("across", (520, 432), (520, 0))  # pixels: right of where they stand
Seen = list[tuple[float, Detections]]


@pytest.fixture(scope="module")
def seen(data_dir: Path) -> Seen:
    """What YOLOX-nano finds in each frame: the costly part, done once."""
    video, model = data_dir / "video/one-by-one-person-detection.mp4", data_dir / "models/yolox_nano_416.onnx"
    frames = streamer.stream(str(video), model=str(model), conf=0.25, classes=("person",), batch=4)
    return [(frame.pts, frame.detections) for frame in frames]


@pytest.mark.parametrize("name", TRACKERS)
@pytest.mark.parametrize("every", [1, 2, 5])
@pytest.mark.parametrize("seed", [None, 0, 1, 2], ids=["all frames", "a fifth lost", "others", "and others"])
def test_six_people_are_six_tracks_and_cross_once_each(
    seen: Seen, name: str, every: int, seed: int | None
) -> None:
    if seed is not None:
        kept = np.random.default_rng(seed).random(len(seen)) >= 0.2
        seen = [frame for frame, keep in zip(seen, kept, strict=True) if keep]
    tracker, line = open_tracker(name), LineCounter(ACROSS)
    first: dict[int, float] = {}
    last: dict[int, float] = {}
    for pts, found in seen[::every]:
        tracked = tracker.update(found, pts)
        line.update(tracked, pts)
        for number in tracked.ids[tracked.ids >= 0].tolist():
            first.setdefault(number, pts)
            last[number] = pts
    assert sum(last[number] - first[number] > 2 for number in first) == 6
    assert line.counts == {"in": 6}

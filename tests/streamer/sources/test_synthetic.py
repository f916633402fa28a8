"""The synthetic source: what its URL asks for, the scene's own pixels, and the truth of each."""

from __future__ import annotations

import time

import numpy as np
import pytest

from engines.errors import InputError
from engines.scenes import Scene
from streamer import planes as pixels
from streamer.sources import open_source


def test_frames_show_the_scene_and_truth_is_the_scenes():
    source = open_source("synthetic:?size=161x91&fps=20&count=5&seed=3&held_out=1")
    frames = list(source)
    scene = Scene((161, 91), 20.0, 3, True)
    assert [frame.pts for frame in frames] == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])
    for frame in frames:
        rgb, truth = scene.render(frame.index)
        # 4:2:0 blurs colour at edges, nothing else
        assert np.abs(pixels.to_rgb(frame.planes).astype(int) - rgb).mean() < 5
        assert (source.truth(frame.index).boxes == truth.boxes).all()
        assert not len(frame.detections)


def test_planes_are_a_cameras():
    (frame,) = open_source("synthetic:?count=1&size=80x64")
    assert (frame.planes.subsampling, frame.planes.matrix, frame.planes.full_range) == (
        (2, 2),
        "bt709",
        False,
    )


def test_what_is_known_is_what_comes():
    source = open_source("synthetic:?size=80x64&count=7")
    info = source.info
    assert (info.size, info.fps, info.frames, source.live) == ((80, 64), 30, 7, False)
    assert len(list(source)) == 7
    assert open_source("synthetic:").info.frames == 300


def test_count_zero_goes_on_until_stopped():
    source = open_source("synthetic:?count=0&size=64x64")
    taken = 0
    for taken, _ in enumerate(source, 1):
        if taken == 310:
            source.stop()
    assert taken == 310


def test_live_gives_each_picture_when_its_time_has_come():
    source = open_source("synthetic:?count=6&size=64x64&fps=100&live=1")
    began = time.monotonic()
    frames = list(source)
    assert source.live
    assert all(frame.captured - began >= frame.pts for frame in frames)


@pytest.mark.parametrize(
    "query", ["size=8x8", "size=0x0", "fps=0", "fps=nan", "fps=1e9", "count=-1", "seed=-1"]
)
def test_impossible_values_are_refused(query):
    with pytest.raises(InputError, match="would be right"):
        open_source(f"synthetic:?{query}")


def test_what_is_no_query_is_refused():
    with pytest.raises(InputError, match=r"synthetic:count=3: 'count=3', synthetic:\?count=100 is the form"):
        open_source("synthetic:count=3")

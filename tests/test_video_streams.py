"""Streams through a model for video: each says what a plain loop over its own frames alone says."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

import engines
import streamer
from engines.errors import InputError
from engines.masks import bitmap
from engines.scenes import Scene
from streamer import shots, stages
from streamer.batching import FILE_WAIT, Batching
from streamer.frame import Frame, Planes
from streamer.graph import Graph
from streamer.inbox import Inbox, Policy
from streamer.keys import Keys, key_policy
from streamer.metrics import Histogram
from streamer.pipeline import Pipeline
from streamer.planes import scale_rgb
from streamer.report import Rates
from streamer.settings import gather
from tests.two_graphs import SIZE, told, write_pair

BACKENDS = pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pair(tmp_path_factory.mktemp("pair"))


def read(frame: Frame) -> tuple[int, int]:
    """The light of a frame and of its key frame, as its detections in its own pixels tell."""
    return told(frame.detections.boxes * (SIZE[0] / frame.size[0]))


class PlainLoop:
    """One stream, one frame after the other, by ONNX Runtime and nothing of ours but the two files."""

    def __init__(self, pair: Path) -> None:
        between = pair.with_name(pair.name.replace(".key.", ".between."))
        self.key, self.between = (onnxruntime.InferenceSession(str(path)) for path in (pair, between))
        self.state: dict[str, np.ndarray] = {}

    def __call__(self, pixels: np.ndarray, *, key: bool) -> tuple[int, int]:
        images = (pixels.astype(np.float32) / np.float32(255)).transpose(2, 0, 1)[None]
        if key:
            boxes, _, *state = self.key.run(None, {"images": images})
            self.state = dict(zip(("level", "pair"), state, strict=True))
        else:
            boxes, *_ = self.between.run(None, {"images": images, **self.state})
        return told(boxes[0])


def expected(frames: Sequence[Frame], interval: int, phase: int, pair: Path) -> list[tuple[int, int]]:
    """What a plain loop says of a stream's frames in the order given; after a cut comes a key frame."""
    loop, found = PlainLoop(pair), []
    for number, (before, frame) in enumerate(pairwise([frames[0], *frames])):
        key = number % interval == phase or number == 0
        key = key or frame.cuts != before.cuts or frame.size != before.size
        pixels = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
        scale_rgb(frame.planes, pixels)
        found.append(loop(pixels, key=key))
    return found


def footage(stream: str, seed: int, frames: int) -> Iterator[Frame]:
    """Even pictures, each of another grey; some frames are missing, some follow a cut, some are larger."""
    rng = np.random.default_rng(seed)
    cuts, size, index = 0, 1, -1
    for light in rng.integers(0, 256, frames):
        index += 1 + int(rng.random() < 0.2)
        cuts += int(rng.random() < 0.08)
        size = 3 - size if rng.random() < 0.06 else size
        y = np.full((SIZE[1] * size, SIZE[0] * size), light, np.uint8)
        grey = np.full_like(y, 128)
        yield Frame(stream, index, index / 100, Planes(y, grey, grey, "bt601", full_range=True), cuts=cuts)


def run(model: engines.Model, sources: dict[str, list[Frame]], interval: int, policy: Policy) -> list[Frame]:
    """All frames that come out of the two stages, in order, as the pipeline joins them."""
    keys = Keys(key_policy(f"{interval},seconds=9"), model.batch)
    batching = Batching(
        max_wait=0.002 if policy == "latest" else FILE_WAIT, share=2 if policy == "latest" else 0
    )
    graph = Graph()
    submit = graph.stage("submit", shots.submit(model.video, batching, keys))
    collect = graph.stage("collect", stages.collect(Histogram(), Rates(), batching, keys))
    graph.connect(submit, collect, capacity=4)
    gate = threading.Event()

    def source(frames: list[Frame]) -> Iterator[Frame]:
        gate.wait(10)
        yield from frames

    for name, frames in sources.items():
        node = graph.source(f"decode:{name}", lambda frames=frames: source(frames))
        graph.connect(node, submit, policy=policy, capacity=2)
    out = graph.outlet("out")
    graph.connect(collect, out, capacity=1000)
    graph.start()
    gate.set()
    found = [item for item in graph.pump(out) if isinstance(item, Frame)]
    graph.wait(10)
    graph.raise_error()
    assert not graph.ledger.unbalanced()
    run.phases = {name: keys._courses[name].phase for name in sources}
    return found


def check(found: list[Frame], name: str, interval: int, pair: Path) -> list[Frame]:
    own = [frame for frame in found if frame.stream == name]
    assert [frame.index for frame in own] == sorted(frame.index for frame in own)
    said = [read(frame) for frame in own]
    assert said == expected(own, interval, run.phases[name], pair)
    return own


@BACKENDS
@pytest.mark.parametrize("interval", [2, 5])
@pytest.mark.parametrize(("streams", "batch"), [(1, 1), (1, 4), (8, 1), (8, 3)])
def test_streams_side_by_side_equal_plain_loops(pair, backend, streams, batch, interval):
    """Streams of different lengths, with gaps, cuts and changes of size; a file loses no frame."""
    sources = {
        f"s{number}": list(footage(f"s{number}", 10 * interval + number, 12 + 5 * number))
        for number in range(streams)
    }
    with engines.load(pair, engines.Options(backend=backend, precision="fp32", batch=batch)) as model:
        for _ in range(2):  # again, as another run with the states of the first
            found = run(model, sources, interval, "block")
            for name, given in sources.items():
                assert [frame.index for frame in check(found, name, interval, pair)] == [
                    frame.index for frame in given
                ]


@BACKENDS
@pytest.mark.parametrize("batch", [1, 3])
def test_frames_dropped_before_the_engine_only_lengthen_the_gap(pair, backend, batch):
    sources = {f"s{number}": list(footage(f"s{number}", number, 150)) for number in range(8)}
    with engines.load(pair, engines.Options(backend=backend, precision="fp32", batch=batch)) as model:
        found = run(model, sources, 4, "latest")
        for name in sources:
            check(found, name, 4, pair)
        assert len(found) < 8 * 150, "lanes that keep the latest lose some"


URLS = ("synthetic:?size=64x64&count=23&seed=3", "synthetic:?size=64x64&count=14&seed=9")


@pytest.mark.parametrize(("told_interval", "interval"), [(3, 3), (None, 5)])
@pytest.mark.parametrize("batch", [1, 2])
def test_the_pipeline_equals_plain_loops(pair, batch, told_interval, interval):
    settings = gather(
        URLS, str(pair), precision="fp32", batch=batch, key_interval=told_interval, track="bytetrack"
    )
    with Pipeline(settings) as pipeline:
        found = list(pipeline.frames())
        report, status = pipeline.report(), pipeline.status()
        courses = pipeline.keys._courses
        for stream in report.streams:
            own = [frame for frame in found if frame.stream == stream.name]
            said = [read(frame) for frame in own]
            assert said == expected(own, interval, courses[stream.name].phase, pair)
            assert stream.key_frames + stream.frames_between == stream.decoded == len(own)
            assert stream.key_frames == sum(frame.key_index == frame.index for frame in own)
    assert status.keys == f"every {interval} frames"
    lines = [pipeline.rates.hud(frame).rpartition("  ")[2] for frame in found[:2]]
    assert lines[0] == "key"


def test_every_frame_a_key_frame_is_the_image_model(pair):
    """With an interval of one the second graph is not even loaded."""
    with engines.load(pair, engines.Options(precision="fp32", video=False)) as model:
        for frame in streamer.stream(URLS[0], model=str(pair), precision="fp32", key_interval=1):
            pixels = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
            scale_rgb(frame.planes, pixels)
            (alone,) = model.predict([pixels])
            assert np.array_equal(frame.detections.boxes, alone.boxes)
            assert np.array_equal(frame.detections.scores, alone.scores)
            assert frame.key_index == -1


def test_skipped_frames_are_not_given_and_keep_what_was_found(pair):
    with Pipeline(gather(URLS[:1], str(pair), precision="fp32", key_interval=3, every=2)) as pipeline:
        found = list(pipeline.frames())
    given = [frame for frame in found if frame.inferred]
    assert [frame.index for frame in given] == list(range(0, 23, 2))
    said = [read(frame) for frame in given]
    assert said == expected(given, 3, 0, pair)
    for before, after in zip(found[::2], found[1::2], strict=False):
        assert read(after) == read(before)


def test_a_file_that_starts_again_begins_with_a_key_frame(pair):
    with Pipeline(
        gather(URLS[1:], str(pair), precision="fp32", key_interval=5, frames=30, loop=True)
    ) as pipeline:
        found = list(pipeline.frames())
    assert [frame.index for frame in found if frame.key_index == frame.index] == [
        0,
        5,
        10,
        14,
        15,
        20,
        25,
        28,
    ]


def test_a_removed_stream_leaves_no_state(pair):
    with Pipeline(
        gather(["synthetic:?size=64x64&count=1000000&seed=1"], str(pair), key_interval=4)
    ) as pipeline:
        frames = pipeline.frames()
        name = next(frames).stream
        reader = threading.Thread(target=lambda: list(frames))
        reader.start()
        other = pipeline.add_stream(URLS[0], "other")
        pipeline.remove_stream(name)
        assert not pipeline.model.video.knows(name)
        assert name not in pipeline.keys._courses
        reader.join(20)
        assert pipeline.model.video.knows(other)


def test_a_batch_that_nothing_fills_leaves(pair):
    """A lane that stays open and silent, as of a paused file, holds no other stream's frame."""
    with engines.load(pair, engines.Options(precision="fp32", batch=4)) as model:
        inbox: Inbox[Frame] = Inbox()
        inbox.lane("decode:silent")
        inbox.lane("decode:s", capacity=2).put(next(footage("s", 1, 1)))
        (flight,) = islice(shots.submit(model.video, Batching(), Keys(key_policy(5)))(inbox), 1)
        assert [frame.stream for frame in flight.frames] == ["s"]
        assert len(flight.batch.collect()) == 1


@pytest.mark.parametrize("every", [2, 3, 7])
def test_a_live_stream_of_which_frames_are_skipped_goes_on(pair, every):
    """Frames that are not given to the engine use up nothing of their stream's share of a batch."""
    live = "synthetic:?size=64x64&fps=200&count=30&live=1"
    settings = gather([live], str(pair), precision="fp32", key_interval=4, every=every)
    with Pipeline(settings) as pipeline:
        pipeline.start()
        assert pipeline.graph.wait(20)
        (stream,) = pipeline.report().streams
    assert stream.decoded == 30
    assert stream.results + stream.dropped.get("submit: late", 0) == 30
    assert stream.key_frames + stream.frames_between == -(-stream.results // every)


def test_a_policy_for_an_image_model_is_said_to_do_nothing():
    said: list[str] = []
    with Pipeline(gather(URLS[:1], "tiny-yolo", key_interval=3), say=said.append) as pipeline:
        assert pipeline.keys is None
    assert any("key-interval: tiny-yolo runs every frame whole" in sentence for sentence in said)
    with pytest.raises(InputError, match="key-interval: 'x'"):
        gather(URLS[:1], "tiny-yolo", key_interval="x")


SCENES = ("synthetic:?size=320x192&count=12&seed=2000003", "synthetic:?size=320x192&count=9&seed=2000011")


def test_the_shipped_model_says_in_a_pipeline_what_it_says_frame_by_frame():
    how = {"precision": "fp32", "backend": "onnxruntime", "batch": 2}
    with Pipeline(gather(SCENES, "tiny-yolactedge", key_interval=4, **how)) as pipeline:
        found = list(pipeline.frames())
    assert {frame.stream for frame in found} == {stream.name for stream in pipeline.report().streams}
    pixels = np.empty((192, 320, 3), np.uint8)
    with engines.load("tiny-yolactedge", engines.Options(**{**how, "batch": 1})) as model:
        for frame in found:
            scale_rgb(frame.planes, pixels)
            alone = model.video.predict(pixels, frame.stream, key=frame.key_index == frame.index)
            assert len(frame.detections) == len(alone)
            np.testing.assert_allclose(frame.detections.boxes, alone.boxes, atol=0.05)
            np.testing.assert_allclose(frame.detections.scores, alone.scores, atol=1e-3)
    assert sum(len(frame.detections) for frame in found) > len(found)


def test_masks_follow_their_objects_between_key_frames():
    """Of the fourth frame after a key frame at 10 frames a second, against what a key frame finds there."""
    scores = {"moved": [], "copied": []}
    with engines.load("tiny-yolactedge", engines.Options(precision="fp32", conf=0.5)) as model:
        for seed in range(2_000_000, 2_000_004):
            scene = Scene((640, 360), 10.0, seed, True)
            first, last = (np.ascontiguousarray(scene.render(index)[0]) for index in (40, 44))
            copied = model.video.predict(first, "a", key=True)
            moved = model.video.predict(last, "a", key=False)
            right = model.video.predict(last, "b", key=True)
            for name, found in (("moved", moved), ("copied", copied)):
                scores[name] += [overlap(right, row, found) for row in range(len(right))]
    assert np.mean(scores["moved"]) > 0.65
    assert np.mean(scores["moved"]) > np.mean(scores["copied"]) + 0.3


def overlap(right: engines.Detections, row: int, found: engines.Detections) -> float:
    """The best IoU of one mask with those of its class."""
    mine = whole(right, row)
    others = [whole(found, other) for other in np.flatnonzero(found.classes == right.classes[row])]
    return max((float((mine & other).sum() / max((mine | other).sum(), 1)) for other in others), default=0.0)


def whole(found: engines.Detections, row: int) -> np.ndarray:
    left, top, pixels = bitmap(found.masks, row, found.boxes[row], (640, 360))
    mask = np.zeros((360, 640), bool)
    mask[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return mask


def test_metrics_and_page_count_key_frames(pair):
    pytest.importorskip("prometheus_client")
    from streamer.web.figures import figures
    from streamer.web.prometheus import Figures

    notes = type("Notes", (), {"dropped": 0, "__len__": lambda self: 0})()
    shows = SimpleNamespace(all=dict, notes=notes)
    with Pipeline(gather(URLS[:1], str(pair), key_interval=4)) as pipeline:
        pipeline.run()
        (inferred,) = [
            metric for metric in Figures(pipeline, shows)._streams() if metric.name == "streamer_video_frames"
        ]
        counts = {sample.labels["kind"]: sample.value for sample in inferred.samples}
        assert counts == {"key": 6, "between": 17}
        (stream,) = pipeline.status().streams
        assert (stream.key_frames, stream.frames_between) == (6, 17)
        shows.notes = ()
        shows.notes = type("Notes", (), {"dropped": 0, "__len__": lambda self: 0})()
        assert figures(pipeline, shows)["engine"]["keys"] == "every 4 frames"

"""Pipeline: order, batches, limits and faults, with a model whose answers are known."""

import atexit
import json
import subprocess
import sys
import threading
from collections import Counter, deque
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from engines.detections import Detections
from engines.errors import InputError, WorkError
from engines.spec import ModelSpec
from streamer import stages
from streamer.batching import FILE_WAIT, LIVE_WAIT, SHARE, Batching
from streamer.frame import Frame, Planes
from streamer.graph import Node
from streamer.inbox import Aborted, Inbox
from streamer.pipeline import Pipeline
from streamer.runner import summary
from streamer.settings import SinkSettings, gather, merge
from streamer.sinks import Closed
from streamer.sources import open_source

SPEC = ModelSpec("grey", "detect", "dense", ("thing",), (128, 72))


class GreyModel:
    """Gives one detection a picture, its score the mean grey of what the engine was shown."""

    def __init__(self, batch: int = 1, requests: int = 2) -> None:
        self.spec, self.batch = SPEC, batch
        self.engine = SimpleNamespace(requests=(None,) * requests)
        self.free = threading.Semaphore(requests)
        self.sizes: deque[int] = deque()
        self.closed = False
        self.invalid = 0  # candidates dropped

    def acquire(self, timeout: float | None = None) -> "GreyBatch | None":
        return GreyBatch(self) if self.free.acquire(timeout=timeout) else None

    def close(self) -> None:
        self.closed = True


class GreyBatch:
    def __init__(self, model: GreyModel) -> None:
        self.model, self.views = model, []

    def add(self, size: tuple[int, int]) -> np.ndarray:
        self.views.append(np.zeros((72, 128, 3), np.uint8))
        return self.views[-1]

    def submit(self) -> None:
        self.model.sizes.append(len(self.views))

    def collect(self) -> list[Detections]:
        self.model.free.release()
        return [Detections.of([[0, 0, 9, 9]], [view.mean() / 255], [0]) for view in self.views]

    def release(self) -> None:
        self.model.free.release()


def synthetic(count: int, seed: int = 0) -> str:
    return f"synthetic:?size=128x72&fps=25&count={count}&seed={seed}"


def records(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def process(*urls: str, model: GreyModel, sinks=(), **how):
    with Pipeline(gather(urls, "grey", sinks, **how), model=model) as pipeline:
        report = pipeline.run()
    assert report.unbalanced == ()
    return report


def test_a_model_that_was_given_is_whole_after_a_run_that_failed(tmp_path, monkeypatch):
    model = GreyModel(requests=3)

    class Full:
        def write(self, frame: Frame) -> None:
            while model.free._value:  # until all that may wait does, in the engine too
                threading.Event().wait(0.001)
            raise OSError("disk full")

        def close(self) -> None:
            pass

    monkeypatch.setattr("streamer.outputs.open_sink", lambda url, **how: Full())
    with pytest.raises(WorkError, match="disk full"):
        process(synthetic(200), model=model, sinks=[str(tmp_path / "a.jsonl")])
    assert model.free._value == 3


def test_the_first_frame_after_a_cut_is_inferred_whichever_number_it_has():
    batching, shown = Batching(), next(iter(open_source(synthetic(1))))
    batching.every["cam"] = 3
    frames = [replace(shown, stream="cam", index=index, cuts=int(index >= 5)) for index in range(10)]
    assert [frame.index for frame in frames if batching.is_due(frame)] == [0, 3, 5, 8]


def test_a_pipeline_that_has_not_begun_has_run_for_no_time():
    with Pipeline(gather([synthetic(1)], "grey"), model=GreyModel()) as pipeline:
        assert pipeline.status().seconds == pipeline.report().seconds == 0.0


def test_a_batch_that_was_being_filled_is_given_back_when_all_ends():
    model, inbox = GreyModel(batch=4, requests=1), Inbox[Frame]()
    lane, take = inbox.lane("a"), inbox.take
    lane.put(next(iter(open_source(synthetic(1)))))

    def ending(most: int, **how: Any) -> list[Frame]:
        if not model.free._value:
            inbox.abort()
        return take(most, **how)

    inbox.take = ending  # type: ignore[method-assign]
    with pytest.raises(Aborted):
        next(stages.submit(model, Batching())(inbox))
    assert model.free._value == 1


@pytest.mark.parametrize("batch", [1, 2, 3, 7])
def test_every_frame_gets_its_own_detections_whatever_the_batch(tmp_path, batch):
    alone, together = tmp_path / "alone.jsonl", tmp_path / "together.jsonl"
    process(synthetic(20), model=GreyModel(), sinks=[str(alone)])
    process(synthetic(20), model=GreyModel(batch), sinks=[str(together)])
    assert [record["index"] for record in records(together)] == list(range(20))
    assert records(together) == records(alone)


def test_two_sources_share_a_batch_and_equal_their_single_runs(tmp_path):
    model = GreyModel(batch=4)
    process(
        synthetic(15, seed=1), synthetic(10, seed=2), model=model, sinks=[str(tmp_path / "{stream}.jsonl")]
    )
    both = {path.stem: records(path) for path in tmp_path.glob("*.jsonl")}
    assert sorted(len(rows) for rows in both.values()) == [10, 15]
    assert max(model.sizes) == 4
    for seed, count in ((1, 15), (2, 10)):
        alone = tmp_path / "alone.jsonl"
        process(synthetic(count, seed=seed), model=GreyModel(), sinks=[str(alone)])
        expected = [row["detections"] for row in records(alone)]
        assert expected in [[row["detections"] for row in rows] for rows in both.values()]


@pytest.mark.parametrize("batch", [1, 3])
def test_every_third_frame_is_inferred_and_those_between_keep_its_detections(batch):
    model = GreyModel(batch)
    with Pipeline(gather([synthetic(10)], "grey", every=3), model=model) as pipeline:
        frames = list(pipeline.frames())
    assert [frame.index for frame in frames if frame.inferred] == [0, 3, 6, 9]
    assert [frame.index for frame in frames] == list(range(10))
    scores = [float(frame.detections.scores[0]) for frame in frames]
    for index, score in enumerate(scores):
        assert score == scores[index - index % 3]


def test_leaving_the_loop_ends_the_run_and_leaves_no_thread():
    with Pipeline(gather([synthetic(0)], "grey"), model=GreyModel()) as pipeline:
        for frame in pipeline.frames():
            if frame.index == 5:
                break
        assert pipeline.graph.wait(5)
    assert pipeline.report().unbalanced == ()
    assert_no_thread_of(pipeline)


@pytest.mark.timeout(30)
def test_an_error_thrown_into_the_loop_ends_the_run():
    with Pipeline(gather([synthetic(0)], "grey"), model=GreyModel()) as pipeline:
        frames = pipeline.frames()
        next(frames)
        with pytest.raises(KeyError, match="mine"):
            frames.throw(KeyError("mine"))
        assert pipeline.graph.wait(0)


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "again", [Pipeline.run, lambda pipeline: list(pipeline.frames())], ids=["run", "loop"]
)
def test_a_pipeline_runs_once(again):
    with Pipeline(gather([synthetic(2)], "grey"), model=GreyModel()) as pipeline:
        pipeline.run()
        with pytest.raises(WorkError, match="has ended, open another"):
            again(pipeline)
    with pytest.raises(WorkError, match="has ended, open another"):
        again(pipeline)


@pytest.mark.parametrize(
    ("given", "model", "sentence"),
    [
        ("a.mp4", None, "settings: str, streamer.gather(sources, model, ...) is right"),
        (gather("a.mp4", "grey"), "grey", "model: 'grey' is a name, engines.load('grey') is right here"),
    ],
    ids=["a source", "a model's name"],
)
def test_what_a_pipeline_is_made_of_is_told_from_names(given, model, sentence):
    with pytest.raises(InputError) as caught:
        Pipeline(given, model=model)
    assert str(caught.value) == sentence


def test_one_loop_takes_the_frames():
    with Pipeline(gather([synthetic(0)], "grey"), model=GreyModel()) as pipeline:
        frames = pipeline.frames()
        next(frames)
        with pytest.raises(InputError, match="another loop takes them"):
            next(pipeline.frames())
        frames.close()


def test_a_loop_that_is_never_left_ends_with_the_process_and_its_files_are_whole(tmp_path):
    path = tmp_path / "a.mp4"
    script = f"""
import streamer
frames = streamer.stream("synthetic:?size=128x72", model="tiny-yolo", sinks=[{str(path)!r}])
for _ in range(4):
    next(frames)
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=120).returncode == 0
    assert cv2.VideoCapture(str(path)).read()[0]


def test_a_forked_child_that_ends_leaves_the_pipeline_alone(monkeypatch):
    leave = []
    monkeypatch.setattr(atexit, "register", lambda *call: leave.append(call))
    with Pipeline(gather([synthetic(0)], "grey"), model=GreyModel()) as pipeline:
        pipeline.start()
        ((function, process),) = leave
        function(process + 1)
        assert not pipeline.stopped
        function(process)
        assert pipeline.graph.wait(0)


def test_stop_finishes_what_is_under_way(tmp_path):
    path = tmp_path / "a.jsonl"
    with Pipeline(gather([synthetic(0)], "grey", [str(path)]), model=GreyModel()) as pipeline:
        pipeline.start()
        while pipeline.report().results < 20:
            threading.Event().wait(0.005)
        pipeline.stop()
        pipeline.join()
        report = pipeline.report()
    rows = records(path)
    assert [row["index"] for row in rows] == list(range(len(rows)))
    assert len(rows) == report.results >= 20
    assert report.unbalanced == ()


def spoil(pipeline: Pipeline, stage: str) -> Node:
    """Let a stage of this kind raise at its eighth item; return its node."""
    node = next(node for name, node in pipeline.graph.nodes.items() if name.split(":")[0] == stage)
    whole = node.stage

    def failing(inbox: Inbox):
        for count, item in enumerate(whole(inbox)):
            if count == 7:
                raise ArithmeticError("on purpose")
            yield item

    node.stage = failing
    return node


@pytest.mark.parametrize("stage", ["decode", "submit", "collect", "draw", "write"])
def test_an_exception_in_any_stage_ends_the_run_with_its_name(tmp_path, stage):
    settings = gather([synthetic(0)], "grey", [str(tmp_path / "a.mp4"), str(tmp_path / "a.jsonl")])
    with Pipeline(settings, model=GreyModel()) as pipeline:
        node = spoil(pipeline, stage)
        with pytest.raises(WorkError, match=f"^{node.name}: ArithmeticError: on purpose"):
            pipeline.run()
        assert pipeline.report().unbalanced == ()
    assert_no_thread_of(pipeline)
    for line in (tmp_path / "a.jsonl").read_text().splitlines():
        json.loads(line)


def test_a_failing_stage_ends_the_run_though_a_live_source_gives_nothing():
    settings = gather([synthetic(0), "rtsp://127.0.0.1:1/silent"], "grey")
    with Pipeline(settings, model=GreyModel()) as pipeline:
        spoil(pipeline, "collect")
        pipeline.start()
        assert pipeline.graph.wait(10)
        with pytest.raises(WorkError, match=r"^collect: ArithmeticError: on purpose"):
            pipeline.join()
        assert pipeline.report().unbalanced == ()


@pytest.mark.parametrize(
    ("sinks", "message"),
    [
        (["a.mp4", "./a.mp4"], "2 sinks write to it"),
        (["a.jsonl", "a.jsonl"], "2 sinks write to it"),
        (["null:", "a.xyz"], "xyz"),
    ],
    ids=["one video twice", "one record file twice", "unknown suffix"],
)
def test_sinks_that_cannot_be_are_refused_before_anything_opens(sinks, message):
    with pytest.raises(InputError, match=message):
        gather([synthetic(1)], "grey", sinks)


def test_several_sources_into_one_video_are_refused_with_the_right_name():
    with pytest.raises(InputError, match=r"put \{stream\} into its name: a-\{stream\}.mp4"):
        gather([synthetic(1), synthetic(1)], "grey", ["a.mp4"])


def test_a_sink_of_an_unknown_stream_is_refused():
    settings = gather([synthetic(1)], "grey")
    settings = type(settings)(settings.sources, "grey", settings.options, (SinkSettings("null:", ("dor",)),))
    with pytest.raises(InputError, match="no stream 'dor'"):
        Pipeline(settings, model=GreyModel())


@pytest.mark.parametrize(
    ("told", "names"),
    [
        (["cam", "cam", "cam"], ["cam", "cam-2", "cam-3"]),
        (["cam", "cam", "cam-2"], ["cam", "cam-3", "cam-2"]),
        (["cam-2", "cam", "cam"], ["cam-2", "cam", "cam-3"]),
    ],
)
def test_sources_of_one_name_get_their_own_stream(told, names):
    settings = gather([synthetic(1)], "grey")
    named = tuple(replace(settings.sources[0], name=name) for name in told)
    with Pipeline(replace(settings, sources=named), model=GreyModel()) as pipeline:
        assert [source.name for source in pipeline.sources] == names


def test_all_frames_of_a_renamed_file_carry_its_new_name(tmp_path):
    """Its first picture is decoded on opening, when it still has the name of another."""
    for place in "ab":
        (tmp_path / place / "yard").mkdir(parents=True)
        for number in range(3):
            cv2.imwrite(f"{tmp_path}/{place}/yard/{number}.png", np.zeros((72, 128, 3), np.uint8))
    urls = [f"{tmp_path}/{place}/yard" for place in "ab"]
    with Pipeline(gather(urls, "grey"), model=GreyModel()) as pipeline:
        seen = Counter(frame.stream for frame in pipeline.frames())
        assert pipeline.report().unbalanced == ()
    assert seen == {"yard": 3, "yard-2": 3}


def test_a_partial_batch_leaves_at_its_deadline():
    model = GreyModel(batch=8)
    inbox: Inbox = Inbox()
    lane = inbox.lane("camera")
    with Pipeline(gather([synthetic(1)], "grey"), model=GreyModel()) as pipeline:
        (frame,) = pipeline.frames()
    lane.put(frame)
    flight = next(stages.submit(model, Batching(max_wait=0.01))(inbox))
    assert (len(flight.frames), list(model.sizes)) == (1, [1])


def test_a_stream_takes_no_more_than_its_share_of_a_batch_that_waits_for_others():
    inbox, picture = Inbox(), Planes(np.zeros((72, 128), np.uint8), *[np.zeros((36, 64), np.uint8)] * 2)
    lane = inbox.lane("camera")
    for number in range(4):
        lane.put(Frame("camera", number, number / 25, picture))
    submit = stages.submit(GreyModel(batch=4), Batching(max_wait=0.01, share=1))
    assert [frame.index for frame in next(submit(inbox)).frames] == [0]


@pytest.mark.parametrize(
    ("others", "how", "knobs"),
    [
        ([], {}, (FILE_WAIT, 0)),
        ([], {"realtime": True}, (LIVE_WAIT, 0)),
        ([synthetic(1) + "&live=1"], {}, (LIVE_WAIT, SHARE)),
    ],
    ids=["a file", "a file at its own pace", "a camera beside it"],
)
def test_a_batch_waits_as_long_as_its_streams_can(others, how, knobs):
    with Pipeline(gather([synthetic(1), *others], "grey", **how), model=GreyModel()) as pipeline:
        assert (pipeline.batching.max_wait, pipeline.batching.share) == knobs


def test_a_sink_that_wants_no_more_ends_its_stage_in_peace_and_the_frame_is_counted():
    said: list[str] = []

    class Shut:
        def write(self, frame: Frame) -> None:
            raise Closed

        def close(self) -> None:
            said.append("closed")

    inbox: Inbox[Frame] = Inbox(lambda frame, reason: said.append(f"{frame.index} {reason}"))
    inbox.lane("camera").put(next(iter(open_source(synthetic(1)))))
    assert list(stages.write(Shut, lambda: said.append("told"))(inbox)) == []
    assert said == ["0 closed", "told", "closed"]


def test_who_waits_for_the_engine_does_not_outstay_the_end():
    class Busy(GreyModel):
        def acquire(self, timeout: float | None = None) -> None:
            assert not inbox.is_deserted
            inbox.abort()

    inbox: Inbox[Frame] = Inbox()
    inbox.lane("camera").put(next(iter(open_source(synthetic(1)))))
    with pytest.raises(Aborted):
        next(stages.submit(Busy(), Batching())(inbox))


def test_many_streams_together_store_no_more_than_a_few():
    with Pipeline(gather([synthetic(1)] * 3, "grey"), model=GreyModel()) as pipeline:
        edges = [edge for stream in pipeline.streams.values() for edge in stream.decoder.edges]
        assert [edge.lane._capacity for edge in edges] == [6, 6, 6]


@pytest.mark.timeout(30)
def test_a_sink_to_look_at_is_served_while_nothing_comes():
    inbox: Inbox[Frame] = Inbox()
    lane, polls = inbox.lane("camera"), []

    class Shown:
        def write(self, frame: Frame) -> None:
            pass

        def poll(self) -> None:
            polls.append(len(polls))
            if len(polls) == 2:
                lane.close()

        def close(self) -> None:
            pass

    lane.put(next(iter(open_source(synthetic(1)))))
    assert len(list(stages.write(Shown, lambda: None)(inbox))) == 1
    assert len(polls) == 2


def test_frames_that_are_not_inferred_wait_in_a_batch_up_to_so_many_pixels():
    batching, inbox = Batching(), Inbox()
    batching.every["film"] = 10**6
    lane = inbox.lane("film", capacity=64)
    planes = Planes(np.zeros((1080, 1920), np.uint8), *[np.zeros((540, 960), np.uint8)] * 2)
    for number in range(64):
        lane.put(Frame("film", number, number / 25, planes))
    flight = next(stages.submit(GreyModel(batch=4), batching)(inbox))
    assert (flight.rows[0], set(flight.rows[1:])) == (0, {-1})
    assert 4 < len(flight.frames) <= 12


def assert_no_thread_of(pipeline: Pipeline) -> None:
    names = set(pipeline.graph.nodes)
    for thread in threading.enumerate():
        if thread.name in names:
            thread.join(5)
            assert not thread.is_alive(), thread.name


def test_candidates_that_were_no_numbers_are_told_at_the_end(capsys):
    model = GreyModel()
    model.invalid = 5  # of an earlier use
    with Pipeline(gather([synthetic(3)], "grey"), model=model) as pipeline:
        assert pipeline.status().invalid == 0
        model.invalid += 7
        assert pipeline.run().invalid == 7
        assert pipeline.status().invalid == 7
        summary(pipeline)
    assert "7 candidates of the engine were dropped: they were not finite numbers" in capsys.readouterr().err


def test_a_model_that_detects_nothing_is_refused_before_anything_runs():
    model = GreyModel()
    model.spec = replace(SPEC, task="embed", classes=())
    with pytest.raises(InputError, match="model: grey: it gives embeddings, one that detects is needed"):
        Pipeline(gather([synthetic(3)], "grey"), model=model)
    assert not model.closed, "it was given, and is left open"


@pytest.mark.parametrize(
    ("sources", "sinks", "how", "batch"),
    [
        (["a.mp4", "file:b.mkv"], ["x.jsonl", "{stream}.mp4"], {}, 0),
        (["synthetic:"], [], {}, 0),
        (["synthetic:?live=0"], [], {}, 0),
        (["synthetic:?fps=9&live=1"], [], {}, 1),
        (["lavfi:testsrc,realtime"], [], {}, 1),
        (["a.mp4"], [], {"every": 2}, 1),
        (["record:a.mp4"], [], {}, 0),
        (["a.mp4", "b.mp4"], [], {"batch": 3}, 3),
        (["a.mp4"], [], {"realtime": True}, 1),
        (["a.mp4"], [], {"latency": 0.1}, 1),
        (["a.mp4"], ["window:"], {}, 1),
        (["a.mp4"], ["http://127.0.0.1:8080"], {}, 1),
        (["a.mp4"], ["rtsp://127.0.0.1:8554/a"], {}, 1),
        (["a.mp4", "rtsp://camera/1"], ["{stream}.mp4"], {}, 1),
        (["0"], [], {}, 1),
        (["pictures/*.jpg"], [], {}, 1),
    ],
)
def test_frames_share_a_batch_unasked_where_nobody_waits_for_each(sources, sinks, how, batch):
    assert gather(sources, "m.onnx", sinks, **how).for_engine.batch == batch


def test_one_source_that_keeps_time_keeps_all_from_waiting_for_a_batch(tmp_path):
    path = tmp_path / "street.yaml"
    path.write_text("model: {path: m.onnx}\nsources:\n  a: a.mp4\n  b: {url: b.mp4, realtime: true}\n")
    assert merge([], "", [], path, {}).for_engine.batch == 1
    path.write_text("model: {path: m.onnx}\nsources: {a: a.mp4, b: b.mp4}\n")
    assert merge([], "", [], path, {}).for_engine.batch == 0


def test_python_says_it_as_it_likes(tmp_path):
    told = gather(Path("a.mp4"), Path("m.onnx"), tmp_path / "a.jsonl", classes=[0, "car"])
    assert told.sources == gather(["a.mp4"], "m.onnx").sources
    assert (told.model, told.sinks[0].url) == ("m.onnx", str(tmp_path / "a.jsonl"))
    assert told.options.classes == ("0", "car")
    assert gather("a.mp4", "m.onnx", classes="person, car").options.classes == ("person", "car")
    assert gather((url for url in ("a.mp4", "b.mp4")), "m.onnx").sources[1].url == "b.mp4"
    with pytest.raises(InputError, match=r"frames: 2\.5, a whole number would be right"):
        gather("a.mp4", "m.onnx", frames=2.5)

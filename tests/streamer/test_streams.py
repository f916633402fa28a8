"""Streams that come, go and pause while a pipeline runs, by Python and by an edited file."""

from __future__ import annotations

import gc
import os
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import av
import pytest

import streamer.member
from engines.errors import InputError, WorkError
from streamer.analytics.plan import Plan, ZonePlan
from streamer.follow import Follower
from streamer.frame import Frame
from streamer.pipeline import Pipeline, run
from streamer.report import report
from streamer.settings import Settings, SinkSettings, gather, merge
from streamer.sinks.video import VideoSink
from streamer.sources.synthetic import Synthetic
from streamer.stateful import Stateful
from streamer.watch import Watch
from tests.servers.website import free_port

from .test_pipeline import GreyModel, records
from .test_tracking import Walker

LIVE = "synthetic:?size=128x72&fps=100&count=0&live=1"


def until(true: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for something that must come."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        threading.Event().wait(0.005)


@pytest.fixture
def pipeline(tmp_path):
    settings = gather([LIVE], "grey", [str(tmp_path / "{stream}.jsonl"), str(tmp_path / "all.jsonl")])
    with Pipeline(settings, model=GreyModel(batch=2)) as pipeline:
        pipeline.start()
        yield pipeline
        pipeline.stop()
        pipeline.join()
        assert pipeline.report().unbalanced == ()


def results(pipeline: Pipeline, name: str) -> int:
    return pipeline.graph.ledger.tally("collect", name).out


def test_a_stream_added_reaches_the_sinks_and_one_removed_leaves_whole_files(pipeline, tmp_path):
    name = pipeline.add_stream(LIVE + "&seed=1", "yard")
    assert name == "yard"
    until(lambda: results(pipeline, "yard") > 5)
    pipeline.remove_stream("yard")
    written = records(tmp_path / "yard.jsonl")
    assert len(written) > 5
    assert [row["index"] for row in written] == sorted(row["index"] for row in written)
    assert [stream.name for stream in pipeline.status().streams] == ["synthetic"]
    before = results(pipeline, "synthetic")
    until(lambda: results(pipeline, "synthetic") > before + 5)


def test_fifty_streams_come_and_go_without_a_trace(pipeline):
    until(lambda: results(pipeline, "synthetic"))

    def footprint() -> tuple[int, int, int, int]:
        gc.collect()
        lanes = sum(len(node.inbox._lanes) for node in pipeline.graph.nodes.values())
        return threading.active_count(), len(os.listdir("/proc/self/fd")), len(pipeline.graph.nodes), lanes

    pipeline.add_stream(LIVE, "yard")
    pipeline.remove_stream("yard")
    before = footprint()
    for _ in range(50):
        pipeline.add_stream(LIVE, "yard")
        pipeline.remove_stream("yard")
    until(lambda: all(now <= then for now, then in zip(footprint(), before, strict=True)))


def kept(pipeline: Pipeline) -> list[set[str]]:
    """Return the streams of which something is kept, for each that keeps."""
    stages = [node.stage for node in pipeline.graph.nodes.values() if isinstance(node.stage, Stateful)]
    batching = pipeline.batching
    return [set(held) for held in (batching.every, batching._ages, *(stage.states for stage in stages))]


def test_a_stream_inherits_nothing_from_one_of_its_name(tmp_path):
    path = tmp_path / "all.jsonl"
    yard = ZonePlan("all", ((0, 0), (1, 0), (1, 1), (0, 1)), streams=("yard",))
    how = {"track": "sort", "hide": "fill", "analytics": Plan(zones=(yard,))}
    with Pipeline(gather([LIVE], "walker", [str(path)], **how), model=Walker(0.0)) as pipeline:
        pipeline.start()
        until(lambda: results(pipeline, "synthetic") > 5)

        def events() -> list[dict]:
            return [row for row in records(path) if "event" in row]

        for count in range(1, 6):
            pipeline.add_stream(LIVE, "yard", every=3)
            until(lambda count=count: len(events()) >= count)
            pipeline.remove_stream("yard")
            assert kept(pipeline) == [{"synthetic"}] * 6
        pipeline.stop()
        pipeline.join()
    assert [(event["what"], event["id"], event["count"]) for event in events()] == [("in", 1, 1)] * 5


def test_status_may_be_asked_while_streams_come_and_go(pipeline):
    until(lambda: results(pipeline, "synthetic"))
    seen, over = set(), threading.Event()

    def look() -> None:
        while not over.is_set():
            seen.update(stream.name for stream in pipeline.status().streams)
            pipeline.graph.dot()
            pipeline.graph.ledger.lost()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    with ThreadPoolExecutor(2) as lookers:
        looks = [lookers.submit(look) for _ in range(2)]
        try:
            for _ in range(20):
                pipeline.add_stream(LIVE, "yard")
                pipeline.remove_stream("yard")
        finally:
            sys.setswitchinterval(interval)
            over.set()
    for looked in looks:
        looked.result()
    assert seen == {"synthetic", "yard"}


def test_status_counts_only_the_streams_it_began_with(pipeline, monkeypatch):
    def report_and_more(pipeline, names):
        pipeline.add_stream(LIVE, "late")
        return report(pipeline, names)

    monkeypatch.setattr(streamer.member, "report", report_and_more)
    assert [stream.name for stream in pipeline.status().streams] == ["synthetic"]


def test_a_paused_stream_gives_nothing_and_goes_on(pipeline):
    until(lambda: results(pipeline, "synthetic") > 3)
    pipeline.pause("synthetic")
    paused = pipeline.graph.ledger.tally("decode:synthetic", "synthetic").dropped
    until(lambda: paused["paused"] > 3)
    assert pipeline.status().streams[0].state == "paused"
    before = results(pipeline, "synthetic")
    until(lambda: paused["paused"] > 9)
    assert results(pipeline, "synthetic") <= before + 3
    pipeline.pause("synthetic", False)
    until(lambda: results(pipeline, "synthetic") > before + 10)


def test_mistakes_are_refused_and_change_nothing(pipeline):
    with pytest.raises(InputError, match="there is one already"):
        pipeline.add_stream(LIVE, "synthetic")
    with pytest.raises(InputError, match="did you mean 'synthetic'"):
        pipeline.remove_stream("synthetc")
    with pytest.raises(InputError, match="no such file"):
        pipeline.add_stream("nowhere.mp4")
    with pytest.raises(InputError, match="every: 0, 1 or more"):
        pipeline.add_stream(LIVE, "yard", every=0)
    with pytest.raises(InputError, match="source: NoneType, a path or URL"):
        pipeline.add_stream(None)
    assert [stream.name for stream in pipeline.status().streams] == ["synthetic"]


def test_a_stream_whose_files_another_writes_is_refused_and_let_go(pipeline, monkeypatch):
    pipeline.add_stream(LIVE, "front door")
    closed = []
    monkeypatch.setattr(Synthetic, "close", lambda source: closed.append(source.name))
    with pytest.raises(InputError, match="'front door' and 'front_door' would both write"):
        pipeline.add_stream(LIVE, "front_door")
    assert "front_door" not in pipeline.streams
    until(lambda: closed == ["front_door"])


def test_a_pipe_that_nobody_writes_to_holds_up_no_further_change(pipeline, tmp_path, monkeypatch):
    monkeypatch.setattr("streamer.roster._OPENING", 0.2)
    os.mkfifo(tmp_path / "p")
    with pytest.raises(InputError, match=r"/p: does not open, is it a pipe that nobody writes to\?"):
        pipeline.add_stream(str(tmp_path / "p"))
    assert pipeline.add_stream(LIVE, "yard") == "yard"


def test_a_source_that_is_still_being_read_is_not_closed_under_its_reader(monkeypatch):
    held, closed = threading.Event(), []
    monkeypatch.setattr("streamer.pipeline._PATIENCE", 0.05)

    class Hung(Synthetic):
        def __iter__(self) -> Iterator[Frame]:
            held.wait(10)
            return super().__iter__()

        def close(self) -> None:
            closed.append(threading.current_thread().name)

    monkeypatch.setattr("streamer.sources.synthetic.Synthetic", Hung)
    with Pipeline(gather(["synthetic:?size=128x72"], "grey"), model=GreyModel()) as pipeline:
        pipeline.start()
    assert closed == []
    held.set()
    assert pipeline.graph.wait(10)
    assert closed == ["decode:synthetic"]


def test_a_sink_of_one_stream_is_opened_again_with_it(tmp_path):
    settings = gather([LIVE, LIVE], "grey")
    one, other = (replace(told, name=name) for told, name in zip(settings.sources, "ab", strict=True))
    sinks = (SinkSettings(str(tmp_path / "all.jsonl"), ("a",)),)
    with Pipeline(replace(settings, sources=(one, other), sinks=sinks), model=GreyModel(batch=2)) as pipeline:
        pipeline.start()
        until(lambda: results(pipeline, "a"))
        first = pipeline.outputs.shared[sinks[0].url]
        pipeline.remove_stream("a")
        first.thread.join(10)
        pipeline.attach(one)
        until(lambda: (tmp_path / "all-2.jsonl").exists())
        pipeline.stop()
        pipeline.join()
        assert not [reason for reason in pipeline.report().lost if "ended" in reason]
        assert pipeline.report().unbalanced == ()


def test_a_stream_that_comes_at_the_very_end_ends_with_the_others(pipeline, monkeypatch):
    add = pipeline._roster.add

    def stop_first(*what: object) -> None:
        pipeline.stop()
        add(*what)

    monkeypatch.setattr(pipeline._roster, "add", stop_first)
    pipeline.add_stream(LIVE, "yard")
    assert pipeline.graph.wait(10)


def test_a_stream_that_does_not_open_holds_up_no_end(pipeline, tmp_path):
    os.mkfifo(tmp_path / "p")
    with ThreadPoolExecutor() as pool:
        adding = pool.submit(pipeline.add_stream, str(tmp_path / "p"))
        until(lambda: any(thread.name == "read:p" for thread in threading.enumerate()))
        pipeline.stop()
        assert isinstance(adding.exception(timeout=5), InputError)


def test_a_pipeline_that_has_ended_takes_no_stream():
    with Pipeline(gather([LIVE], "grey"), model=GreyModel()) as pipeline:
        pipeline.start()
        pipeline.stop()
        pipeline.join()
        with pytest.raises(WorkError, match="has ended"):
            pipeline.add_stream(LIVE, "yard")


def test_status_shows_no_secret(pipeline):
    name = pipeline.add_stream("rtsp://me:hush@127.0.0.1:1/yard?token=hush")
    until(lambda: "refused" in {s.name: s for s in pipeline.status().streams}[name].reason)
    (stream,) = [stream for stream in pipeline.status().streams if stream.name == name]
    assert stream.state in ("waiting", "connecting")
    assert stream.attempts >= 1
    assert "hush" not in str(pipeline.status())
    began = time.monotonic()
    pipeline.remove_stream(name)
    assert time.monotonic() - began < 2


def test_a_changed_stream_keeps_what_it_has_recorded(tmp_path):
    said: list[str] = []
    settings = gather([LIVE], "grey", [f"{tmp_path}/{{stream}}.jsonl", f"{tmp_path}/film.mkv"])
    rows, pictures = [], []
    with Pipeline(settings, model=GreyModel(), say=said.append) as pipeline:
        tallies = [
            pipeline.graph.ledger.tally(name, "synthetic")
            for name in pipeline.graph.nodes
            if name.startswith("write:")
        ]
        pipeline.start()
        for end in ("", "-2", "-3"):
            if end:
                told = replace(settings.sources[0], name="synthetic", url=f"{LIVE}&seed={len(rows)}")
                pipeline.change_stream(told)
            rows.append(tmp_path / f"synthetic{end}.jsonl")
            pictures.append(tmp_path / f"film{end}.mkv")
            until(lambda: rows[-1].exists() and pictures[-1].exists())
        pipeline.stop()
        pipeline.join()
    written = [sum(len(records(path)) for path in rows), sum(count_pictures(path) for path in pictures)]
    assert written == [tally.out for tally in tallies]
    assert len(list(tmp_path.iterdir())) == 6
    assert sum("-2." in sentence for sentence in said) == 2


def count_pictures(path: Path) -> int:
    with av.open(path) as container:
        return sum(1 for _ in container.decode(video=0))


def test_a_slow_caller_gets_the_latest_frames_of_a_live_source():
    with Pipeline(gather([LIVE], "grey"), model=GreyModel()) as pipeline:
        frames = pipeline.frames()
        assert next(frames).index < 10
        until(lambda: results(pipeline, "synthetic") > 50)
        assert next(frames).index > 40
        frames.close()
        report = pipeline.report()
    assert report.streams[0].dropped["frames: late"] > 30
    assert report.unbalanced == ()


def test_a_slow_caller_gets_all_frames_of_a_file():
    with Pipeline(
        gather([LIVE.replace("count=0&live=1", "count=40")], "grey"), model=GreyModel()
    ) as pipeline:
        frames = pipeline.frames()
        seen = [next(frames).index]
        until(lambda: results(pipeline, "synthetic") > 4)
        seen += [frame.index for frame in frames]
        assert pipeline.report().lost.total() == 0
    assert seen == list(range(40))


def test_a_caller_of_frames_goes_on_when_the_only_stream_changes():
    with Pipeline(gather([LIVE], "grey"), model=GreyModel()) as pipeline:
        frames = pipeline.frames()
        name = next(frames).stream
        other = replace(pipeline.settings.sources[0], url=LIVE.replace("128x72", "96x64"), name=name)
        pipeline.change_stream(other)
        assert any(frame.size == (96, 64) for frame in frames)
        frames.close()
        assert pipeline.report().unbalanced == ()


class File:
    """A pipeline file and a pipeline that follows it, looked at by hand."""

    def __init__(self, tmp_path: Path, sink: str = "null:") -> None:
        self.path = tmp_path / "cams.yaml"
        self.sink = sink
        self.said: list[str] = []
        self.write(f"a: {LIVE}")
        self.pipeline = Pipeline(self.read(), model=GreyModel())
        self.follower = Follower(self.path, self.pipeline, self.read, self.said.append)

    def read(self) -> Settings:
        return merge([], "grey", [], self.path, {})

    def write(self, *sources: str, rest: str = "") -> None:
        lines = "".join(f"  {line}\n" for line in sources)
        self.path.write_text(f"sources:\n{lines}sinks: ['{self.sink}']\n{rest}")
        os.utime(self.path, ns=(self.path.stat().st_atime_ns, time.monotonic_ns()))

    def look(self) -> list[str]:
        self.said.clear()
        self.follower.look()
        return [line.removeprefix(f"{self.path}: ") for line in self.said]


@contextmanager
def followed(file: File) -> Iterator[File]:
    with file.pipeline as pipeline:
        pipeline.start()
        yield file
        pipeline.stop()
        pipeline.join()
        assert pipeline.report().unbalanced == ()


@pytest.fixture
def file(tmp_path):
    with followed(File(tmp_path)) as file:
        yield file


def test_cameras_of_an_edited_file_come_change_and_go(file):
    assert file.look() == []
    file.write(f"a: {LIVE}", f"b: {{url: '{LIVE}', every: 2}}")
    assert file.look() == ["b: added"]
    assert file.look() == []
    until(lambda: results(file.pipeline, "b") > 3)
    file.write(f"a: {LIVE}&seed=3", f"b: {{url: '{LIVE}', every: 2}}")
    assert file.look() == ["a: changed"]
    before = results(file.pipeline, "a")
    until(lambda: results(file.pipeline, "a") > before + 3)
    file.write(f"b: {{url: '{LIVE}', every: 2}}")
    assert file.look() == ["a: removed"]
    assert list(file.pipeline.streams) == ["b"]


def test_the_only_camera_may_change(file):
    until(lambda: results(file.pipeline, "a") > 3)
    file.write(f"a: {LIVE}&seed=3")
    assert file.look() == ["a: changed"]
    before = results(file.pipeline, "a")
    until(lambda: results(file.pipeline, "a") > before + 3)


def test_an_edit_that_failed_is_made_good_by_the_next(file):
    file.write(f"a: {LIVE}", "b: nowhere.mp4")
    assert "nowhere.mp4: no such file" in "".join(file.look())
    file.write("a: nowhere.mp4", f"b: {LIVE}")
    refused, added = file.look()
    assert "nowhere.mp4: no such file" in refused
    assert added == "b: added"
    before = results(file.pipeline, "a")
    until(lambda: results(file.pipeline, "a") > before + 3)
    file.write(f"a: {LIVE}&seed=3", f"b: {LIVE}")
    assert file.look() == ["a: changed"]
    file.pipeline.remove_stream("b")
    file.write(f"a: {LIVE}&seed=3")
    assert file.look() == []


def test_a_file_with_a_live_page_is_followed_while_that_is_served(tmp_path):
    for name in ("starlette", "uvicorn", "websockets", "prometheus_client"):
        pytest.importorskip(name, reason="pip install 'streamer[web]'")
    port = free_port()

    def is_served() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    with followed(File(tmp_path, f"http://127.0.0.1:{port}")) as file:
        until(is_served)
        file.write(f"a: {LIVE}", f"b: {LIVE}")
        assert file.look() == ["b: added"]
        file.sink = f"http://127.0.0.1:{port}?width=320"
        file.write(f"a: {LIVE}")
        assert sorted(file.look()) == ["b: removed", "sinks: taken over at the next start"]


def test_a_sink_that_cannot_be_is_refused_before_the_next_start(file):
    file.sink = "{stream}.mp4?presett=fast"
    file.write(f"a: {LIVE}", f"b: {LIVE}")
    said = "".join(file.look())
    assert "did you mean 'preset'" in said
    assert "all goes on as before" in said
    assert list(file.pipeline.streams) == ["a"]


def test_a_broken_edit_is_refused_with_its_line_and_all_goes_on(file):
    file.write(f"a: {{url: '{LIVE}', evry: 2}}")
    said = file.look()
    assert "cams.yaml:2: " in "".join(file.said)
    assert "did you mean 'every'" in "".join(said)
    assert "all goes on as before" in "".join(said)
    before = results(file.pipeline, "a")
    until(lambda: results(file.pipeline, "a") > before + 3)
    file.path.unlink()
    assert "all goes on as before" in "".join(file.look())


def test_what_is_said_of_an_edit_shows_no_secret(file):
    def read() -> Settings:
        raise InputError("rtsp://me:hush@cam/1: refused")

    file.follower._read = read
    file.write(f"a: {LIVE}", f"b: {LIVE}")
    (said,) = file.look()
    assert said.startswith("rtsp://me:***@cam/1: refused")


def test_a_file_that_nests_without_end_is_a_mistake_as_any_other(file):
    file.path.write_text("[" * 5000)
    assert "too deep" in "".join(file.look())
    file.write(f"a: {LIVE}", f"b: {LIVE}")
    assert file.look() == ["b: added"]


def test_a_look_that_fails_is_said_once_and_ends_no_other(monkeypatch):
    monkeypatch.setattr("streamer.watch.EVERY", 0.001)
    looks, said = Counter[str](), list[str]()

    def fails() -> None:
        looks["fails"] += 1
        raise KeyError("x")

    watch = Watch(fails, lambda: looks.update(goes=1), say=said.append)
    watch.start()
    until(lambda: min(looks["fails"], looks["goes"]) > 3)
    watch.stop()
    (line,) = said
    assert "fails: failed, is tried on: KeyError: 'x'" in line


def test_a_look_that_takes_long_holds_up_no_other(monkeypatch):
    monkeypatch.setattr("streamer.watch.EVERY", 0.001)
    looks, held = Counter[str](), threading.Event()

    def holds() -> None:
        looks["held"] += 1
        held.wait(10)

    watch = Watch(lambda: looks.update(goes=1), say=lambda sentence: None)
    watch.start()
    watch.add(holds)
    until(lambda: looks["held"])
    before = looks["goes"]
    until(lambda: looks["goes"] > before + 3)
    assert looks["held"] == 1
    held.set()
    watch.stop()


def test_what_needs_a_new_start_is_said(file):
    file.write(f"a: {LIVE}", rest="latency: 100ms\n")
    assert file.look() == ["latency: taken over at the next start"]


def test_a_name_is_not_given_again_before_its_last_source_is_let_go(pipeline, monkeypatch):
    pipeline.add_stream(LIVE + "&seed=1", "yard")
    with monkeypatch.context() as stuck:
        stuck.setattr(pipeline.graph, "remove", lambda node, timeout: False)
        with pytest.raises(WorkError, match="yard: was not let go"):
            pipeline.remove_stream("yard", timeout=0.1)
        with pytest.raises(WorkError, match="'yard': cannot be added, decode:yard of the one before runs on"):
            pipeline.add_stream(LIVE, "yard")
    for node in pipeline._roster._left["yard"]:
        node.thread.join(10.0)
    assert pipeline.add_stream(LIVE, "yard") == "yard"
    until(lambda: results(pipeline, "yard"))


def test_a_stream_that_is_removed_is_written_to_its_last_result(tmp_path, monkeypatch):
    """Whatever waits between drawing and writing, in bursts even, is under way and so is finished."""

    def slowly(sink: VideoSink, frame: Frame) -> None:
        threading.Event().wait(0.02)
        write(sink, frame)

    write = VideoSink.write
    monkeypatch.setattr(VideoSink, "write", slowly)
    settings = gather([LIVE], "grey", [str(tmp_path / "{stream}.mp4")])
    with Pipeline(settings, model=GreyModel(batch=2)) as pipeline:
        pipeline.start()
        pipeline.add_stream("synthetic:?size=128x72&count=0", "yard")
        until(lambda: results(pipeline, "yard") > 20)
        pipeline.remove_stream("yard")
        stages = pipeline.graph.ledger.stages()
        pipeline.stop()
        pipeline.join()
        assert pipeline.report().unbalanced == ()
    came = {stage: streams["yard"].out for stage, streams in stages.items() if "yard" in streams}
    assert set(came) == {"decode:yard", "submit", "collect", "draw:yard", "write:stream.mp4:yard"}
    assert set(came.values()) == {came["collect"]}
    with av.open(str(tmp_path / "yard.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == came["collect"]


def test_a_decoder_that_waits_for_room_lets_go_at_once(tmp_path):
    """Of a file it has read ahead; not before half of that is worked off does it wake by itself."""
    model = GreyModel(batch=1, requests=1)
    settings = gather([LIVE], "grey", [str(tmp_path / "all.jsonl")])
    with Pipeline(settings, model=model) as pipeline:
        pipeline.start()
        pipeline.add_stream("synthetic:?size=128x72&count=0", "yard")
        until(lambda: results(pipeline, "yard") > 2)
        decoder = pipeline.streams["yard"].decoder
        with model.free:  # the engine's only request
            until(lambda: len(decoder.edges[0].lane) == 8)
            with pytest.raises(WorkError, match="yard: was not let go within"):
                pipeline.remove_stream("yard", timeout=0.5)
            assert decoder.thread is not None
            assert not decoder.thread.is_alive()
            assert decoder.name not in pipeline.graph.nodes
        pipeline.stop()
        pipeline.join()
        assert pipeline.report().unbalanced == ()


@pytest.mark.parametrize("how", ["remove", "change"])
def test_a_stream_that_goes_before_the_start_holds_up_nobody(tmp_path, how):
    with Pipeline(gather([LIVE], "grey", [str(tmp_path / "all.jsonl")]), model=GreyModel()) as pipeline:
        pipeline.add_stream("synthetic:?size=128x72&count=0", "yard")
        told = pipeline.streams["yard"].told
        if how == "remove":
            pipeline.remove_stream("yard")
        else:
            pipeline.change_stream(replace(told, url="synthetic:?size=128x72&count=3", name="yard"))
        pipeline.start()
        until(lambda: results(pipeline, "synthetic") > 2)
        until(lambda: results(pipeline, "yard") == (3 if how == "change" else 0))
        pipeline.stop()
        pipeline.join()
        assert pipeline.report().unbalanced == ()


def test_what_is_left_of_a_file_does_not_wait_for_another_that_is_paused(tmp_path):
    files = ["synthetic:?size=128x72&count=6", "synthetic:?size=128x72&count=0"]
    with Pipeline(gather(files, "grey", [str(tmp_path / "all.jsonl")]), model=GreyModel(batch=4)) as pipeline:
        pipeline.pause("synthetic-2")
        pipeline.start()
        until(lambda: results(pipeline, "synthetic") == 6)
        began = time.monotonic()
        pipeline.remove_stream("synthetic")
        assert time.monotonic() - began < 2
        pipeline.stop()
        pipeline.join()
        assert pipeline.report().unbalanced == ()


@pytest.mark.parametrize("then", ["add", "leave"])
def test_a_source_is_not_written_over_by_a_sink(tmp_path, then):
    film = tmp_path / "yard.mp4"
    run("synthetic:?size=128x72&count=5", model="tiny-yolo", sinks=[str(film)])
    before = film.read_bytes()
    settings = gather([str(film) if then == "leave" else LIVE], "grey", [str(tmp_path / "{stream}.mp4")])
    if then == "leave":
        with pytest.raises(InputError, match=r"yard\.mp4: would write over .*yard\.mp4, a source"):
            Pipeline(settings, model=GreyModel())
    else:
        with Pipeline(settings, model=GreyModel()) as pipeline:
            pipeline.start()
            with pytest.raises(InputError, match="a source"):
                pipeline.add_stream(str(film))
            assert list(pipeline.streams) == ["synthetic"]
            pipeline.stop()
            pipeline.join()
    assert film.read_bytes() == before

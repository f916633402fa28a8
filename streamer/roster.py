"""Roster: the streams of a pipeline; they come and go, also while it runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from engines.errors import InputError, WorkError, nearest
from streamer.batching import LIVE_WAIT, SHARE
from streamer.feed import Feed
from streamer.graph import Node
from streamer.member import Stream
from streamer.rooms import before_engine
from streamer.settings import SourceSettings
from streamer.sources import Source, local_files, open_source
from streamer.sources.opening import settle
from streamer.urls import redact

if TYPE_CHECKING:
    from streamer.pipeline import Pipeline

__all__ = ["Roster", "Trunk"]

_LOOK = 0.01  # seconds
_OPENING = 10.0  # seconds for a file that is added; a camera that takes longer is tried on


@dataclass(frozen=True, slots=True)
class Trunk:
    """The stages that frames of all streams go through."""

    head: Node  # takes them from the decoders
    tail: Node  # gives out results
    names: tuple[str, ...]  # of all of them, head and tail among them


class Roster:
    """Puts streams into a pipeline's graph and takes them out; one change at a time, from any thread."""

    def __init__(self, pipeline: Pipeline, trunk: Trunk) -> None:
        self.lock = threading.Lock()
        self.streams: dict[str, Stream] = pipeline.streams
        self._pipeline, self._trunk = pipeline, trunk
        self._left: dict[str, list[Node]] = {}  # of streams that were removed: what did not end in time
        self._tick = threading.Event()

    def stream(self, name: str) -> Stream:
        """Return the stream of this name. InputError where there is none."""
        if name not in self.streams:
            raise InputError(f"stream {name!r}: there is none{nearest(name, self.streams)}")
        return self.streams[name]

    def add(self, told: SourceSettings, source: Source) -> None:
        """Put a source and all that works for it alone into the graph."""
        pipeline = self._pipeline
        if source.live:
            pipeline.batching.share = SHARE
        if source.live or told.limits.realtime:
            pipeline.batching.max_wait = LIVE_WAIT
        pipeline.batching.every[source.name] = told.every
        stream = self.streams[source.name] = self._read(told, source)
        streams = max(len(pipeline.settings.sources), len(self.streams))
        room = before_engine(source, prompt=told.limits.realtime, streams=streams)
        pipeline.graph.connect(stream.decoder, self._trunk.head, policy=room.policy, capacity=room.capacity)
        pipeline.outputs.connect(stream)

    def attach(self, told: SourceSettings) -> str:
        """Open a source and take it up; see `Pipeline.add_stream`."""
        pipeline, graph = self._pipeline, self._pipeline.graph
        until = time.monotonic() + _OPENING

        def patient() -> bool:  # whoever waits for us holds up further changes, or the end of the process
            return time.monotonic() < until and not pipeline.stopped

        self._check_running(told.name or redact(told.url))
        (source,) = settle([pipeline.opening(told)], wait=True, patient=patient)
        with self.lock:
            try:
                self._check_open(source.name)
                pipeline.outputs.targets.protect(local_files(told.url))
                pipeline.outputs.check(source.name, tuple(self.streams))
                before = set(graph.nodes)
                self.add(told, source)
            except BaseException:
                source.close()
                raise
            if pipeline.began:
                graph.start(*(node for name, node in graph.nodes.items() if name not in before))
        return source.name

    def remove(self, name: str, timeout: float) -> None:
        """Let a stream end, within seconds; see `Pipeline.remove_stream`."""
        outputs = self._pipeline.outputs
        with self.lock:
            stream = self.stream(name)
            stream.feed.stop()
            for edge in stream.decoder.edges:
                edge.lane.resize(len(edge.lane) + 1)  # for the frame at hand, if the decoder waits with it
            until = time.monotonic() + timeout
            if stream.decoder.thread is None:
                stream.source.close()  # else its own thread does
            left = self._remove([stream.decoder], until)
            worked_off = not left and self._await(name, self._trunk.names, until)
            self._pipeline.graph.disconnect(self._trunk.tail, name)
            left += self._remove(stream.nodes, until)
            through = self._await(name, [node.name for node in outputs.shared.values()], until)
            del self.streams[name]
            if left:
                self._left[name] = left
            self._forget(name)
            if through:
                outputs.forget(name)
        if left or not worked_off:
            raise WorkError(f"{name}: was not let go within {timeout:g} s")

    def change(self, told: SourceSettings, timeout: float) -> None:
        """Replace a stream by what is told now; see `Pipeline.change_stream`."""
        before = replace(self.stream(told.name).told, name=told.name)
        shared = (self._trunk.head, *self._pipeline.outputs.takers())
        held = [node.inbox.lane("change") for node in shared]
        try:
            self.remove(told.name, timeout)
            try:
                self.attach(told)
            except InputError:
                with suppress(InputError):
                    self.attach(before)
                raise
        finally:
            for lane in held:
                lane.close()

    def _read(self, told: SourceSettings, source: Source) -> Stream:
        from streamer.sinks.studio import Studio

        def reopen() -> Source:
            return open_source(told.url, name=source.name)

        pipeline, stage = self._pipeline, f"decode:{source.name}"
        tally = pipeline.graph.ledger.tally(stage, source.name)
        feed = Feed(source, reopen, told.limits, tally, pipeline.journal)
        studio = Studio(pipeline.overlays, lambda: source.info.fps)
        return Stream(told, source, feed, pipeline.graph.source(stage, feed.__iter__), studio)

    def _await(self, stream: str, stages: Sequence[str], until: float) -> bool:
        """Wait until nothing of a stream is under way at these stages; False if time.monotonic() runs out."""
        while self._pipeline.graph.ledger.under_way(stream, stages):
            if time.monotonic() >= until:
                return False
            self._tick.wait(_LOOK)
        return True

    def _remove(self, nodes: Sequence[Node], until: float) -> list[Node]:
        """Take nodes out of the graph as they end, each after those that it follows; return what runs on."""
        left = []
        for node in nodes:
            if not self._pipeline.graph.remove(node, max(until - time.monotonic(), 0.1)):
                left.append(node)
                for edge in node.edges:
                    edge.lane.close()  # so that those behind it can end
        return left

    def _forget(self, stream: str) -> None:
        """Drop what is kept of a stream that is over, so that another one of its name inherits nothing."""
        pipeline = self._pipeline
        for forget in (pipeline.graph.forget, pipeline.rates.forget, pipeline.batching.forget):
            forget(stream)
        if pipeline.keys is not None and pipeline.model.video is not None:
            pipeline.keys.forget(stream)
            pipeline.model.video.forget(stream)

    def _check_open(self, name: str) -> None:
        graph = self._pipeline.graph
        if name in self.streams:
            raise InputError(f"stream {name!r}: there is one already, give this one a name of its own")
        left = [node for node in self._left.pop(name, []) if not graph.remove(node, 0.0)]
        if left:
            self._left[name] = left
            raise WorkError(f"stream {name!r}: cannot be added, {left[0].name} of the one before runs on")
        self._check_running(name)

    def _check_running(self, name: str) -> None:
        reader = self._trunk.head.thread
        if self._pipeline.stopped or (self._pipeline.began and reader and not reader.is_alive()):
            raise WorkError(f"stream {name!r}: cannot be added, the pipeline has ended")

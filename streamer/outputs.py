"""Outputs: where results go; each sink is a stage of its own, made for the first stream that it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from streamer import stages
from streamer.graph import Node
from streamer.member import Stream
from streamer.naming import numbered
from streamer.rooms import Room, before_output
from streamer.settings import SinkSettings
from streamer.sinks import Attendant, Kind, Painter, Sink, open_sink, sink_kind, target
from streamer.sinks.targets import Targets

if TYPE_CHECKING:
    from streamer.pipeline import Pipeline

__all__ = ["Outputs"]

_TO_VIEWERS = 2  # frames; what waits longer would only be seen later


class Outputs:
    """The sinks of a pipeline, in its graph behind `tail`; `say` hears of recordings that get other names."""

    def __init__(self, pipeline: Pipeline, tail: Node, say: Callable[[str], None]) -> None:
        self.targets = Targets(say)
        self.shared: dict[str, Node] = {}  # URL -> the one sink of all its streams
        self.window: Node | None = None  # run by the main thread
        self.caller: Node | None = None  # who takes the frames of every stream
        self._pipeline, self._tail = pipeline, tail
        self._lone: dict[str, Node] = {}  # URL -> the sink that takes one stream only
        self._forgetters: list[Callable[[str], None]] = []  # of sinks that keep something of each stream

    def check(self, stream: str, others: Iterable[str]) -> None:
        """Raise InputError where a sink would have a stream of this name write over a source, or another."""
        for sink in self._pipeline.settings.sinks:
            if _takes(sink, stream):
                self.targets.check(sink.url, stream)
                self.targets.check_apart(sink.url, stream, [other for other in others if _takes(sink, other)])

    def connect(self, stream: Stream) -> None:
        """Send a stream to every sink that takes it, and to the caller."""
        for sink in self._pipeline.settings.sinks:
            if _takes(sink, stream.name):
                self._connect(sink, stream)
        if self.caller is not None:
            self._give(stream, self.caller, before_output(stream.source, prompt=True))

    def outlet(self) -> Node:
        """Add a node from which the caller takes the frames of all streams, now and later ones."""
        self.caller = self._pipeline.graph.outlet("frames")
        for stream in self._pipeline.streams.values():
            self._give(stream, self.caller, before_output(stream.source, prompt=True))
        return self.caller

    def takers(self) -> list[Node]:
        """The nodes that take results of several streams."""
        return [*self.shared.values(), *([] if self.caller is None else [self.caller])]

    def forget(self, stream: str) -> None:
        """Let sinks of several streams drop what they keep of one that is over."""
        for forget in self._forgetters:
            forget(stream)

    def _connect(self, sink: SinkSettings, stream: Stream) -> None:
        kind = sink_kind(sink.url)
        if kind.takes_nothing:
            return  # results are counted where they are collected; a thread to drop them would only cost
        label = f"write:{Path(target(sink.url)).name}"
        if kind.shared:
            node = self._common(label, sink.url, stream)
            if kind.main_thread:
                node.is_callers = True
                self.window = node
        elif "{stream}" in sink.url:
            node = self._node(f"{label}:{stream.name}", sink.url, stream)
            stream.nodes.append(node)
        elif self._lone.get(sink.url) in self._pipeline.graph.nodes.values():
            return  # the sink of one stream, which is another one
        else:
            node = self._lone[sink.url] = self._node(label, sink.url, stream)
            stream.nodes.append(node)
        tail = self._drawer(stream) if kind.overlay and self._pipeline.settings.overlay else self._tail
        room = self._room(stream, kind)
        capacity = _TO_VIEWERS if kind.attends else room.capacity
        self._pipeline.graph.connect(tail, node, stream=stream.name, policy=room.policy, capacity=capacity)

    def _common(self, label: str, url: str, stream: Stream) -> Node:
        """Return the one sink of all streams of a URL, another where that has ended with the last of them."""
        node = self.shared.get(url)
        if node is None or node.inbox.is_deserted:
            if node is not None:
                self._pipeline.graph.remove(node, 0.0)
            node = self.shared[url] = self._node(label, url, stream)
        return node

    def _node(self, name: str, url: str, stream: Stream) -> Node:
        kind, source, pipeline = sink_kind(url), stream.source, self._pipeline

        def opener() -> Sink:
            opened = self.targets.claim(url, source.name)
            sink = open_sink(opened, stream=source.name, info=source.info, spec=pipeline.spec)
            if kind.attends:
                cast("Attendant", sink).attend(pipeline)
            if kind.draws:
                cast("Painter", sink).use(stream.studio)
            if kind.shared and (forget := getattr(sink, "forget", None)):
                self._forgetters.append(forget)
            return sink

        nodes = pipeline.graph.nodes
        free = next(one for one in numbered(name) if one not in nodes)
        writer = stages.write(opener, pipeline.stop, early=kind.attends, burst=self._room(stream, kind).burst)
        return pipeline.graph.stage(free, writer)

    def _room(self, stream: Stream, *kinds: Kind) -> Room:
        """Return the lane of a stream to sinks of these kinds; prompt if somebody may wait for each frame."""
        prompt = stream.told.limits.realtime or any(kind.shared or kind.draws for kind in kinds)
        return before_output(stream.source, prompt=prompt)

    def _drawer(self, stream: Stream) -> Node:
        name, graph = f"draw:{stream.name}", self._pipeline.graph
        if name not in graph.nodes:
            kinds = (sink_kind(sink.url) for sink in self._pipeline.settings.sinks)
            room = self._room(stream, *(kind for kind in kinds if kind.overlay))
            node = graph.stage(name, stages.draw(self._pipeline.overlays(), room.burst))
            stream.nodes.insert(0, node)
            self._give(stream, node, room)
        return graph.nodes[name]

    def _give(self, stream: Stream, node: Node, room: Room) -> None:
        """Send the results of a stream to a node."""
        self._pipeline.graph.connect(
            self._tail, node, stream=stream.name, policy=room.policy, capacity=room.capacity
        )


def _takes(sink: SinkSettings, stream: str) -> bool:
    return not sink.streams or stream in sink.streams

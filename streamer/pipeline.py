"""Pipeline: the main job put together; sources, one model, overlays and sinks as one running graph."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.errors import InputError, nearest
from streamer import stages
from streamer.feed import Feed
from streamer.frame import Frame
from streamer.graph import Graph, Node
from streamer.inbox import Policy
from streamer.metrics import Histogram
from streamer.report import Rates, Report, report
from streamer.settings import Settings, SinkSettings, SourceSettings, gather
from streamer.sinks import Sink, open_sink, sink_kind, target
from streamer.sources import Source, open_source
from streamer.sources.opening import Opening, settle
from streamer.tuning import tune

if TYPE_CHECKING:
    from engines.model import Model

__all__ = ["Pipeline", "run", "stream"]

_LIVE_BATCH_WAIT = 0.02  # seconds after which a live batch leaves though it is not full
_TO_ENGINE: dict[bool, tuple[Policy, int]] = {True: ("latest", 2), False: ("block", 6)}  # live? -> lane
_TO_SINK: dict[bool, tuple[Policy, int]] = {True: ("latest", 8), False: ("block", 4)}


class Pipeline:
    """Open it, run it, read its report; as a context manager it leaves nothing open.

    A `model` that is given is used as it is and left open. `say` is told what happens to live sources.

    Raises:
        InputError: on opening: a source, model or sink that cannot be used.
        WorkError: while running: a stage failed; its name is in the message.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        model: Model | None = None,
        say: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.settings = settings
        self.graph = Graph()
        self.latency = Histogram()  # seconds from capture to result
        self.rates = Rates()
        self.began = self.ended = 0.0  # time.perf_counter()
        self._own_model = model is None
        self._window: Node | None = None
        self._feeds: list[Feed] = []
        self.sources, self.model = _open(settings, model, say)
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        self.graph.abort()
        self.graph.wait(10.0)
        for source in self.sources:
            source.close()
        if self._own_model:
            self.model.close()

    def run(self) -> Report:
        """Run to the end of every source, or until `stop`; every sink is closed when it returns."""
        self.start()
        self.join()
        return self.report()

    def start(self) -> None:
        """Start every stage but a window, which belongs to the thread that calls `join`."""
        self.began = time.perf_counter()
        self.graph.start()

    def join(self) -> None:
        """Wait for the end, and raise what ended it if that was a failure."""
        if self._window is not None and self._window.thread is None:
            self.graph.run_here(self._window)
        self.graph.wait()
        self.ended = self.ended or time.perf_counter()
        self.graph.raise_error()

    def frames(self) -> Iterator[Frame]:
        """Run, and give each frame with its detections to the caller; leaving the loop ends the run."""
        outlet = self.graph.outlet("frames")
        self.graph.connect(self._results, outlet)
        self.start()
        try:
            yield from (item for item in self.graph.pump(outlet) if isinstance(item, Frame))
        finally:
            self.stop()
            self.join()

    def stop(self) -> None:
        """End the sources; what is under way is finished and every file completed. From any thread."""
        for feed in self._feeds:
            feed.stop()

    def forget(self) -> None:
        """Start the figures of time anew (counts of frames stay): for a measurement after a warm-up."""
        self.latency.clear()
        for node in self.graph.nodes.values():
            node.busy.clear()

    def report(self) -> Report:
        """Return the figures so far; whole and balanced once the run has ended."""
        return report(self)

    def _build(self) -> None:
        every = {
            source.name: told.every for source, told in zip(self.sources, self.settings.sources, strict=True)
        }
        live = any(source.live for source in self.sources)
        wait = _LIVE_BATCH_WAIT if live else None
        engine = self.graph.stage("submit", stages.submit(self.model, every=every, max_wait=wait))
        collect = self.graph.stage("collect", stages.collect(self.latency, self.rates))
        results = self._results = self._tracker(collect)
        for told, source in zip(self.settings.sources, self.sources, strict=True):
            policy, capacity = _TO_ENGINE[source.live]
            self.graph.connect(self._decoder(told, source), engine, policy=policy, capacity=capacity)
        self.graph.connect(engine, collect, capacity=len(self.model.engine.requests))
        for sink in self.settings.sinks:
            self._add_sink(sink, results)

    @property
    def _trails(self) -> float:
        return self.settings.trails if self.settings.track else 0.0

    def _tracker(self, collect: Node) -> Node:
        """Add the stage that tracks, if that is wanted; return the one whose frames are complete."""
        told = self.settings.track
        if not told:
            return collect
        from streamer.trackers import open_tracker
        from streamer.tracking import track

        node = self.graph.stage("track", track(lambda: open_tracker(told)))
        self.graph.connect(collect, node)
        return node

    def _decoder(self, told: SourceSettings, source: Source) -> Node:
        def reopen() -> Source:
            return open_source(told.url, name=source.name)

        stage = f"decode:{source.name}"
        feed = Feed(source, reopen, told.limits, self.graph.ledger.tally(stage, source.name))
        self._feeds.append(feed)
        return self.graph.source(stage, feed.__iter__)

    def _add_sink(self, sink: SinkSettings, results: Node) -> None:
        kind, sources = sink_kind(sink.url), self._sources_of(sink)
        if kind.takes_nothing:
            return  # results are counted where they are collected; a thread to drop them would only cost
        label = f"write:{Path(target(sink.url)).name}"
        if kind.shared:
            node = self._sink_node(label, sink.url, sources[0])
            for source in sources:
                self._connect_sink(sink.url, results, node, source)
            if kind.main_thread:
                node.is_callers = True
                self._window = node
            return
        for source in sources:
            name = label if len(sources) == 1 else f"{label}:{source.name}"
            self._connect_sink(sink.url, results, self._sink_node(name, sink.url, source), source)

    def _sources_of(self, sink: SinkSettings) -> list[Source]:
        names = [source.name for source in self.sources]
        for stream in sink.streams:
            if stream not in names:
                raise InputError(f"sink {sink.url}: streams: no stream {stream!r}{nearest(stream, names)}")
        return [source for source in self.sources if not sink.streams or source.name in sink.streams]

    def _sink_node(self, name: str, url: str, source: Source) -> Node:
        def opener() -> Sink:
            return open_sink(url, stream=source.name, info=source.info, spec=self.model.spec)

        return self.graph.stage(name, stages.write(opener, self.stop))

    def _connect_sink(self, url: str, results: Node, node: Node, source: Source) -> None:
        tail = self._drawer(results, source) if sink_kind(url).overlay and self.settings.overlay else results
        policy, capacity = _TO_SINK[source.live]
        self.graph.connect(tail, node, stream=source.name, policy=policy, capacity=capacity)

    def _drawer(self, results: Node, source: Source) -> Node:
        name = f"draw:{source.name}"
        if name not in self.graph.nodes:
            from streamer.overlay import overlays
            from streamer.overlay.trails import lost

            shown = overlays(self.model.spec, trails=self._trails, hud=self.rates.hud)
            if self.settings.show_lost:
                shown.append(lost)
            node = self.graph.stage(name, stages.draw(shown))
            policy, capacity = _TO_SINK[source.live]
            self.graph.connect(results, node, stream=source.name, policy=policy, capacity=capacity)
        return self.graph.nodes[name]


def run(*sources: str, model: str, sinks: Sequence[str] = (), **how: Any) -> Report:
    """Process sources to their end, as `streamer run` does, and return the figures.

    `how` takes what `streamer run` takes: conf, iou, classes (names or ids), max_det, device, backend,
    precision, batch, every, realtime, frames, seconds, loop, overlay, track, trails,
    show_lost, wait, quarantine.
    """
    with Pipeline(gather(sources, model, sinks, **how)) as pipeline:
        return pipeline.run()


def stream(*sources: str, model: str, sinks: Sequence[str] = (), **how: Any) -> Iterator[Frame]:
    """Give each frame of the sources with its detections, in order per stream; arguments as for `run`."""
    with Pipeline(gather(sources, model, sinks, **how)) as pipeline:
        yield from pipeline.frames()


def _open(settings: Settings, model: Model | None, say: Callable[[str], None]) -> tuple[list[Source], Model]:
    """Open sources side by side while the engine is compiled."""
    import engines

    tune()
    load = engines.load  # resolved here: see `tune` on imports
    openings = [
        Opening(told.url, told.name, withheld=settings.quarantine, say=say) for told in settings.sources
    ]
    loaded = model
    try:
        loaded = model or load(settings.model, settings.options)
        sources = settle(openings, wait=settings.wait)
    except BaseException:
        for opening in openings:
            opening.link.leave()
        if loaded is not None and loaded is not model:
            loaded.close()
        raise
    _make_unique(sources)
    return sources, loaded


def _make_unique(sources: list[Source]) -> None:
    seen: Counter[str] = Counter()
    for source in sources:
        seen[source.name] += 1
        if seen[source.name] > 1:
            source.name = f"{source.name}-{seen[source.name]}"

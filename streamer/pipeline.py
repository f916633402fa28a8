"""Pipeline: the main job put together; sources, one model, overlays and sinks as one running graph."""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.errors import InputError, WorkError, nearest
from streamer import shots, stages
from streamer.batching import Batching
from streamer.frame import Frame
from streamer.governor import Governor
from streamer.graph import Graph
from streamer.journal import Journal, Notes, Several
from streamer.keys import Keys, key_policy
from streamer.member import Status, Stream, status
from streamer.metrics import Histogram
from streamer.naming import numbered
from streamer.outputs import Outputs
from streamer.report import Rates, Report, report
from streamer.results import results
from streamer.roster import Roster, Trunk
from streamer.settings import KEY_INTERVAL, Place, Settings, SourceSettings, gather, place_of
from streamer.sources import Source, local_files
from streamer.sources.opening import Opening, settle
from streamer.tuning import tune
from streamer.urls import discreet, redact
from streamer.watch import Overload, Watch

if TYPE_CHECKING:
    from engines.model import Model
    from streamer.analytics.desk import Desk
    from streamer.overlay import Overlay

__all__ = ["Pipeline", "run", "stream"]

_PATIENCE = 10.0  # seconds until a stream, or all, have ended
_HEARD = 0.5  # seconds after which a signal is heard at the latest: Windows lets none into a wait


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
        _check_given(settings, model)
        settings.check_sinks()
        self.settings = settings
        settings.check_ledger()
        self.journal: Notes | None = None  # opened last, so that a mistake empties no file
        self.graph = Graph(on_abort=self.stop)
        self.streams: dict[str, Stream] = {}
        self.batching = Batching()
        self.latency = Histogram()  # seconds from capture to result
        self.rates = Rates()
        self.began = self.ended = 0.0  # time.perf_counter()
        self.desk: Desk | None = None  # the lines and zones as they are now; they need a tracker
        self._own_model = model is None
        self._say = say = discreet(say)
        self.stopped = False
        sources, self.model = self._open(model)
        self.invalid_before = self.model.invalid  # by whoever used a given model before
        self.spec = self.model.spec  # of what leaves the last model
        self._further: list[Model] = []  # that work on what the first has found
        self.governor: Governor | None = None
        if settings.latency:
            self.governor = Governor(settings.latency, self.batching, say)
        self.keys = self._keys()
        self._watch = Watch(Overload(self, say).look, self._govern, say=say)
        try:
            self._build(sources)
        except BaseException:
            for source in sources:
                source.close()
            self.__exit__()
            raise

    def __enter__(self) -> Pipeline:
        return self

    def __repr__(self) -> str:
        state = "ended" if self.ended else "running" if self.began else "open"
        return f"Pipeline({', '.join(self.streams)}: {self.model.spec.name}, {state})"

    def __exit__(self, *raised: object) -> None:
        atexit.unregister(self._leave)
        self.stop()
        self.graph.abort()
        self.graph.wait(_PATIENCE)
        self._watch.stop()
        self.ended = self.ended or time.perf_counter()
        for stream in list(self.streams.values()):
            if not stream.decoder.is_running:  # else FFmpeg holds it, and would crash under it
                stream.source.close()
        for model in (*self._further, *([self.model] if self._own_model else [])):
            model.close()
        if self.journal is not None:
            with suppress(*([WorkError] if any(raised) else [])):
                self.journal.close()

    def run(self) -> Report:
        """Run to the end of every source, or until `stop`; every sink is closed when it returns."""
        self.start()
        self.join()
        return self.report()

    def start(self) -> None:
        """Start every stage but a window, which belongs to the thread that calls `join`.

        Raises:
            WorkError: the pipeline has ended; it runs once.
        """
        if self.ended:
            raise WorkError("pipeline: it has ended, open another")
        atexit.register(self._leave, os.getpid())
        self.began = time.perf_counter()
        self.graph.start()
        self._watch.start()

    def join(self) -> None:
        """Wait for the end, and raise what ended it if that was a failure."""
        window = self.outputs.window
        if window is not None and window.thread is None:
            self.graph.run_here(window)
        while not self.graph.wait(_HEARD):
            pass
        self.ended = self.ended or time.perf_counter()
        self.graph.raise_error()

    def frames(self) -> Generator[Frame, None, None]:
        """Run, and give each frame with its detections to the caller; leaving the loop ends the run.

        A slow caller misses frames of live sources, which are counted as late, and none of files.

        Raises:
            InputError: another loop takes them already.
            WorkError: the pipeline has ended, or a stage failed.
        """
        if self.began and self.graph.wait(0.0):
            raise WorkError("frames: the pipeline has ended, open another")
        with self._roster.lock:
            if self.outputs.caller is not None:
                raise InputError("frames: another loop takes them already")
            outlet = self.outputs.outlet()
        self.start()
        try:
            # Closed before anything is waited for, or who sends to it would wait for somebody to take it.
            with closing(self.graph.pump(outlet)) as items:
                for item in items:
                    if isinstance(item, Frame):
                        yield item
        finally:
            self.stop()
            self.join()

    def stop(self) -> None:
        """End the sources; what is under way is finished and every file completed. From any thread."""
        self.stopped = True
        for stream in list(self.streams.values()):
            stream.feed.stop()

    def add_stream(self, url: Place, name: str = "", *, every: int = 1) -> str:
        """Take up another source while the pipeline runs, or before; return its stream's name.

        A live source that does not answer within seconds is tried on. It goes to every sink that takes all
        streams, or that names it.

        Raises:
            InputError: it can never be opened, its name is taken, or `every` is below 1.
            WorkError: the pipeline has ended.
        """
        told = replace(self.settings.sources[0], url=place_of(url, "source"), name=name, every=every)
        return self.attach(told)

    def attach(self, told: SourceSettings) -> str:
        """Take up another source as `add_stream` does, with all its settings."""
        return self._roster.attach(told)

    def remove_stream(self, name: str, *, timeout: float = _PATIENCE) -> None:
        """End a stream while the others go on: what is under way is finished and its files are completed.

        Raises:
            InputError: there is no such stream.
            WorkError: a stage did not let go of it in time.
        """
        self._roster.remove(name, timeout)

    def change_stream(self, told: SourceSettings) -> None:
        """Replace the stream of this name by what is told now, even if it is the only one.

        Raises:
            InputError: there is no such stream; or the new one can never be opened, and the old one goes on.
            WorkError: a stage did not let go of it in time, or the pipeline has ended.
        """
        self._roster.change(told, _PATIENCE)

    def each_second(self, look: Callable[[], None]) -> None:
        """Call a function once a second while the pipeline runs."""
        self._watch.add(look)

    def pause(self, name: str, paused: bool = True) -> None:
        """Stop giving out frames of a stream, or go on: a live one stays connected, a file waits.

        Raises:
            InputError: there is no such stream.
        """
        self._roster.stream(name).feed.pause(paused)

    def overlays(self) -> list[Overlay]:
        """Return what is drawn on the pictures of one stream; some of it remembers, so one list for each."""
        from streamer.overlay import overlays
        from streamer.overlay.trails import lost

        if not self.settings.overlay:
            return []
        heatmap = self.settings.heatmap
        shown = overlays(self.spec, trails=self._trails, heatmap=heatmap, hud=self.rates.hud)
        return [*shown, lost] if self.settings.show_lost else shown

    def status(self) -> Status:
        """Return what the pipeline and each stream do right now."""
        return status(self)

    def forget(self) -> None:
        """Start the figures of time anew (counts of frames stay): for a measurement after a warm-up."""
        self.latency.clear()
        for node in list(self.graph.nodes.values()):
            node.busy.clear()

    def report(self) -> Report:
        """Return the figures so far; whole and balanced once the run has ended."""
        return report(self)

    def _leave(self, process: int) -> None:
        """End with the process: threads that it finds inside an engine would abort it, files unfinished."""
        if process != os.getpid():
            return  # a forked child has none of the threads
        self.stop()
        if self.outputs.caller is not None:
            self.outputs.caller.inbox.refuse("the process ended")
        self.graph.wait(_PATIENCE)
        self.__exit__()

    @property
    def sources(self) -> list[Source]:
        """The sources of all streams."""
        return [stream.source for stream in list(self.streams.values())]

    def opening(self, told: SourceSettings) -> Opening:
        """Begin to open a source with what holds for all of them."""
        return Opening(told.url, told.name, withheld=self.settings.quarantine, say=self._say)

    def _open(self, model: Model | None) -> tuple[list[Source], Model]:
        """Open the sources side by side while the engine is compiled."""
        import engines

        tune()
        from engines.bar import spoken

        load = engines.load  # resolved here: see `tune` on imports
        openings = [self.opening(told) for told in self.settings.sources]
        loaded = model
        try:
            loaded = model or load(self.settings.model, self.settings.for_engine, spoken(self._say))
            if loaded.spec.task == "embed":
                raise InputError(
                    f"model: {loaded.spec.name}: it gives embeddings, one that detects is needed"
                )
            sources = settle(openings, wait=self.settings.wait)
        except BaseException:
            for opening in openings:
                opening.link.leave()
            if loaded is not None and loaded is not model:
                loaded.close()
            raise
        _make_unique(sources)
        return sources, loaded

    def _build(self, sources: Sequence[Source]) -> None:
        room, submit = len(self.model.engine.requests), stages.submit(self.model, self.batching)
        if self.keys is not None and self.model.video is not None:
            room += len(self.model.video.between.engine.requests)
            submit = shots.submit(self.model.video, self.batching, self.keys)
        head = self.graph.stage("submit", submit)
        collect = stages.collect(self.latency, self.rates, self.batching, self.keys)
        collector = self.graph.stage("collect", collect)
        self.graph.connect(head, collector, capacity=room)
        made = results(self.graph, collector, self.settings, self.spec)
        self.spec, self.desk, self._further = made.spec, made.desk, made.models
        self.outputs = Outputs(self, made.tail, self._say)
        self._roster = Roster(self, Trunk(head, made.tail, tuple(self.graph.nodes)))
        names = [source.name for source in sources]
        for sink in self.settings.sinks:
            for name in sink.streams:
                if name not in names:
                    raise InputError(
                        f"sink {redact(sink.url)}: streams: no stream {name!r}{nearest(name, names)}"
                    )
        for sentence in self.settings.analytics.strangers(names):
            self._say(sentence)
        for told in self.settings.sources:
            self.outputs.targets.protect(local_files(told.url))
        for at, name in enumerate(names):
            self.outputs.check(name, names[:at])
        self.journal = self.graph.journal = _notes(self.settings)
        for told, source in zip(self.settings.sources, sources, strict=True):
            self._roster.add(told, source)

    def _keys(self) -> Keys | None:
        """The policy of key frames, where the model is one for video."""
        told = self.settings.key_interval
        if getattr(self.model, "video", None) is not None:
            return Keys(key_policy(told), self.model.batch)
        if told not in ("1", KEY_INTERVAL):
            self._say(
                f"key-interval: {self.model.spec.name} runs every frame whole, it is no model for video"
            )
        return None

    def _govern(self) -> None:
        """Let the governor act on the ages of the last second."""
        if self.governor is None:
            return
        lanes = [
            edge.lane
            for stream in list(self.streams.values())
            if stream.source.live
            for edge in stream.decoder.edges
        ]
        self.governor.look(self.rates.ages(), lanes, time.monotonic())

    @property
    def _trails(self) -> float:
        return self.settings.trails if self.settings.track else 0.0


def run(*sources: Place, model: Place, sinks: Place | Sequence[Place] = (), **how: Any) -> Report:
    """Process sources to their end, as `streamer run` does, and return the figures.

    `how` takes what `streamer run` takes: conf, iou, classes (names or ids), max_det, device, backend,
    precision, batch, requests, nms, class_agnostic, every, realtime, frames, seconds, loop, overlay, track,
    trails, show_lost, heatmap, analytics, then, hide, wait, quarantine, latency, ledger, traces,
    key_interval.

    Raises:
        InputError: a source, model, sink or value that cannot be used.
        WorkError: a stage failed; its name is in the message.
    """
    with Pipeline(gather(sources, model, sinks, **how)) as pipeline:
        return pipeline.run()


def stream(
    *sources: Place, model: Place, sinks: Place | Sequence[Place] = (), **how: Any
) -> Generator[Frame, None, None]:
    """Give each frame of the sources with its detections, in order per stream; arguments as for `run`.

    A slow caller misses frames of live sources, which are counted as late, and none of files. Leaving the
    loop, or `close()`, ends the run and completes its files. Pixels: `streamer.planes.to_rgb(frame.planes)`.
    """
    with Pipeline(gather(sources, model, sinks, **how)) as pipeline:
        yield from pipeline.frames()


def _check_given(settings: object, model: object) -> None:
    if not isinstance(settings, Settings):
        raise InputError(
            f"settings: {type(settings).__name__}, streamer.gather(sources, model, ...) is right"
        )
    if isinstance(model, str | Path):
        raise InputError(f"model: {str(model)!r} is a name, engines.load({str(model)!r}) is right here")


def _notes(settings: Settings) -> Notes | None:
    """Open whoever is told what becomes of each frame. InputError where that cannot be."""
    those: list[Notes] = [Journal(Path(settings.ledger))] if settings.ledger else []
    if settings.traces:
        from streamer.traces import Traces

        those.append(Traces(settings.traces))
    return Several(*those) if len(those) > 1 else next(iter(those), None)


def _make_unique(sources: list[Source]) -> None:
    """Number the sources whose name another has; no number gives a name that is taken."""
    names, seen = {source.name for source in sources}, set[str]()
    for source in sources:
        if source.name in seen:
            source.name = next(name for name in numbered(source.name) if name not in names)
            names.add(source.name)
        seen.add(source.name)

"""The stages of the main job: submit to the engine, collect from it, draw, write."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engines.detections import EMPTY, Detections
from streamer.batching import Batching
from streamer.frame import Frame
from streamer.inbox import Inbox
from streamer.metrics import Histogram
from streamer.report import Rates
from streamer.sinks import Closed, Sink
from streamer.stateful import Stateful

if TYPE_CHECKING:
    from engines.model import Batch, Model
    from engines.video import Shots
    from streamer.keys import Keys
    from streamer.overlay import Overlay

_NAP, _LONGEST_NAP = 3, 0.25  # frames, seconds until a sink that rests is woken
_PASSED_BY = 1 << 24  # pixels of frames that are not inferred, for which a batch waits to be full
_GATHERING = 0.05  # seconds after which a stage wakes though its burst is not complete
_POLL = 0.05  # seconds between two looks at a window that gets no frames
PATIENCE = 0.25  # seconds between two looks at whether the graph still runs

__all__ = ["PATIENCE", "Flight", "collect", "draw", "submit", "write"]


@dataclass(slots=True, eq=False)
class Flight:
    """Frames that travel with a batch in the engine, in order; row -1 was not given to it."""

    frames: list[Frame]
    rows: list[int]
    batch: Batch | Shots | None

    def let_go(self) -> None:
        """Give the batch back to the model, which others may go on using, once the engine is through."""
        if self.batch is not None:
            with suppress(Exception):  # whoever ended the graph tells why
                self.batch.collect()


def submit(model: Model, batching: Batching) -> Callable[[Inbox[Frame]], Iterator[Flight]]:
    """Scale frames into the engine's own input buffers and start it.

    A frame stays in its lane, where a newer one of a live stream replaces it, until the engine takes it.
    """

    def stage(inbox: Inbox[Frame]) -> Iterator[Flight]:
        while True:
            batching.await_turn(inbox.check)
            flight = _filled(model, batching, inbox)
            if not flight.frames:
                return
            yield flight

    return stage


def _filled(model: Model, batching: Batching, inbox: Inbox[Frame]) -> Flight:
    """Return the next flight, started; without frames at the end. What fails leaves no request taken."""
    from streamer.planes import scale_rgb

    taken: Counter[str] = Counter()
    frames = inbox.take(model.batch, share=batching.share, taken=taken)
    deadline = batching.deadline()
    flight, filled, passed_by, batch = Flight([], [], None), 0, 0, None
    try:
        while frames:
            for frame in frames:
                flight.frames.append(frame)
                if not batching.is_due(frame):
                    flight.rows.append(-1)
                    passed_by += frame.size[0] * frame.size[1]
                    continue
                batch = flight.batch = batch or _acquire(model, inbox)
                scale_rgb(frame.planes, batch.add(frame.size))
                flight.rows.append(filled)
                filled += 1
            if filled in (0, model.batch) or passed_by >= _PASSED_BY:
                break
            frames = inbox.take(model.batch - filled, deadline=deadline, share=batching.share, taken=taken)
        if batch:
            batch.submit()
            batching.submitted(filled)
    except BaseException:
        if batch:
            batch.release()
        raise
    return flight


def _acquire(model: Model, inbox: Inbox[Frame]) -> Batch:
    """Wait for a free request, but not beyond the end of the graph."""
    while (batch := model.acquire(timeout=PATIENCE)) is None:
        inbox.check()
    return batch


def collect(
    latency: Histogram, rates: Rates, batching: Batching, keys: Keys | None = None
) -> Stateful[Flight, Frame, Detections]:
    """Wait for the engine and give each frame its detections; one not inferred keeps those before it.

    `keys` is told of the results of a model for video.
    """

    def stage(inbox: Inbox[Flight], last: dict[str, Detections]) -> Iterator[Frame]:
        for flight in inbox:
            found = []
            if flight.batch:
                found = flight.batch.collect()
                batching.collected()
            for frame, row in zip(flight.frames, flight.rows, strict=True):
                if row >= 0:
                    frame.inferred = True
                    last[frame.stream] = found[row]
                    if keys is not None and flight.batch:
                        motion = flight.batch.motion
                        keys.note(frame, found[row], motion[row] if motion else 0.0)
                frame.detections = last.get(frame.stream, EMPTY)
                latency.add(rates.add(frame, time.monotonic()))
                yield frame

    return Stateful(stage)


def draw(overlays: list[Overlay], burst: int = 1) -> Callable[[Inbox[Frame]], Iterator[Frame]]:
    """Draw on a copy of each frame, of so many in a row."""
    from streamer.overlay import draw as draw_on

    def stage(inbox: Inbox[Frame]) -> Iterator[Frame]:
        while taken := _next(inbox, burst):
            yield draw_on(taken[0], overlays)

    return stage


def write(
    open_sink: Callable[[], Sink], on_closed: Callable[[], None], *, early: bool = False, burst: int = 1
) -> Callable[[Inbox[Frame]], Iterator[Frame]]:
    """Write each frame to a sink that is opened for the first one and closed whatever happens.

    A sink that raises Closed wants no more: `on_closed` is called and the stage ends in peace. `early`: open
    it before there is a frame. `burst`: frames for which it wakes, if they come soon.
    """

    def stage(inbox: Inbox[Frame]) -> Iterator[Frame]:
        first = [] if early else inbox.take(1)
        if not first and not early:
            return
        sink = open_sink()  # now, since a source that was away at the start is not known before
        try:
            yield from _written(inbox, sink, first or inbox.take(1), burst)
        except Closed:
            on_closed()
        finally:
            sink.close()

    return stage


def _written(inbox: Inbox[Frame], sink: Sink, frames: list[Frame], burst: int) -> Iterator[Frame]:
    """Write what comes; a sink to look at is served while nothing comes, too, one that `rests` in threes."""
    poll: Callable[[], None] | None = getattr(sink, "poll", None)
    while frames or not (poll is None or inbox.ended):
        for frame in frames:
            try:
                sink.write(frame)
            except Closed:
                inbox.lost(frame, "closed")
                raise
            yield frame
        if poll:
            if not frames:
                poll()
            frames = inbox.take(1, deadline=time.perf_counter() + _POLL)
        elif getattr(sink, "rests", False):
            frames = _next(inbox, _NAP, _LONGEST_NAP)
        else:
            frames = _next(inbox, burst)


def _next(inbox: Inbox[Frame], burst: int, patience: float = _GATHERING) -> list[Frame]:
    """Take one frame, none at the end; before an empty inbox sleep until so many are there, or so long."""
    if burst > 1 and not len(inbox):
        inbox.linger(burst, patience)
    return inbox.take(1)

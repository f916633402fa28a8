"""Then: a second model on what the first has found, filled with parts of the frames of all streams."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engines.detections import EMPTY, Detections
from engines.errors import InputError
from streamer.frame import Frame
from streamer.inbox import Inbox
from streamer.pairs import read_pairs
from streamer.stateful import Stateful

if TYPE_CHECKING:
    from engines.model import Batch, Model
    from engines.options import Options
    from engines.spec import ModelSpec

__all__ = ["Then", "options_for", "read_then", "then"]

_TAKEN = 4  # frames at a time


@dataclass(frozen=True, slots=True)
class Then:
    """A second model and what it is to see. Raises InputError for a value out of range."""

    model: str  # path, card or shipped name
    classes: tuple[str, ...] = ()  # names or numbers of the first model's classes, () = all
    conf: float = -1.0  # least score of what it finds, -1 = its own
    batch: int = 1  # parts that go through it together
    margin: float = 0.0  # how much larger than a box the part is, 0 = what suits the model

    def __post_init__(self) -> None:
        if not self.model:
            raise InputError("then: no model, would be MODEL[,classes=person+dog][,conf=][,batch=][,margin=]")
        from engines.options import LARGEST_BATCH

        ranges = (("conf", -1, 0.0, 1.0), ("batch", 1, 1, LARGEST_BATCH), ("margin", 0, 0.5, 10.0))
        for name, default, least, most in ranges:
            value = getattr(self, name)
            if value != default and not least <= value <= most:
                raise InputError(
                    f"then: {self.model}: {name}: {value:g}, {least:g} to {most:g} would be right"
                )


def read_then(text: str) -> Then:
    """Read ``MODEL[,key=value...]``: ``"reid.onnx,classes=person+dog,batch=8"``.

    Raises:
        InputError: an unknown key, or a value out of place.
    """
    model, *pairs = (word.strip() for word in text.split(","))
    return Then(model, **read_pairs(f"then: {model}", pairs, Then))


def options_for(told: Then, first: Options) -> Options:
    """Return how to run the second model: where and how exactly as the first one."""
    from engines.options import Options

    return Options(first.backend, first.device, first.precision, told.batch, conf=told.conf)


def then(model: Model, told: Then, first: ModelSpec) -> Stateful[Frame, Frame, Detections]:
    """Give detections what a second model says of them; frames keep their order.

    Parts of many frames and streams share a batch; one leaves before it is full once no frame waits. Frames
    between two inferred ones keep what those before them have.
    """
    from engines.options import chosen_classes

    chosen = chosen_classes(told.classes, first)
    wanted = np.array([label in chosen for label in range(len(first.classes))])

    def stage(inbox: Inbox[Frame], last: dict[str, Detections]) -> Iterator[Frame]:
        work = _Work(model, told.margin, (first, model.spec), wanted, last)
        while True:
            frames = inbox.take(_TAKEN, deadline=0.0 if work.waiting else None)
            if not frames and not work.waiting:
                return
            for frame in frames:
                work.add(frame)
            yield from work.done(hurry=not len(inbox))

    return Stateful(stage)


@dataclass(slots=True, eq=False)
class _Job:
    """A frame whose parts are on their way."""

    frame: Frame
    rows: NDArray[np.intp]
    rects: NDArray[np.intp]
    given: list[Detections | NDArray[np.float32]]  # of each row, in the order of rows
    left: int


@dataclass(slots=True, eq=False)
class _Flight:
    batch: Batch
    places: list[tuple[_Job, int]] = field(default_factory=list)


class _Work:
    """Frames that wait, and the batches of their parts."""

    def __init__(
        self,
        model: Model,
        margin: float,
        specs: tuple[ModelSpec, ModelSpec],
        wanted: NDArray[np.bool_],
        last: dict[str, Detections],
    ) -> None:
        self.waiting: deque[_Job] = deque()
        self._model, self._margin, self._specs, self._wanted = model, margin, specs, wanted
        self._open: _Flight | None = None
        self._flying: deque[_Flight] = deque()
        self._most = _TAKEN + 2 * model.batch * len(model.engine.requests)
        self._last = last  # of each stream

    def add(self, frame: Frame) -> None:
        """Put a frame's parts into batches; a full one leaves at once."""
        from engines.cascade import parts
        from streamer.planes import crop, scale_rgb

        found = frame.detections
        rows = np.flatnonzero(self._wanted[found.classes]) if frame.inferred else np.zeros(0, np.intp)
        rects = parts(found.boxes[rows], frame.size, self._specs[1], self._margin)
        job = _Job(frame, rows, rects, [EMPTY] * len(rows), len(rows))
        self.waiting.append(job)
        for place, (x1, y1, x2, y2) in enumerate(rects.tolist()):
            flight = self._room()
            scale_rgb(crop(frame.planes, (x1, y1, x2, y2)), flight.batch.add((x2 - x1, y2 - y1)))
            flight.places.append((job, place))
            if len(flight.places) == self._model.batch:
                self._depart()

    def done(self, *, hurry: bool) -> Iterator[Frame]:
        """Give the frames that are complete; in a ``hurry``, or where too many wait, wait for the first."""
        while self.waiting:
            if self.waiting[0].left:
                if not hurry and len(self.waiting) < self._most:
                    return
                if hurry or not self._flying:
                    self._depart()
                self._land()
                continue
            yield self._complete(self.waiting.popleft())

    def _room(self) -> _Flight:
        while self._open is None:
            batch = self._model.acquire(timeout=0.0 if self._flying else 60.0)
            if batch is None:
                self._land()
            else:
                self._open = _Flight(batch)
        return self._open

    def _depart(self) -> None:
        if self._open is not None:
            self._open.batch.submit()
            self._flying.append(self._open)
            self._open = None

    def _land(self) -> None:
        flight = self._flying.popleft()
        embeds = self._specs[1].task == "embed"
        given = flight.batch.collect_embeddings() if embeds else flight.batch.collect()
        for (job, place), one in zip(flight.places, given, strict=True):
            job.given[place] = one
            job.left -= 1

    def _complete(self, job: _Job) -> Frame:
        from engines.cascade import joined

        frame = job.frame
        if frame.inferred:
            given: Any = job.given
            if self._specs[1].task == "embed":
                given = np.array(given, np.float32).reshape(
                    len(given), self._model.engine.outputs[0].shape[1]
                )
            self._last[frame.stream] = joined(frame.detections, job.rows, job.rects, given, self._specs)
        frame.detections = self._last.get(frame.stream, EMPTY)
        return frame

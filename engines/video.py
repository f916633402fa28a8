"""Video: streams through a model of two graphs, one for key frames and one for the frames between.

A key frame leaves a state; each frame until the next one is computed from that state and its own picture.
States are the streams' own, stay where the engine runs, and are bounded in number.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from engines.detections import Detections
from engines.engine import Memory, StateEngine, StateRequest
from engines.errors import WorkError
from engines.pictures import check_picture

if TYPE_CHECKING:
    from engines.model import Batch, Model

__all__ = ["STREAMS", "Shots", "Video"]

STREAMS = 64  # whose states are kept; of more, the longest unused goes and its stream begins with a key frame

Picture = NDArray[np.uint8]


@dataclass(slots=True, eq=False)
class _State:
    """What one key frame leaves; the next one makes another, so that nothing in flight is overwritten."""

    memory: Memory
    users: int = 1  # batches that write or read it, and its stream
    ready: bool = False  # the key frame is computed
    error: BaseException | None = None  # why it never will be


class Video:
    """Both graphs of a model and the states of its streams.

    As with `engines.model.Model`, one thread acquires, adds and submits, one collects, in the same order.
    """

    def __init__(self, key: Model, between: Model, *, streams: int = STREAMS) -> None:
        self.key, self.between = key, between
        self.limit = streams
        self._engine = cast("StateEngine", between.engine)
        self._spare = self._engine.memory()  # of rows that no picture fills
        self._free: list[Memory] = []
        self._states: dict[str, _State] = {}  # of each stream, the last used last
        self._waiting: list[Shots] = []  # for key frames that are being computed
        self._lock = threading.Lock()

    def acquire(self, *, key: bool, timeout: float | None = None) -> Shots | None:
        """Return an empty batch for key frames or for frames between, None after ``timeout`` seconds."""
        model = self.key if key else self.between
        batch = model.acquire() if timeout is None else model.acquire(timeout)
        return None if batch is None else Shots(self, batch, key=key)

    def knows(self, stream: str) -> bool:
        """Whether a stream has a state, so that its next frame may be one between."""
        return stream in self._states

    def forget(self, stream: str) -> None:
        """Drop the state of a stream, from any thread; what is in flight with it is still right."""
        with self._lock:
            state = self._states.pop(stream, None)
            if state is not None:
                self._let_go(state)

    def predict(self, image: Picture, stream: str, *, key: bool) -> Detections:
        """Detect in the next frame of a stream, RGB (H, W, 3) uint8, alone, with nothing else in flight.

        Raises InputError for what is no such picture, WorkError as of `Shots.add` and `Shots.collect`.
        """
        from engines.model import scale

        check_picture(image, f"stream {stream}")
        shots = self.acquire(key=key)
        if shots is None:
            raise AssertionError("without a time-out there is a batch")
        try:
            scale(image, shots.add((image.shape[1], image.shape[0]), stream))
            shots.submit()
        except BaseException as error:
            shots.release(error)
            raise
        return shots.collect()[0]

    def close(self) -> None:
        """Free what frames between need."""
        self.between.close()

    def _begin(self, stream: str) -> _State:
        """Give a stream a new state for the key frame that is to be computed."""
        with self._lock:
            old = self._states.pop(stream, None)
            if old is None and len(self._states) >= self.limit:
                old = self._states.pop(next(iter(self._states)))
            if old is not None:
                self._let_go(old)
            state = _State(self._free.pop() if self._free else self._engine.memory(), users=2)
            self._states[stream] = state
            return state

    def _use(self, stream: str) -> _State:
        with self._lock:
            if stream not in self._states:
                raise WorkError(f"stream {stream}: it has no key frame yet that a frame between could follow")
            state = self._states[stream] = self._states.pop(stream)
            state.users += 1
            return state

    def _let_go(self, state: _State) -> None:
        """One user less; the lock is held."""
        state.users -= 1
        if not state.users:
            self._free.append(state.memory)

    def _start(self, shots: Shots) -> None:
        """Start a batch, or let it wait for the key frames that it follows."""
        with self._lock:
            if shots.is_key:
                shots.start()
                return
            self._waiting.append(shots)
            self._start_ready()

    def _computed(self, states: Sequence[_State], error: BaseException | None = None) -> None:
        """Start what waited for these key frames."""
        with self._lock:
            for state in states:
                state.ready, state.error = error is None, error
            self._start_ready()

    def _start_ready(self) -> None:
        """Start what has nothing left to wait for; the lock is held."""
        for shots in tuple(self._waiting):
            failed = next((state.error for state in shots.states if state.error), None)
            if failed or all(state.ready for state in shots.states):
                self._waiting.remove(shots)
                try:
                    shots.start(failed)
                except Exception as error:  # whoever collects these is to hear of it, not who is here now
                    shots.start(error)

    def _done(self, shots: Shots) -> None:
        """Let go of what a batch used; one that still waits never starts."""
        with self._lock:
            if shots in self._waiting:
                self._waiting.remove(shots)
            for state in shots.states:
                self._let_go(state)


class Shots:
    """A batch of key frames, or of frames between, being filled: of any streams, each with its own state."""

    def __init__(self, video: Video, batch: Batch, *, key: bool) -> None:
        self.is_key = key
        self.states: list[_State] = []
        self.motion: list[float] = []  # after `collect`: how far each moved since its key frame, see `Batch`
        self._video, self._batch = video, batch
        self._request = cast("StateRequest", batch.request)
        self._started = False
        self._error: BaseException | None = None

    def add(self, size: tuple[int, int], stream: str) -> Picture:
        """Take the next place for a frame of ``size`` (width, height) of a stream; see `Batch.add`.

        Of one stream either one key frame or frames between. Raises WorkError for a frame between of a stream
        that has no state.
        """
        state = self._video._begin(stream) if self.is_key else self._video._use(stream)
        self.states.append(state)
        return self._batch.add(size)

    def submit(self) -> None:
        """Start the engine, or have it started once the key frames that these follow are computed."""
        for row in range(self._video.key.batch):
            memory = self.states[row].memory if row < len(self.states) else self._video._spare
            self._request.bind(row, memory)
        self._video._start(self)

    def start(self, failed: BaseException | None = None) -> None:
        """Start now; with an error, never."""
        self._started, self._error = failed is None, failed
        if self._started:
            self._request.start()

    def collect(self) -> list[Detections]:
        """Wait, and return the detections of each frame added, in its own pixels; frees the batch.

        Raises WorkError where a key frame that these follow failed, or was not collected before.
        """
        try:
            self._wait()
        except BaseException as error:
            self.release(error)
            raise
        try:
            found = self._batch.collect()
            self.motion = self._batch.motion
            return found
        finally:
            self._video._done(self)

    def release(self, why: BaseException) -> None:
        """Give the batch back empty, as `collect` does after an error; what follows its key frames fails."""
        if self.is_key:
            self._video._computed(self.states, why)
        self._video._done(self)
        self._batch.release()

    def _wait(self) -> None:
        """Wait for key frames, and start what follows them before the results are read."""
        if not self._started:
            raise WorkError("video: the key frame before it was not computed") from self._error
        if self.is_key:
            self._request.wait()
            self._video._computed(self.states)

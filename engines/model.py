"""Model: a spec and an engine together, pictures in and detections out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from engines.backends import Progress, silent
from engines.detections import Detections
from engines.engine import Engine, Request
from engines.errors import InputError
from engines.letterbox import Placement, place
from engines.options import Options
from engines.pictures import check_picture
from engines.reading import Reading
from engines.spec import ModelSpec

if TYPE_CHECKING:
    from types import TracebackType

    from engines.video import Video

__all__ = ["Batch", "Model", "load"]

Picture = NDArray[np.uint8]
Result = TypeVar("Result")


def load(model: str | Path, options: Options | None = None, progress: Progress = silent) -> Model:
    """Open a model: a path (.onnx, or a .yaml card) or the name of a shipped one.

    ``progress(fraction, phase)`` hears of compilers that take long, -1 while the fraction is unknown; False
    from it ends the work.

    Raises InputError for what is missing, damaged, of unknown layout, or cannot be had on this machine.
    """
    from engines.compile import compile_model

    options = Options() if options is None else options
    if not isinstance(options, Options):
        raise InputError(f"options: {type(options).__name__}, engines.Options(...) is right")
    try:
        compiled = compile_model(model, options, progress)
    except MemoryError as error:
        large = f"batch: {options.batch}" if options.batch > 1 else f"model: {model}"
        raise InputError(f"{large}: too much for this machine's memory, a smaller one is right") from error
    with ExitStack() as on_failure:
        on_failure.callback(compiled.engine.close)
        loaded = Model(compiled.spec, compiled.engine, options, compiled.notes)
        if compiled.between is not None:
            from engines.video import Video

            on_failure.callback(compiled.between.close)
            loaded.video = Video(loaded, Model(compiled.spec, compiled.between, options))
        on_failure.pop_all()
    return loaded


class Model:
    """A model ready to run.

    `predict` and `embed` may be called by many threads at once. `acquire`, `add` and `submit` belong to one
    thread, `collect` to one, maybe another, in the same order.
    """

    def __init__(
        self, spec: ModelSpec, engine: Engine, options: Options, notes: tuple[str, ...] = ()
    ) -> None:
        self.spec, self.engine, self.options = spec, engine, options
        self.batch = engine.inputs[0].shape[0]
        self.notes = notes  # what was chosen and why, one sentence each
        self.video: Video | None = None  # of a model for video; without it every picture is a key frame
        self._reading = Reading(spec, options)
        self._closed = False
        self._free: SimpleQueue[Batch | None] = SimpleQueue()  # None wakes who waits when it is closed
        for request in engine.requests:
            self._free.put(Batch(request, self))

    @overload
    def acquire(self) -> Batch: ...
    @overload
    def acquire(self, timeout: float | None) -> Batch | None: ...
    def acquire(self, timeout: float | None = None) -> Batch | None:
        """Return an empty batch; waits until a request is free, or at most ``timeout`` seconds: then None.

        Raises InputError where the model is closed, before or meanwhile.
        """
        self._must_be_open()
        try:
            batch = self._free.get(timeout=timeout)
        except Empty:
            return None
        if batch is None:
            self._free.put(None)  # for the next one that waits
        self._must_be_open()
        return batch

    def predict(self, images: Iterable[Picture]) -> list[Detections]:
        """Detect in RGB pictures (H, W, 3) uint8 of any sizes; one `Detections` each, in its own pixels.

        Raises InputError for what is no such picture, and for a model that gives embeddings.
        """
        self._must_give("detections")
        return [found for part in self._fly(images, Batch.collect) for found in part]

    def embed(self, images: Iterable[Picture]) -> NDArray[np.float32]:
        """Describe RGB pictures (H, W, 3) uint8 by vectors of length one: (N, D) float32.

        The product of two is their cosine. One that is no finite numbers is zeros, and counted as `invalid`.
        Raises InputError for what is no such picture, and for a model that detects.
        """
        self._must_give("embeddings")
        vectors = self._fly(images, Batch.collect_embeddings)
        width = self.engine.outputs[0].shape[1]
        return np.concatenate([np.zeros((0, width), np.float32), *vectors])

    @property
    def invalid(self) -> int:
        """How many candidates, and vectors, were no finite numbers so far."""
        return self._reading.invalid + (self.video.between.invalid if self.video else 0)

    def _must_give(self, what: str) -> None:
        gives = "embeddings" if self.spec.task == "embed" else "detections"
        if gives != what:
            raise InputError(
                f"model: {self.spec.name}: it gives {gives}, a model that gives {what} is needed"
            )

    def _must_be_open(self) -> None:
        if self._closed:
            raise InputError(f"model: {self.spec.name}: it is closed, load it again")

    def _fly(self, images: Iterable[Picture], collect: Callable[[Batch], Result]) -> list[Result]:
        """Run pictures, batch after batch, and collect each; after an error no batch stays in flight."""
        self._must_be_open()
        pictures = _checked(images)
        flying: deque[Batch] = deque()
        results: list[Result] = []
        try:
            for start in range(0, len(pictures), self.batch):
                # Nobody waits for a request while holding others: two that did would wait for each other.
                while (batch := self.acquire(timeout=0.0 if flying else None)) is None:
                    results.append(collect(flying.popleft()))
                flying.append(_submitted(batch, pictures[start : start + self.batch]))
            while flying:
                results.append(collect(flying.popleft()))
        finally:
            for batch in flying:
                with suppress(Exception):  # the first error is the one that is told
                    collect(batch)
        return results

    def close(self) -> None:
        """Wait for what is in flight and free the device."""
        self._closed = True
        self._free.put(None)
        self.engine.close()
        if self.video is not None:  # its memory is written by key frames in flight
            self.video.close()

    def __repr__(self) -> str:
        name, size = self.spec.name, "x".join(map(str, self.spec.size))
        return (
            f"Model({name!r} {self.spec.task} {size} batch {self.batch}{', closed' if self._closed else ''})"
        )

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Batch:
    """One request being filled: pictures are written straight into the engine's input buffer."""

    def __init__(self, request: Request, model: Model) -> None:
        self._request, self._model, self._reading = request, model, model._reading
        (self._pixels,) = request.inputs.values()
        self._pixels[...] = model.spec.pad
        # What each slot holds, and its border fits.
        self._laid = [Placement((0, 0), (0, 0), 0, 0)] * len(self._pixels)
        self._filled = 0
        self.motion: list[float] = []  # of each picture collected last, in shares of its size; see `Video`

    def __repr__(self) -> str:
        return f"Batch({self._filled} of {len(self._laid)} for {self._model.spec.name!r})"

    @property
    def request(self) -> Request:
        """What is started."""
        return self._request

    def add(self, size: tuple[int, int]) -> Picture:
        """Take the next slot for a picture of ``size`` (width, height).

        Returns the view (h, w, 3) uint8 RGB to write the scaled picture into; the padding around it is done.
        Raises IndexError where every slot is taken.
        """
        slot = self._filled
        if slot == len(self._laid):
            raise IndexError(f"batch: all of its {slot} slots are taken, submit it first")
        placement, pixels = self._laid[slot], self._pixels[slot]
        if placement.source != size:
            placement = self._laid[slot] = place(size, self._reading.spec.size, self._reading.spec.resize)
            pixels[...] = self._reading.spec.pad
        (width, height), left, top = placement.size, placement.left, placement.top
        self._filled += 1
        view: Picture = pixels[top : top + height, left : left + width]
        return view

    def submit(self) -> None:
        """Start the engine and return at once; slots left empty are ignored, and cost nothing if it can.

        Raises InputError where the model was closed meanwhile.
        """
        self._model._must_be_open()
        self._request.start(self._filled)

    def collect(self) -> list[Detections]:
        """Wait, and return the detections of each picture added, in its own pixels; frees the batch."""
        try:
            outputs = dict(self._request.wait())
            moved = outputs.pop("motion", None)
            self.motion = [] if moved is None else moved[: self._filled].tolist()
            return self._reading.batch(outputs, self._laid[: self._filled])
        finally:
            self.release()

    def collect_embeddings(self) -> NDArray[np.float32]:
        """Wait, and return the vector of each picture added, (n, D), each of length one; frees the batch.

        What is no finite numbers is counted and becomes zeros, which say that nothing is known.
        """
        try:
            given = self._request.wait()["embeddings"][: self._filled]
            sound = np.isfinite(given).all(axis=1)
            self._reading.invalid += int(np.count_nonzero(~sound))
            vectors = np.where(sound[:, None], given, np.float32(0))
            # The graph has done this in its own precision: bf16 leaves lengths of .999 to 1.001.
            lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
            return np.asarray(vectors / lengths, np.float32)
        finally:
            self.release()

    def release(self) -> None:
        """Give the batch back empty where it is not submitted; `collect` does it by itself."""
        self._filled = 0
        self._model._free.put(self)


def _checked(images: object) -> list[Picture]:
    """All of them, once each is known to be a picture."""
    if isinstance(images, np.ndarray) and images.ndim in (2, 3):
        raise InputError(f"pictures: one array {images.shape}, a list of RGB pictures is right")
    if isinstance(images, str | bytes) or not isinstance(images, Iterable):
        raise InputError(f"pictures: {type(images).__name__}, a list of RGB pictures is right")
    pictures = list(images)
    for number, image in enumerate(pictures):
        check_picture(image, f"picture {number}")
    return pictures


def _submitted(batch: Batch, pictures: list[Picture]) -> Batch:
    """The batch with these pictures, under way."""
    try:
        for image in pictures:
            scale(image, batch.add((image.shape[1], image.shape[0])))
        batch.submit()
    except BaseException:
        batch.release()
        raise
    return batch


def scale(image: Picture, view: Picture) -> None:
    """Write a picture into what `Batch.add` gave for it."""
    import cv2

    cv2.resize(image, (view.shape[1], view.shape[0]), dst=view, interpolation=cv2.INTER_LINEAR)

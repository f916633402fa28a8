"""Compilation: from the user's word for a model to a spec and an engine that has shown that it is right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from engines import cache
from engines.backends import Build, Opener, Progress, missing, opener, select_backends, silent
from engines.engine import Engine, StateEngine
from engines.errors import CancelledError, InputError, WorkError
from engines.files import check_place
from engines.locate import Located, locate
from engines.options import Options
from engines.parity import Difference, Pair, compare, pictures
from engines.spec import ModelSpec

if TYPE_CHECKING:
    from engines.network import Network

__all__ = ["Compiled", "Prepared", "compile_model", "prepare"]

_PICTURES = 3  # rendered for a proof
_TOGETHER = 4  # small pictures, where the batch is to be chosen
_CLEARED = 3  # times that a cache may be cleared while something is compiled into it
_SMALL = 1 << 17  # pixels: of larger ones as many are computed one by one


@dataclass(frozen=True, slots=True)
class Compiled:
    """What `engines.model.Model` is made of."""

    spec: ModelSpec
    engine: Engine
    notes: tuple[str, ...]  # what was chosen and why, one sentence each
    between: StateEngine | None = None  # of a model for video: for frames between key frames


def compile_model(model: str | Path, options: Options, progress: Progress = silent) -> Compiled:
    """Find, understand, compose, compile and prove a model; what was done before comes from the cache.

    Two things are proved on rendered pictures, once for each model, backend, version and device: that reduced
    precision, where nobody asked for it, changes no detection; and that the pictures of a batch do not mix.
    What fails its proof is not used, and a note says so. ``progress(fraction, phase)`` hears of compilers
    that take long; False from it ends the work with WorkError.
    """
    return _compile_located(locate(model), options, progress)


def _compile_located(located: Located, options: Options, progress: Progress) -> Compiled:
    choice = _Choice(select_backends(options.backend, options.device))
    work = _Work(located, choice, progress, choice.notes.append)
    options = options if options.batch else replace(options, batch=_fast_batch(work, options))
    try:
        compiled = _compile(work, options)
    except WorkError as error:
        if options.batch == 1 or isinstance(error, CancelledError):
            raise
        compiled = _one_by_one(work, options, str(error))
    return replace(compiled, notes=(choice.note, *compiled.spec.notes, *compiled.notes, *choice.notes))


@dataclass(frozen=True, slots=True)
class Prepared:
    """A model that was compiled into the cache, so that the next start finds it there."""

    spec: ModelSpec
    backend: str
    version: str  # of the backend
    device: str  # that it was opened on; for what was not opened, what it is for
    precision: str
    batch: int
    folder: Path  # of the cache
    notes: tuple[str, ...]


def prepare(
    model: str | Path, options: Options, progress: Progress = silent, layers: Path | None = None
) -> Prepared:
    """Compile a model, prove it and let go of it.

    ``layers`` is a file for what the backend tells of each layer of the compiled network, as JSON; InputError
    where it does not tell. TensorRT for RTX compiles without a GPU as well: then nothing is proved.
    """
    located = locate(model)
    if layers:
        check_place(layers, "layers", located.sources)
    if options.backend == "tensorrt_rtx" and find_spec("tensorrt_rtx") and missing("tensorrt_rtx"):
        if layers:
            raise InputError("layers: tensorrt_rtx tells of them on a machine with an NVIDIA GPU only")
        return _only_compiled(located, options, progress)
    compiled = _compile_located(located, options, progress)
    engine = compiled.engine
    if compiled.between is not None:
        compiled.between.close()
    batch = engine.inputs[0].shape[0]
    where = cache.entry(located, replace(options, batch=batch)).path
    told = (engine.backend, engine.version, engine.device, engine.precision, batch, where, compiled.notes)
    text = engine.layers() if layers else ""
    engine.close()
    if layers:
        _write_layers(text, layers, engine.backend)
    return Prepared(compiled.spec, *told)


def _write_layers(text: str, path: Path, backend: str) -> None:
    if not text:
        raise InputError(f"layers: {backend} does not tell of them; tensorrt, tensorrt_rtx and openvino do")
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"layers: {path}: {error.strerror}, a file that can be written is right") from error


def _only_compiled(located: Located, options: Options, progress: Progress) -> Prepared:
    from engines.backends.tensorrt import compile_plan

    options = replace(options, batch=options.batch or 1)
    notes: list[str] = []
    entry, spec = _stored(located, options, notes.append)
    how = (options.device, options.precision, options.batch, options.requests)
    if spec.between:
        other = _stored_between(located, spec, options, notes.append)
        compile_plan(Build(other.model, *how, progress, notes.append))
    plan = compile_plan(Build(entry.model, *how, progress, notes.append))
    notes.append("not proved: there is no NVIDIA GPU to run it on")
    told = ("tensorrt_rtx", plan.version, "every RTX GPU", plan.precision, options.batch, entry.path)
    return Prepared(spec, *told, tuple(notes))


class _Choice:
    """The first of some backends that opens the model; it is the one from then on."""

    def __init__(self, tried: list[tuple[str, str]]) -> None:
        self._left = tried
        self.notes: list[str] = []

    @property
    def backend(self) -> str:
        """The one that is tried next, or was chosen."""
        return self._left[0][0]

    @property
    def note(self) -> str:
        """What was chosen and why."""
        return f"backend {self.backend}: {self._left[0][1]}"

    def open(self, build: Build) -> Engine:
        """Open with the first that can; where none can, the error of the first is the answer."""
        refused: list[InputError | WorkError] = []
        for place, (backend, _) in enumerate(self._left):
            try:
                engine = opener(backend)(build)
                _try_out(engine, build)
            except CancelledError:
                raise
            except (InputError, WorkError) as error:
                refused.append(error)
                continue
            passed = zip(self._left, refused, strict=False)
            self.notes += [f"backend {name} is not used: {error}" for (name, _), error in passed]
            self._left = [self._left[place]]
            return engine
        raise refused[0]


def _try_out(engine: Engine, build: Build) -> None:
    """Run it once, where it has never run: some graphs load and fail only then. Raises WorkError."""
    entry = cache.Entry(build.model.parent)
    question = f"runs {_identity(engine)} {engine.precision}"
    if entry.recall(question):
        return
    try:
        request = engine.requests[0]
        request.start()
        rows = {name: len(values) for name, values in request.wait().items()}
        if set(rows.values()) != {build.batch}:
            raise WorkError(f"{engine.backend}: of {build.batch} pictures it gives {rows}")
    except WorkError:
        engine.close()
        raise
    entry.remember(question, "yes")


@dataclass(frozen=True, slots=True)
class _Work:
    """What stays the same while options are tried."""

    located: Located
    choice: _Choice
    progress: Progress
    tell: Callable[[str], object]


def _fast_batch(work: _Work, options: Options) -> int:
    """How many pictures together give most per second: several small ones on OpenVINO, else one.

    ONNX Runtime computes as many either way. Those that compile for minutes are not asked for a batch that
    nobody asked for: an engine compiled beforehand would not be found.
    """
    if work.choice.backend != "openvino":
        return 1
    located = work.located
    kept = (cache.entry(located, replace(options, batch=batch)).spec() for batch in (_TOGETHER, 1))
    spec = next((spec for spec in kept if spec), None) or _understood(located, options)[1]
    width, height = spec.size
    return _TOGETHER if width * height <= _SMALL and not spec.between else 1


def _compile(work: _Work, options: Options) -> Compiled:
    """Compile, and again where somebody clears the cache meanwhile."""
    for left in reversed(range(_CLEARED)):
        entry, spec = _stored(work.located, options, work.tell)
        try:
            return _compiled(work, options, entry, spec)
        except (FileNotFoundError, WorkError) as error:
            if entry.model.exists():
                raise
            if not left:
                raise WorkError(f"{entry.path.parent}: it is cleared again and again: {error}") from error
        work.tell("composed again: the cache was cleared meanwhile")
    raise AssertionError("the last time either gives an engine or raises")


def _compiled(work: _Work, options: Options, entry: cache.Entry, spec: ModelSpec) -> Compiled:
    how = (options.device, options.precision, options.batch, options.requests)
    build = Build(entry.model, *how, work.progress, work.tell)
    made = _Made(work.choice.backend, work.choice.open, build)
    if spec.between:
        other = _stored_between(work.located, spec, options, work.tell)
        made = replace(made, other=replace(build, model=other.model))
    engines, note = _as_before(made, entry) or _opened(made, entry, spec)
    if spec.between and engines.between is None:
        engines.close()
        compiled = _compile(work, replace(options, video=False))
        why = f"key frames only: {engines.key.backend} keeps no state for the frames between"
        return replace(compiled, notes=(*compiled.notes, why))
    if options.batch > 1:
        answer = _ask(entry, "batch", engines, lambda: _slot_by_slot(engines, spec))
        if answer.startswith("refused"):
            engines.close()
            return _one_by_one(work, options, answer)
    return Compiled(spec, engines.key, (note,), engines.between)


@dataclass(frozen=True, slots=True)
class _Made:
    """How the graphs of one model are opened."""

    backend: str  # that is tried first
    open_engine: Opener
    key: Build
    other: Build | None = None  # of frames between key frames

    def open(self, **how: Any) -> Pair:
        """Compile all there is, ``how`` in place of what the builds say."""
        key = self.open_engine(replace(self.key, **how))
        if self.other is None or not hasattr(key, "memory"):
            return Pair(key)
        try:
            return Pair(key, cast("StateEngine", self.open_engine(replace(self.other, **how))))
        except BaseException:
            key.close()
            raise


def _opened(made: _Made, entry: cache.Entry, spec: ModelSpec) -> tuple[Pair, str]:
    """The engines, and why they have their precision; what nobody asked for is proved, else it is fp32."""
    engines, build = made.open(), made.key
    precision = engines.key.precision
    if build.precision != "auto":
        return engines, f"precision {precision}: asked for"
    if precision == "fp32":
        return engines, "precision fp32: nothing less here"
    answer = _ask(entry, "precision", engines, lambda: _like_fp32(engines, made, spec))
    if not answer.startswith("refused"):
        return engines, f"precision {precision}: native here; against fp32, {answer}"
    note = f"precision fp32: {precision} is {answer}"
    entry.remember(_refusal(made), f"{_identity(engines.key)}: {note}")
    engines.close()
    return made.open(precision="fp32"), note


def _as_before(made: _Made, entry: cache.Entry) -> tuple[Pair, str] | None:
    """What `_opened` came to where it refused, without opening again what was refused."""
    told = entry.recall(_refusal(made)) if made.key.precision == "auto" else None
    if told is None:
        return None
    engines = made.open(precision="fp32")
    known = f"{_identity(engines.key)}: "
    if told.startswith(known):
        return engines, told.removeprefix(known)
    engines.close()  # refused on another device, or by another version
    return None


def _refusal(made: _Made) -> str:
    """The question that is asked before anything is opened, of each backend apart."""
    return f"precision refused by {made.backend} on device {made.key.device}"


def _identity(engine: Engine) -> str:
    return f"{engine.backend} {engine.version} {engine.device}"


def _one_by_one(work: _Work, options: Options, reason: str) -> Compiled:
    compiled = _compile(work, replace(options, batch=1))
    note = f"batch 1 instead of {options.batch}: the network does not take batches ({reason})"
    return replace(compiled, notes=(*compiled.notes, note))


def _stored(
    located: Located, options: Options, tell: Callable[[str], object]
) -> tuple[cache.Entry, ModelSpec]:
    """The composed model, from the cache or made now."""
    entry = cache.entry(located, options)
    if entry.drop_if_damaged():
        tell("composed again: what the cache held is damaged")
    return entry, entry.spec() or _compose(located, options, entry)


def _compose(located: Located, options: Options, entry: cache.Entry) -> ModelSpec:
    network, spec = _understood(located, options)
    _store(entry, located, (network, spec), options)
    return spec


def _store(entry: cache.Entry, located: Located, model: tuple[Network, ModelSpec], options: Options) -> None:
    """Compose what was read of the files, and keep it unless they have changed since."""
    from engines.compose import compose

    composed = compose(*model, options)
    located.check_same()
    entry.store(composed, model[1])


def _understood(located: Located, options: Options) -> tuple[Network, ModelSpec]:
    from engines.network import read_network
    from engines.resolve import resolve

    network, spec = resolve(read_network(located.model), located)
    if not options.video:
        network, spec = replace(network, state=()), replace(spec, between="", state=())
    return network, spec


def _stored_between(
    located: Located, spec: ModelSpec, options: Options, tell: Callable[[str], object]
) -> cache.Entry:
    """The composed graph for frames between key frames, from the cache or made now."""
    entry = cache.entry(located, options, "between")
    if entry.drop_if_damaged():
        tell("composed again: what the cache held is damaged")
    if entry.spec() is None:
        from engines.network import read_network
        from engines.resolve import resolve_between

        network = resolve_between(read_network(located.model), spec, located)
        if network is None:
            raise AssertionError("a spec that names a file for frames between comes from one")
        _store(entry, located, (network, spec), options)
    return entry


def _ask(
    entry: cache.Entry, subject: str, engines: Pair, prove: Callable[[], tuple[bool, Difference]]
) -> str:
    """Return what was proved of engines of this kind, now or before: "ok: ..." or "refused: ..."."""
    question = f"{subject} {_identity(engines.key)} {engines.key.precision}"
    answer = entry.recall(question)
    if answer is None:
        try:
            passed, difference = prove()
        except BaseException:  # nobody else has them yet
            engines.close()
            raise
        answer = f"{'ok' if passed else 'refused'}: {difference}"
        entry.remember(question, answer)
    return answer


def _like_fp32(engines: Pair, made: _Made, spec: ModelSpec) -> tuple[bool, Difference]:
    images = pictures(spec.size, _PICTURES)
    how: dict[str, Any] = {"precision": "fp32", "requests": 1}
    if engines.key.backend.startswith("tensorrt"):  # another plan would take minutes and share its errors
        made = replace(made, open_engine=opener("onnxruntime"))
        how["device"] = "cpu"
    exact = made.open(**how)
    try:
        reference = exact.outputs(images)
    finally:
        exact.close()
    difference = compare(reference, engines.outputs(images), spec.size)
    return difference.small, difference


def _slot_by_slot(engines: Pair, spec: ModelSpec) -> tuple[bool, Difference]:
    """Run pictures again, elsewhere in the batch with other neighbours, one of them black; and one alone."""
    batch = engines.key.inputs[0].shape[0]
    images = pictures(spec.size, _PICTURES)
    row = [images[slot % _PICTURES] for slot in range(batch)]
    moved = engines.outputs([*row[1:], np.zeros_like(row[0])])
    kinds = len(moved) // batch  # key frames, then frames between
    first = engines.outputs(row)
    mine = [first[kind * batch + slot] for kind in range(kinds) for slot in range(1, batch)]
    theirs = [moved[kind * batch + slot] for kind in range(kinds) for slot in range(batch - 1)]
    if engines.between is None:
        mine, theirs = [*mine, first[0]], [*theirs, *engines.outputs(row[:1])]
    difference = compare(mine, theirs, spec.size)
    return difference.none, difference

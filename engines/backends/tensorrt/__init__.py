"""TensorRT, from 8.5 to 11, and TensorRT for RTX: one code path for plans on an NVIDIA GPU."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from engines import cache
from engines.backends import Build
from engines.backends.cuda import Device, find_driver
from engines.backends.tensorrt.binding import Binding, load_binding
from engines.backends.tensorrt.builder import Profile, Recipe
from engines.backends.tensorrt.child import build_in_child
from engines.backends.tensorrt.session import Session, Slot
from engines.engine import Memory, Request
from engines.errors import InputError, WorkError
from engines.files import locked, write_whole
from engines.plans import LAYOUT, find_plan, keep_plan, plan_path

__all__ = ["Compiled", "TensorRtEngine", "compile_plan", "open_engine", "open_rtx_engine"]

_REQUESTS = 2  # one is copied and read while the other computes


@dataclass(frozen=True, slots=True)
class Compiled:
    """A plan in the cache."""

    path: Path
    plan: bytes
    version: str  # of the library
    precision: str
    fresh: bool  # made just now


def open_engine(build: Build) -> TensorRtEngine:
    """Compile with TensorRT, or take from the cache; InputError for what cannot be had."""
    return _open("tensorrt", build)


def open_rtx_engine(build: Build) -> TensorRtEngine:
    """Compile with TensorRT for RTX, or take from the cache; InputError for what cannot be had."""
    return _open("tensorrt_rtx", build)


def compile_plan(build: Build) -> Compiled:
    """Compile for every RTX GPU, on a machine that need not have one."""
    return _compiled(load_binding("tensorrt_rtx"), build, None)


class TensorRtEngine:
    """A plan, and its requests in flight; see `engines.engine.Engine`."""

    def __init__(self, session: Session, precision: str, slots: tuple[Slot, ...]) -> None:
        self.backend, self.version = session.binding.name, session.binding.version
        self.device, self.precision = session.device.info.name, precision
        self.inputs, self.outputs = slots[0].tensors()
        self.requests: tuple[Request, ...] = slots
        self._session = session

    def memory(self) -> Memory:
        """Return room for one stream's state on the GPU, by its addresses."""
        self._session.device.use()
        sizes = self._session.state_bytes()
        return {name: self._session.device.memory(size) for name, size in sizes.items()}

    def layers(self) -> str:
        """What TensorRT tells of every layer, as JSON."""
        return self._session.layers()

    def close(self) -> None:
        """Wait for what is in flight and free the GPU's memory, once."""
        if not self.requests:
            return
        self.requests = ()
        self._session.close()
        self._session.device.close()


def _open(backend: str, build: Build) -> TensorRtEngine:
    binding, library = load_binding(backend), find_driver()
    if library is None:
        raise InputError(f"backend: {backend}: no NVIDIA GPU that this machine's driver reaches")
    with ExitStack() as on_failure:
        device = Device(_index(build.device), library)
        on_failure.callback(device.close)
        session, compiled = _session(binding, build, device)
        on_failure.callback(session.close)
        kernels = compiled.path.with_suffix(".kernels")
        session.load_kernels(kernels)
        count = build.requests or _REQUESTS
        shapes = session.open_shapes(build.batch)
        slots = tuple(session.slot(shapes, sleep=count > 1) for _ in range(count))
        _keep_kernels(session, kernels)
        on_failure.pop_all()
    if slots[0].no_graph:
        build.tell(f"without CUDA graph: {slots[0].no_graph}")
    return TensorRtEngine(session, compiled.precision, slots)


def _session(binding: Binding, build: Build, device: Device) -> tuple[Session, Compiled]:
    """A session of a plan that this GPU takes: one of the cache, or a new one, or one for it alone."""
    for place in (None, device) if binding.rtx else (device,):
        for _ in range(2):
            compiled = _compiled(binding, build, place)
            try:
                return Session(binding, compiled.plan, device), compiled
            except WorkError as error:
                refused = error
                compiled.path.unlink(missing_ok=True)
            if compiled.fresh:
                break
            build.tell(f"compiled again: {refused}")
    raise refused


def _compiled(binding: Binding, build: Build, device: Device | None) -> Compiled:
    """The plan for one GPU, or for every RTX GPU, from the cache or made by one process at a time."""
    if build.model.suffix != ".onnx":
        raise InputError(f"backend: {binding.name}: it reads no OpenVINO IR (.xml), backend openvino does")
    model = build.model.read_bytes()
    precision = _precision(build, model)
    parts = {
        "backend": binding.name,
        "version": binding.version,
        "device": device.info.name if device else "every RTX GPU",
        "capability": ".".join(map(str, device.info.capability)) if device else "8.0 and newer",
        "precision": precision,
        "shapes": f"batch {build.batch}"
        + ("" if binding.shares_profiles else f", {_contexts(build)} contexts"),
        "model": hashlib.sha256(model).hexdigest(),
        "layout": LAYOUT,
    }
    folder = build.model.parent
    path = plan_path(folder, parts)
    plan, _ = find_plan(path, parts)
    if plan:
        return Compiled(path, plan, binding.version, precision, fresh=False)
    with locked(folder, lambda: build.progress(-1, "waiting for another process that compiles it")):
        plan, why = find_plan(path, parts)
        if plan:
            return Compiled(path, plan, binding.version, precision, fresh=False)
        if why:
            build.tell(f"compiled again: {why}")
        plan = _make(binding, build, path, parts)
    return Compiled(path, plan, binding.version, precision, fresh=True)


def _make(binding: Binding, build: Build, path: Path, parts: dict[str, str]) -> bytes:
    """Build aside and put in place; whatever happens, nothing half-written stays."""
    for left in path.parent.glob("making-*"):  # by a process that was killed: the lock is ours
        shutil.rmtree(left, ignore_errors=True)
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="making-", dir=path.parent) as aside:
            model, profiles = _typed(build, parts["precision"], Path(aside))
            recipe = Recipe(
                model,
                parts["precision"],
                profiles,
                _contexts(build),
                timings=_timings(parts),
                here_only=binding.rtx and parts["capability"][-1].isdigit(),
            )
            made = Path(aside) / "plan"
            build_in_child(binding.name, recipe, made, build.progress)
            return keep_plan(made, path, parts, time.monotonic() - started)
    except OSError as error:
        raise WorkError(f"{path.parent}: {error.strerror}, the plan is not made") from error


def _typed(build: Build, precision: str, folder: Path) -> tuple[Path, tuple[Profile, ...]]:
    """The model in TensorRT's form, its precision written into it; and what an open batch is to serve."""
    if precision == "fp32" and build.batch == 1:
        return build.model, ()
    import onnx

    graph = onnx.load(str(build.model))
    if precision == "int8":
        from engines.backends.tensorrt.quantised import fold_biases

        fold_biases(graph)
    elif precision != "fp32":
        from engines.half import halve

        graph = halve(graph, cast("Literal['fp16', 'bf16']", precision))
    profiles: tuple[Profile, ...] = ()
    if build.batch > 1:
        from engines.batches import open_batch

        shape = tuple(axis.dim_value for axis in graph.graph.input[0].type.tensor_type.shape.dim)
        if open_batch(graph):  # tuned for full batches
            profiles = (Profile(graph.graph.input[0].name, (1, *shape[1:]), shape, shape),)
    twin = folder / f"{precision}.onnx"
    twin.write_bytes(graph.SerializeToString())
    return twin, profiles


def _contexts(build: Build) -> int:
    """How many may be made: for each request one of the batch, and one of each power of two below it."""
    return (build.requests or _REQUESTS) * ((build.batch - 1).bit_length() + 1)


def _precision(build: Build, model: bytes) -> str:
    """What is asked for; by itself int8 where the model is quantised, else fp16."""
    quantised = b"QuantizeLinear" in model  # as the name of an operator; reading the graph takes far longer
    if build.precision == "auto":
        return "int8" if quantised else "fp16"
    if build.precision == "int8" and not quantised:
        raise InputError("precision: 'int8', the model holds no QuantizeLinear: it is to be quantised before")
    if build.precision != "int8" and quantised:
        raise InputError(f"precision: {build.precision!r}, the model is quantised: int8 or auto is right")
    return build.precision


def _timings(parts: dict[str, str]) -> Path:
    """What builds measured: one file for each version and GPU, as only they can use it."""
    told = hashlib.sha256(f"{parts['version']} {parts['device']}".encode()).hexdigest()[:8]
    return cache.folder() / f"{parts['backend']}-{told}.timings"


def _keep_kernels(session: Session, path: Path) -> None:
    kernels = session.kernels()
    if kernels and not (path.exists() and path.stat().st_size == len(kernels)):
        with suppress(OSError):
            write_whole(path, kernels)


def _index(device: str) -> int:
    """The number of a GPU: auto, gpu, cuda, cuda:1."""
    name, _, number = device.lower().partition(":")
    if name not in ("auto", "gpu", "cuda") or not (number.isdigit() or not number):
        raise InputError(f"device: {device!r}, TensorRT runs on cuda, or cuda:1 for a second GPU")
    return int(number or 0)

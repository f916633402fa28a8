"""ONNX Runtime: on a CPU the witness of the first choice, elsewhere what its execution providers reach."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from engines.backends import STATE, Build
from engines.backends.cuda import devices, find_driver
from engines.engine import Memory, TensorSpec
from engines.errors import InputError, WorkError
from engines.machine import cores

__all__ = ["open_engine"]

_PROVIDERS = {  # word of --device -> execution provider, and the package that brings it
    "cpu": ("CPUExecutionProvider", "onnxruntime"),
    "cuda": ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "tensorrt": ("TensorrtExecutionProvider", "onnxruntime-gpu"),
    "coreml": ("CoreMLExecutionProvider", "onnxruntime on macOS"),
    "directml": ("DmlExecutionProvider", "onnxruntime-directml on Windows"),
}
_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(int32)": "int32"}


def open_engine(build: Build) -> OnnxRuntimeEngine:
    """Open a session. Raises InputError for a device or precision that it does not have, and for an IR."""
    if build.model.suffix != ".onnx":
        raise InputError("backend: onnxruntime: it reads no OpenVINO IR (.xml), backend openvino does")
    device, number = _device(build.device)
    if build.precision not in ("auto", "fp32", *(["fp16"] if device != "cpu" else [])):
        raise InputError(f"precision: {build.precision!r}, ONNX Runtime runs fp32 here")
    provider, _ = _PROVIDERS[device]
    chosen = [(provider, {"device_id": number} if device != "cpu" and number else {})]
    threads = cores()
    settings = onnxruntime.SessionOptions()
    # One request alone takes all cores; several take one each, which gives more pictures per second.
    settings.intra_op_num_threads = threads if build.requests == 1 else 1
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others work on these cores
    settings.log_severity_level = 4  # what fails is raised
    try:
        session = onnxruntime.InferenceSession(_typed(build), settings, providers=chosen)
    except Exception as error:  # its exceptions have no common base but this
        raise WorkError(f"onnxruntime: the model does not load: {_reason(error)}") from error
    if session.get_providers()[0] != provider:  # it warns and goes on with the CPU
        raise InputError(f"device: {build.device!r}, {provider} did not start: its libraries are missing")
    precision = "fp16" if build.precision == "fp16" else "fp32"
    name = f"CPU, {threads} cores" if device == "cpu" else f"{device}:{number}"
    return OnnxRuntimeEngine(session, name, precision, build)


class OnnxRuntimeEngine:
    """A session, and a thread for each request that runs at once; see `engines.engine.Engine`."""

    backend = "onnxruntime"
    version = onnxruntime.__version__

    def __init__(self, session: Any, device: str, precision: str, build: Build) -> None:
        requests, batch = build.requests or cores() + 1, build.batch
        self.device, self.precision = device, precision
        inputs = tuple(_spec(value, batch) for value in session.get_inputs())
        outputs = tuple(_spec(value, batch) for value in session.get_outputs())
        self.opened = any(isinstance(axis, str) for axis in session.get_inputs()[0].shape)
        self.inputs = tuple(spec for spec in inputs if not spec.name.startswith(STATE))
        self.outputs = tuple(spec for spec in outputs if not spec.name.startswith(STATE))
        self.state = tuple(spec for spec in (*inputs, *outputs) if spec.name.startswith(STATE))
        self.takes_state = any(spec in inputs for spec in self.state)
        at_once = min(requests, cores())
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="onnxruntime")
        kind = _StateRequest if self.state else _Request
        self.requests = tuple(kind(session, self._threads, self) for _ in range(requests))

    def memory(self) -> Memory:
        """Return room for one stream's state, in the memory of the device."""
        word, _, number = self.device.partition(":")
        place = (word, int(number)) if number.isdigit() else ("cpu", 0)
        return {
            spec.name.split("/")[1]: onnxruntime.OrtValue.ortvalue_from_numpy(
                np.zeros(spec.shape, spec.dtype), *place
            )
            for spec in self.state
            if spec.name.endswith("/0")
        }

    def layers(self) -> str:
        """Nothing: ONNX Runtime does not tell."""
        return ""

    def close(self) -> None:
        """Wait for what is in flight and free the memory."""
        self._threads.shutdown(wait=True)
        for request in self.requests:
            request.free()
        self.requests = ()


class _Request:
    """One run in flight; the outputs are fresh arrays each time."""

    def __init__(self, session: Any, threads: ThreadPoolExecutor, engine: OnnxRuntimeEngine) -> None:
        self._session, self._threads = session, threads
        self._names = [spec.name for spec in engine.outputs]
        self.inputs: dict[str, NDArray[Any]] = {
            spec.name: np.zeros(spec.shape, spec.dtype) for spec in engine.inputs
        }
        self._running: Future[list[NDArray[Any]]] = Future()
        self._opened = engine.opened

    def start(self, filled: int = 0) -> None:
        """Begin and return at once."""
        inputs = self.inputs
        if filled and self._opened:
            inputs = {name: values[:filled] for name, values in inputs.items()}
        self._running = self._threads.submit(self._session.run, self._names, inputs)

    def wait(self) -> dict[str, NDArray[Any]]:
        """Block until the outputs are there. Raises WorkError where the graph does not run."""
        try:
            return dict(zip(self._names, self._running.result(), strict=True))
        except Exception as error:  # as above
            raise WorkError(f"onnxruntime: the model does not run: {_reason(error)}") from error

    def free(self) -> None:
        """Let go of the session; what was computed can still be had."""
        self._session = None


class _StateRequest(_Request):
    """One run in flight of a model for video: the state is bound, and never seen here."""

    def __init__(self, session: Any, threads: ThreadPoolExecutor, engine: OnnxRuntimeEngine) -> None:
        super().__init__(session, threads, engine)
        self._takes = engine.takes_state
        self._binding = session.io_binding()
        for spec in engine.outputs:
            self._binding.bind_output(spec.name, "cpu")
        spare = engine.memory()
        for row in {int(spec.name.rpartition("/")[2]) for spec in engine.state}:
            self.bind(row, spare)

    def bind(self, row: int, memory: Memory) -> None:
        """Let a row write or read its state there: nothing is copied."""
        for name, value in memory.items():
            if self._takes:
                self._binding.bind_ortvalue_input(f"{STATE}{name}/{row}", value)
            else:
                self._binding.bind_ortvalue_output(f"{STATE}{name}/{row}", value)

    def start(self, filled: int = 0) -> None:
        """Begin and return at once."""
        self._running = self._threads.submit(self._run)

    def free(self) -> None:
        """Let go of the session and of what is bound to it."""
        super().free()
        self._binding = None

    def _run(self) -> list[NDArray[Any]]:
        for name, values in self.inputs.items():
            self._binding.bind_cpu_input(name, values)
        self._session.run_with_iobinding(self._binding)
        given = self._binding.get_outputs()  # in the order in which they were bound
        return [value.numpy() for value in given[: len(self._names)]]


def _device(wanted: str) -> tuple[str, int]:
    """The word and the number of ``cuda:1``; auto is cuda where that is, else cpu."""
    name, _, number = wanted.lower().partition(":")
    able = [word for word, (known, _) in _PROVIDERS.items() if known in onnxruntime.get_available_providers()]
    if name == "auto":
        return ("cuda" if "cuda" in able and devices(find_driver()) else "cpu"), 0
    if name not in able or not (number.isdigit() or not number):
        remedy = f"; {name} comes with {_PROVIDERS[name][1]}" if name in _PROVIDERS else ""
        raise InputError(f"device: {wanted!r}, ONNX Runtime runs on {', '.join(able)} here{remedy}")
    return name, int(number or 0)


def _typed(build: Build) -> str | bytes:
    """The model, with its precision written into it; it takes fewer pictures than its batch, if it can."""
    if build.precision != "fp16" and build.batch == 1:
        return str(build.model)
    import onnx

    model = onnx.load(str(build.model))
    if build.precision == "fp16":
        from engines.half import halve

        model = halve(model, "fp16")
    if build.batch > 1:
        from engines.batches import open_batch

        open_batch(model)
    return bytes(model.SerializeToString())


def _reason(error: Exception) -> str:
    """The last line of what it says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _spec(value: Any, batch: int) -> TensorSpec:
    shape = tuple(axis if isinstance(axis, int) else batch for axis in value.shape)
    return TensorSpec(value.name, shape, _DTYPES[value.type])

"""OpenVINO: the default on a CPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.backends import INPUT, OUTPUTS, STATE, Build
from engines.backends.openvino_core import openvino, openvino_core
from engines.engine import Memory, TensorSpec, specs
from engines.errors import InputError, WorkError
from engines.files import write_whole
from engines.machine import cores, quota
from engines.options import Precision
from engines.plans import guarded

__all__ = ["open_engine"]

_PRODUCTS = {
    "Convolution",
    "Deconvolution",
    "FullyConnected",
    "MatMul",
}  # OpenVINO's own words for its layers
_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


def open_engine(build: Build) -> OpenVinoEngine:
    """Compile, or load from OpenVINO's cache beside the model; InputError for what cannot be had."""
    core = openvino_core()
    device = _device(core, build.device)
    precision = _precision(core, device, build.precision)
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY" if build.requests == 1 else "THROUGHPUT",
        "CACHE_DIR": str(_cache(build.model.parent, precision)),
    }
    if device == "CPU":
        settings["ENABLE_CPU_PINNING"] = False  # decoding and drawing share the cores
        if 0 < quota() < (os.cpu_count() or 1):
            settings["INFERENCE_NUM_THREADS"] = cores()  # it sees all cores of the machine
    waiting = partial(build.progress, -1, "waiting for another process that compiles it")
    try:
        with guarded(build.model.parent, ".blob", build.tell, waiting):
            compiled = core.compile_model(str(_readable(build.model)), device, settings)
    except RuntimeError as error:
        raise WorkError(f"openvino: the model does not compile for {device}: {_reason(error)}") from error
    if precision == "fp16" and not _computes(compiled, "f16"):
        raise InputError(f"precision: 'fp16', {device} with OpenVINO computes it in fp32 here, fp32 is right")
    name = f"{device} {core.get_property(device, 'FULL_DEVICE_NAME')}"
    return OpenVinoEngine(compiled, name, precision, build.requests)


class OpenVinoEngine:
    """A compiled model of OpenVINO and its pool of requests; see `engines.engine.Engine`."""

    backend = "openvino"
    version = openvino.__version__.split("-")[0]

    def __init__(self, compiled: Any, device: str, precision: str, requests: int) -> None:
        self.device, self.precision = device, precision
        inputs, outputs = _named(compiled.inputs), _named(compiled.outputs)
        self.inputs, self.outputs = _specs(inputs), _specs(outputs)
        self.state = {
            name.removeprefix(STATE): port
            for name, port in (inputs | outputs).items()
            if name.startswith(STATE)
        }
        self._context = None  # where memory is made that is not the host's
        if self.state and not device.startswith("CPU"):
            self._context = openvino_core().get_default_context(device.partition(" ")[0])
        # Two more than run at once, so that a finished one is replaced while its result is still being read
        # and another one filled: of two cores busy with decoding too, one more gives 4 % more pictures.
        count = requests or compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") + 2
        self.requests = tuple(_Request(compiled.create_infer_request(), self) for _ in range(count))
        self._compiled = compiled

    def memory(self) -> Memory:
        """Return room for one stream's state: on a CPU ordinary memory, on other devices theirs."""
        wanted = {name.removesuffix("/0"): port for name, port in self.state.items() if name.endswith("/0")}
        return {name: self._tensor(port) for name, port in wanted.items()}

    def _tensor(self, port: Any) -> Any:
        if self._context is not None:
            return self._context.create_tensor(port.element_type, port.shape, {})
        return openvino.Tensor(np.zeros(tuple(port.shape), port.element_type.to_dtype()))

    def layers(self) -> str:
        """Each layer as it runs: its kind, precision and kernel, the file's layers in it."""
        import json

        nodes = [
            {"name": node.get_friendly_name()}
            | {key: str(value.value) for key, value in node.get_rt_info().items()}
            for node in self._compiled.get_runtime_model().get_ordered_ops()
        ]
        return json.dumps({"Layers": nodes}, indent=1)

    def close(self) -> None:
        """Wait for what is in flight and free the memory."""
        for request in self.requests:
            request.free()
        self.requests = ()
        self._compiled = None


class _Request:
    """One infer request; its buffers are OpenVINO's own memory, nothing is copied on the way in or out."""

    def __init__(self, request: Any, engine: OpenVinoEngine) -> None:
        self._request = request
        self._state = engine.state
        self._failed: WorkError | None = None  # what was in flight when it was freed
        self.inputs = {spec.name: request.get_tensor(spec.name).data for spec in engine.inputs}
        self._outputs: dict[str, NDArray[Any]] = {}
        for spec in engine.outputs:
            values = np.zeros(spec.shape, spec.dtype)
            request.set_tensor(spec.name, openvino.Tensor(values, shared_memory=True))
            self._outputs[spec.name] = values
        if self._state:  # of rows that nobody binds
            spare = engine.memory()
            for row in {int(name.rpartition("/")[2]) for name in self._state}:
                self.bind(row, spare)

    def bind(self, row: int, memory: Memory) -> None:
        """Let a row write or read its state there: nothing is copied."""
        for name, tensor in memory.items():
            self._request.set_tensor(self._state[f"{name}/{row}"], tensor)

    def start(self, filled: int = 0) -> None:
        """Begin and return at once; all pictures are computed. Raises WorkError as `wait`."""
        with _running():
            self._request.start_async()

    def wait(self) -> dict[str, NDArray[Any]]:
        """Block until the outputs are there, without holding the interpreter.

        Raises WorkError where the graph does not run. What was computed before `free` can be had after it.
        """
        request = self._request  # another thread may free it meanwhile
        if request is not None:
            with _running():
                request.wait()
        elif self._failed:
            raise self._failed
        return self._outputs

    def free(self) -> None:
        """Wait, and let go of the device's memory."""
        try:
            self.wait()
        except WorkError as error:  # for who still waits for it
            self._failed = error
        self._request = None


@contextmanager
def _running() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise WorkError(f"openvino: the model does not run: {_reason(error)}") from error


def _reason(error: RuntimeError) -> str:
    """The last line of what it says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _cache(folder: Path, precision: str) -> Path:
    """Where OpenVINO keeps what it compiles.

    Its cache does not tell precisions apart (2026.4): what was compiled for fp16 holds halves, and would be
    loaded for fp32 as well, and the other way round. fp32 and bf16 are compiled alike.
    """
    kept = folder / "fp16" if precision == "fp16" else folder
    kept.mkdir(exist_ok=True)
    return kept


def _computes(compiled: Any, kind: str) -> bool:
    """Whether any product runs in this precision, or there is none at all."""
    told = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    products = [
        str(info["runtimePrecision"].value)
        for info in told
        if "layerType" in info and str(info["layerType"].value) in _PRODUCTS
    ]
    return kind in products or not products


def _readable(model: Path) -> Path:
    """The model's file, or of a quantised one the form that OpenVINO computes rightly, made once."""
    if model.suffix != ".onnx" or b"QuantizeLinear" not in model.read_bytes():
        return model
    import onnx

    from engines.quantize import unsigned

    twin = model.with_name("unsigned.onnx")
    if not twin.exists():
        write_whole(twin, unsigned(onnx.load(str(model))).SerializeToString())
    return twin


def _device(core: Any, wanted: str) -> str:
    known = core.available_devices
    name = "CPU" if wanted == "auto" else wanted.upper()
    if name not in known and name.split(".")[0] not in known:
        raise InputError(f"device: {wanted!r}, OpenVINO finds {', '.join(known)} on this machine")
    return name


def _precision(core: Any, device: str, wanted: Precision) -> str:
    """Choose, or check, the arithmetic: what the device does natively, never emulated."""
    native = {"fp32"} | {name.lower() for name in core.get_property(device, "OPTIMIZATION_CAPABILITIES")}
    if wanted == "auto":
        return next(name for name in ("bf16", "fp16", "fp32") if name in native and name in _HINTS)
    if wanted not in native or wanted not in _HINTS:
        able = ", ".join(name for name in _HINTS if name in native)
        raise InputError(f"precision: {wanted!r}, {device} with OpenVINO runs {able} here")
    return wanted


def _named(ports: list[Any]) -> dict[str, Any]:
    """A port may carry several names, of tensors that OpenVINO found equal: take the one of the contract."""
    found = {}
    for port in ports:
        (name,) = (name for name in port.names if name in (INPUT, *OUTPUTS) or name.startswith(STATE))
        found[name] = port
    return found


def _specs(ports: dict[str, Any]) -> tuple[TensorSpec, ...]:
    """What the host writes and reads. Raises WorkError for what has no fixed shape."""
    for name, port in ports.items():
        if port.partial_shape.is_dynamic:
            raise WorkError(
                f"openvino: {name}: its shape {port.partial_shape} is open, a fixed one is needed"
            )
    return specs(
        [
            (name, tuple(port.shape), port.element_type.to_dtype())
            for name, port in ports.items()
            if not name.startswith(STATE)
        ]
    )

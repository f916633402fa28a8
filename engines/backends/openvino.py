"""OpenVINO: the default on a CPU."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from engines.backends import INPUT, OUTPUTS, Build
from engines.backends.openvino_core import openvino_core
from engines.engine import TensorSpec, specs
from engines.errors import InputError, WorkError
from engines.files import write_whole
from engines.options import Precision
from engines.plans import guarded

__all__ = ["open_engine"]

_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


def open_engine(build: Build) -> OpenVinoEngine:
    """Compile, or load from OpenVINO's cache beside the model; InputError for what cannot be had."""
    core = openvino_core()
    device = _device(core, build.device)
    precision = _precision(core, device, build.precision)
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY" if build.requests == 1 else "THROUGHPUT",
        "CACHE_DIR": str(build.model.parent),
    }
    if device == "CPU":
        settings["ENABLE_CPU_PINNING"] = False  # decoding and drawing share the cores
    waiting = partial(build.progress, -1, "waiting for another process that compiles it")
    try:
        with guarded(build.model.parent, ".blob", build.tell, waiting):
            compiled = core.compile_model(str(_readable(build.model)), device, settings)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise WorkError(f"openvino: the model does not compile for {device}: {reason}") from error
    name = f"{device} {core.get_property(device, 'FULL_DEVICE_NAME')}"
    return OpenVinoEngine(compiled, name, precision, build.requests)


class OpenVinoEngine:
    """A compiled model of OpenVINO and its pool of requests; see `engines.engine.Engine`."""

    backend = "openvino"
    version = openvino.__version__.split("-")[0]

    def __init__(self, compiled: Any, device: str, precision: str, requests: int) -> None:
        self.device, self.precision = device, precision
        self.inputs, self.outputs = _specs(compiled.inputs), _specs(compiled.outputs)
        # Two more than run at once, so that a finished one is replaced while its result is still being read
        # and another one filled: of two cores busy with decoding too, one more gives 4 % more pictures.
        count = requests or compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") + 2
        self.requests = tuple(_Request(compiled.create_infer_request(), self) for _ in range(count))
        self._compiled = compiled

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
        self.inputs = {
            spec.name: request.get_input_tensor(number).data for number, spec in enumerate(engine.inputs)
        }
        self._outputs: dict[str, NDArray[Any]] = {}
        for number, spec in enumerate(engine.outputs):
            values = np.zeros(spec.shape, spec.dtype)
            request.set_output_tensor(number, openvino.Tensor(values, shared_memory=True))
            self._outputs[spec.name] = values

    def start(self) -> None:
        """Begin and return at once."""
        self._request.start_async()

    def wait(self) -> dict[str, NDArray[Any]]:
        """Block until the outputs are there, without holding the interpreter."""
        self._request.wait()
        return self._outputs

    def free(self) -> None:
        """Let go of the device's memory."""
        self._request.wait()
        self._request = None


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


def _specs(ports: list[Any]) -> tuple[TensorSpec, ...]:
    """A port may carry several names, of tensors that OpenVINO found equal: take the one of the contract."""
    found = []
    for port in ports:
        (name,) = port.names & {INPUT, *OUTPUTS}
        found.append((name, tuple(port.shape), port.element_type.to_dtype()))
    return specs(found)

"""torch: runs models on NVIDIA GPUs where TensorRT is missing, each request as one CUDA graph.

On a CPU it runs the same calls without a graph; it is there to be compared with, `auto` never takes it.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray

from engines.backends import Build
from engines.backends.cuda import devices, find_driver
from engines.backends.torch.program import Program
from engines.engine import Request, TensorSpec
from engines.errors import InputError, WorkError

__all__ = ["TorchEngine", "open_engine"]

_REQUESTS = 2  # one is copied and read while the other computes


def open_engine(build: Build) -> TorchEngine:
    """Make a program of the model; InputError for what cannot be had and operators that it does not know."""
    import onnx

    if build.model.suffix != ".onnx":
        raise InputError("backend: torch: it reads no OpenVINO IR (.xml), backend openvino does")
    device = _device(build.device)
    precision = _precision(build.precision, device)
    model = onnx.load(str(build.model))
    if precision != "fp32":
        from engines.half import halve

        model = halve(model, cast("Literal['fp16', 'bf16']", precision))
    (pixels,) = model.graph.input
    shape = tuple(axis.dim_value for axis in pixels.type.tensor_type.shape.dim)
    try:
        program = Program(model, device)
        count = build.requests or _REQUESTS
        if device.type == "cpu":
            return TorchEngine(program, precision, tuple(_CpuRequest(program, shape) for _ in range(count)))
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision != "fp32"
        torch.backends.cudnn.benchmark = True  # shapes never change
        requests = tuple(_CudaRequest(program, shape, device) for _ in range(count))
    except torch.cuda.OutOfMemoryError as error:
        raise WorkError(f"torch: {device}: {str(error).splitlines()[0]}") from error
    return TorchEngine(program, precision, requests)


class TorchEngine:
    """A program and its requests in flight; see `engines.engine.Engine`."""

    backend = "torch"
    version = str(torch.__version__)

    def __init__(
        self, program: Program, precision: str, requests: tuple[_CpuRequest | _CudaRequest, ...]
    ) -> None:
        self.precision, self.device = precision, requests[0].device
        self.inputs = _specs(requests[0].inputs)
        self.outputs = _specs(requests[0].give())
        self.requests: tuple[Request, ...] = requests
        self._closing = requests
        self._program: Program | None = (
            program  # a CUDA graph knows no more of its weights than where they lie
        )

    def layers(self) -> str:
        """Nothing: torch does not tell."""
        return ""

    def close(self) -> None:
        """Wait for what is in flight and free the device."""
        for request in self._closing:
            request.close()
        self.requests = self._closing = ()
        self._program = None


class _CpuRequest:
    """One run in flight in a thread of its own; torch spreads each over all cores."""

    device = f"CPU, {torch.get_num_threads()} cores"

    def __init__(self, program: Program, shape: tuple[int, ...]) -> None:
        self._program: Program | None = program
        self._names = program.outputs
        self.inputs: dict[str, NDArray[Any]] = {program.input: np.zeros(shape, np.uint8)}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="torch")
        self._running: Future[dict[str, NDArray[Any]]] = Future()

    def start(self, filled: int = 0) -> None:
        """Begin and return at once; all pictures are computed."""
        self._running = self._thread.submit(self.give)

    def wait(self) -> dict[str, NDArray[Any]]:
        """Block until the outputs are there."""
        return self._running.result()

    def give(self) -> dict[str, NDArray[Any]]:
        """Run now."""
        assert self._program
        (pixels,) = self.inputs.values()
        with torch.inference_mode():
            found = self._program(torch.from_numpy(pixels))
        return {name: values.numpy() for name, values in zip(self._names, found, strict=True)}

    def close(self) -> None:
        """Wait for what is in flight and let go of the weights."""
        self._thread.shutdown(wait=True)
        self._program = None


class _CudaRequest:
    """One place in flight: pinned buffers, a stream, and a graph that copies in, runs and copies out."""

    def __init__(self, program: Program, shape: tuple[int, ...], device: Any) -> None:
        self.device = torch.cuda.get_device_name(device)
        pinned = torch.zeros(shape, dtype=torch.uint8, pin_memory=True)
        self.inputs: dict[str, NDArray[Any]] = {program.input: pinned.numpy()}
        self._names, self._stream = program.outputs, torch.cuda.Stream(device)
        self._done, self._graph = torch.cuda.Event(blocking=True), torch.cuda.CUDAGraph()
        pixels = torch.zeros(shape, dtype=torch.uint8, device=device)
        with torch.inference_mode(), torch.cuda.device(device), torch.cuda.stream(self._stream):
            for _ in range(2):  # libraries choose their kernels in the first runs
                found = program(pixels)
            self._stream.synchronize()
            self._outputs = [torch.zeros_like(values, device="cpu").pin_memory() for values in found]
            with torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode="thread_local"):
                pixels.copy_(pinned, non_blocking=True)
                for values, kept in zip(program(pixels), self._outputs, strict=True):
                    kept.copy_(values, non_blocking=True)
        self._held = (pixels, pinned)  # the graph knows their addresses only
        self._arrays = {name: kept.numpy() for name, kept in zip(self._names, self._outputs, strict=True)}

    def start(self, filled: int = 0) -> None:
        """Begin and return at once; all pictures are computed."""
        with torch.cuda.stream(self._stream):
            self._graph.replay()
        self._done.record(self._stream)

    def wait(self) -> dict[str, NDArray[Any]]:
        """Block until the outputs are there, without holding the interpreter."""
        self._done.synchronize()
        return self._arrays

    def give(self) -> dict[str, NDArray[Any]]:
        """The outputs as they are."""
        return self._arrays

    def close(self) -> None:
        """Wait for what is in flight and free the graph's memory."""
        self._stream.synchronize()
        self._graph.reset()


def _device(wanted: str) -> Any:
    """auto (the GPU where there is one), cpu, gpu, cuda, cuda:1."""
    name, _, number = wanted.lower().partition(":")
    if name == "auto":
        name = "cuda" if devices(find_driver()) else "cpu"
    if name not in ("cpu", "cuda", "gpu") or not (number.isdigit() or not number):
        raise InputError(f"device: {wanted!r}, torch runs on cuda, cuda:1 ... or cpu here")
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise InputError(f"device: {wanted!r}, torch {torch.__version__} reaches no GPU on this machine")
    count = torch.cuda.device_count()
    if int(number or 0) >= count:
        known = ", ".join(f"cuda:{place}" for place in range(count))
        raise InputError(f"device: {wanted!r}, this machine has {known}")
    return torch.device("cuda", int(number or 0))


def _precision(wanted: str, device: Any) -> str:
    able = ("fp16", "fp32", "bf16") if device.type == "cuda" else ("fp32", "bf16")
    if wanted == "auto":
        return able[0]
    if wanted not in able:
        raise InputError(f"precision: {wanted!r}, torch runs {', '.join(able)} on {device.type}")
    return wanted


def _specs(arrays: dict[str, NDArray[Any]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name, array.shape, str(array.dtype)) for name, array in arrays.items())

"""ONNX Runtime on a CPU: the second choice, and the independent witness of the first."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from engines.backends import Build
from engines.engine import TensorSpec
from engines.errors import InputError, WorkError

__all__ = ["open_engine"]

_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(int32)": "int32"}


def open_engine(build: Build) -> OnnxRuntimeEngine:
    """Open a session. Raises InputError for a device or precision that it does not have, and for an IR."""
    if build.model.suffix != ".onnx":
        raise InputError("backend: onnxruntime: it reads no OpenVINO IR (.xml), backend openvino does")
    if build.device.lower() not in ("auto", "cpu"):
        raise InputError(f"device: {build.device!r}, ONNX Runtime runs on cpu here")
    if build.precision not in ("auto", "fp32"):
        raise InputError(f"precision: {build.precision!r}, ONNX Runtime runs fp32 here")
    cores = len(os.sched_getaffinity(0))
    settings = onnxruntime.SessionOptions()
    # One request alone takes all cores; several take one each, which gives more pictures per second.
    settings.intra_op_num_threads = cores if build.requests == 1 else 1
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others work on these cores
    settings.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(build.model), settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base but this
        reason = str(error).strip().splitlines()[-1]
        raise WorkError(f"onnxruntime: the model does not load: {reason}") from error
    return OnnxRuntimeEngine(session, build.requests or cores + 1, cores)


class OnnxRuntimeEngine:
    """A session, and a thread for each request that runs at once; see `engines.engine.Engine`."""

    backend = "onnxruntime"
    version = onnxruntime.__version__
    precision = "fp32"

    def __init__(self, session: Any, requests: int, cores: int) -> None:
        self.device = f"CPU, {cores} cores"
        self.inputs = tuple(map(_spec, session.get_inputs()))
        self.outputs = tuple(map(_spec, session.get_outputs()))
        self._threads = ThreadPoolExecutor(min(requests, cores), thread_name_prefix="onnxruntime")
        self.requests = tuple(_Request(session, self._threads, self) for _ in range(requests))

    def close(self) -> None:
        """Wait for what is in flight and free the memory."""
        self._threads.shutdown(wait=True)
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

    def start(self) -> None:
        """Begin and return at once."""
        self._running = self._threads.submit(self._session.run, self._names, self.inputs)

    def wait(self) -> dict[str, NDArray[Any]]:
        """Block until the outputs are there."""
        return dict(zip(self._names, self._running.result(), strict=True))


def _spec(value: Any) -> TensorSpec:
    return TensorSpec(value.name, tuple(value.shape), _DTYPES[value.type])

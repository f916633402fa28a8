"""What can run a composed model: one table of backends, and the choice among them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from engines.engine import Engine
from engines.errors import InputError, nearest
from engines.options import Precision

__all__ = [
    "BACKENDS",
    "INPUT",
    "OUTPUTS",
    "STATE",
    "Build",
    "Opener",
    "Progress",
    "missing",
    "opener",
    "select_backends",
    "silent",
]

INPUT = "pixels"  # of a composed model, see engines.compose
OUTPUTS = ("boxes", "scores", "classes", "keypoints", "coefficients", "prototypes", "embeddings", "motion")
STATE = "state/"  # before the names of tensors that stay where the engine runs: state/p4/0 is p4 of row 0

BACKENDS = {  # in order of preference
    "tensorrt": "engines.backends.tensorrt:open_engine",
    "tensorrt_rtx": "engines.backends.tensorrt:open_rtx_engine",
    "torch": "engines.backends.torch:open_engine",
    "openvino": "engines.backends.openvino:open_engine",
    "onnxruntime": "engines.backends.onnxruntime:open_engine",
}

_DEVICES = {  # words of --device, without a number, that each of them knows; all know "auto"
    "tensorrt": ("cuda", "gpu"),
    "tensorrt_rtx": ("cuda", "gpu"),
    "torch": ("cuda",),  # and cpu, where it is asked for by name: others are faster
    "openvino": ("cpu", "gpu", "npu"),
    "onnxruntime": ("cpu", "cuda", "tensorrt", "coreml", "directml"),
}

# How far compiling is, 0 to 1 or -1 for unknown, and what is being done; False from it ends the work.
Progress = Callable[[float, str], object]


def silent(fraction: float, phase: str) -> None:
    """The progress that nobody watches."""


@dataclass(frozen=True, slots=True)
class Build:
    """What to compile, and how."""

    model: Path  # a composed ONNX file of the cache; its name is its content
    device: str  # "auto" or the backend's own word
    precision: Precision
    batch: int
    requests: int  # 0 = as many as keep the device busy
    progress: Progress = silent
    tell: Callable[[str], object] = str  # takes sentences for the user; by itself nobody listens


Opener = Callable[[Build], Engine]


def select_backends(name: str, device: str = "auto") -> list[tuple[str, str]]:
    """Return those backends, each with why, that are to be tried in this order.

    ``name`` is a key of `BACKENDS`, or ``auto``: all that are usable here and know the device, fastest first.
    Raises InputError for what cannot be had, and says what is missing.
    """
    if name != "auto":
        if name not in BACKENDS:
            known = ", ".join(BACKENDS)
            raise InputError(f"backend: {name!r}, one of auto, {known} is right{nearest(name, BACKENDS)}")
        lacks = missing(name)
        if lacks:
            raise InputError(f"backend: {name}: {lacks}")
        return [(name, "asked for")]
    word = device.lower().partition(":")[0].partition(".")[0]
    able = [known for known, words in _DEVICES.items() if word in ("auto", *words)]
    if not able:
        words = ", ".join(dict.fromkeys(word for words in _DEVICES.values() for word in words))
        raise InputError(f"device: {device!r}, one of auto, {words} is right")
    lacking = {known: missing(known) for known in able}
    if not lacking.get("torch", "absent") and not _gpus():
        lacking["torch"] = "slower than others without an NVIDIA GPU"
    usable = [known for known in able if not lacking[known]]
    if not usable:
        reasons = "; ".join(f"{known} is {lacks}" for known, lacks in lacking.items())
        raise InputError(f"backend: none for device {device}: {reasons}")
    if {"openvino", "onnxruntime"} <= set(usable) and word in ("auto", "cuda") and _onnxruntime_has_gpu():
        usable.remove("onnxruntime")
        usable.insert(usable.index("openvino"), "onnxruntime")
    fastest = (
        "fastest on a CPU"
        if usable[0] == "openvino" and word in ("auto", "cpu")
        else "fastest that is usable here"
    )
    return [(known, fastest if known == usable[0] else "next that is usable here") for known in usable]


def missing(name: str) -> str:
    """Return what a backend lacks to run on this machine, "" for nothing. It touches no more than it must."""
    if not find_spec(name):
        return f"not installed, pip install {name.replace('_', '-')}"
    if name.startswith("tensorrt") and not _gpus():
        return "installed, but there is no NVIDIA GPU with a driver"
    return ""


def _gpus() -> int:
    from engines.backends import cuda

    return len(cuda.devices(cuda.find_driver()))


def _onnxruntime_has_gpu() -> bool:
    """Whether ONNX Runtime was installed for CUDA; only looked at where there is a GPU, as it takes time."""
    if not _gpus():
        return False
    providers = import_module("onnxruntime").get_available_providers()
    return "CUDAExecutionProvider" in providers


def opener(name: str) -> Opener:
    """Return the function that compiles for one backend; ``name`` is a key of `BACKENDS`."""
    module, function = BACKENDS[name].split(":")
    return cast("Opener", getattr(import_module(module), function))

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

__all__ = ["BACKENDS", "INPUT", "OUTPUTS", "Build", "Opener", "opener", "select_backend"]

INPUT = "pixels"  # of a composed model, see engines.compose
OUTPUTS = ("boxes", "scores", "classes", "keypoints", "coefficients", "prototypes", "embeddings")

BACKENDS = {  # in order of preference
    "openvino": "engines.backends.openvino:open_engine",
    "onnxruntime": "engines.backends.onnxruntime:open_engine",
}


@dataclass(frozen=True, slots=True)
class Build:
    """What to compile, and how."""

    model: Path  # a composed ONNX file of the cache; its name is its content
    device: str  # "auto" or the backend's own word
    precision: Precision
    batch: int
    requests: int  # 0 = as many as keep the device busy


Opener = Callable[[Build], Engine]


def select_backend(name: str) -> tuple[str, str]:
    """Return (backend, why) for a name of `BACKENDS` or ``auto``; InputError for what cannot be had."""
    if name != "auto":
        if name not in BACKENDS:
            known = ", ".join(BACKENDS)
            raise InputError(f"backend: {name!r}, one of auto, {known} is right{nearest(name, BACKENDS)}")
        if not find_spec(name):
            raise InputError(f"backend: {name}: not installed, pip install {name}")
        return name, "asked for"
    for known in BACKENDS:
        if find_spec(known):
            return (
                known,
                "first of the installed, fastest on a CPU" if known == "openvino" else "first installed",
            )
    raise InputError(f"backend: none of {', '.join(BACKENDS)} is installed, pip install openvino")


def opener(name: str) -> Opener:
    """Return the function that compiles for one backend; ``name`` is a key of `BACKENDS`."""
    module, function = BACKENDS[name].split(":")
    return cast("Opener", getattr(import_module(module), function))

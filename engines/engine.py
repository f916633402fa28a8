"""What every backend offers: an Engine is named tensors in and out, and a pool of requests in flight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Engine", "Request", "TensorSpec"]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of an engine."""

    name: str
    shape: tuple[int, ...]  # fixed; the first is the batch
    dtype: str  # numpy's name: uint8, float32, int64


class Request(Protocol):
    """One place in flight: buffers to write, a start, a wait."""

    @property
    def inputs(self) -> dict[str, NDArray[Any]]:
        """The input buffers by name; write them before `start`."""

    def start(self) -> None:
        """Begin to compute and return at once."""

    def wait(self) -> dict[str, NDArray[Any]]:
        """Block until the outputs are there; the arrays are valid until the next `start`."""


class Engine(Protocol):
    """A compiled network on one device."""

    backend: str  # "openvino", "onnxruntime", ...
    device: str  # as the backend names it, for people: "CPU AMD EPYC"
    precision: str  # "fp32", "bf16", "fp16", "int8"
    version: str  # of the backend's library
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    requests: tuple[Request, ...]  # all that may be in flight together

    def close(self) -> None:
        """Free the device; requests are dead afterwards."""


def specs(names_shapes_dtypes: list[tuple[str, tuple[int, ...], np.dtype[Any]]]) -> tuple[TensorSpec, ...]:
    """Build TensorSpecs from what a backend reports."""
    return tuple(
        TensorSpec(name, tuple(shape), str(np.dtype(dtype))) for name, shape, dtype in names_shapes_dtypes
    )

"""What every backend offers: an Engine is named tensors in and out, and a pool of requests in flight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Engine", "Memory", "Request", "StateEngine", "StateRequest", "TensorSpec"]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of an engine."""

    name: str
    shape: tuple[int, ...]  # fixed; the first is the batch
    dtype: str  # numpy's name: uint8, float32, int64

    def __str__(self) -> str:
        """For people: an open axis, of a file, is '?'."""
        return f"{self.name} ({','.join(str(axis or '?') for axis in self.shape)}) {self.dtype}"


class Request(Protocol):
    """One place in flight: buffers to write, a start, a wait."""

    @property
    def inputs(self) -> dict[str, NDArray[Any]]:
        """The input buffers by name; write them before `start`."""

    def start(self, filled: int = 0) -> None:
        """Begin to compute and return at once.

        Only the first ``filled`` pictures matter (0 = all); where the engine can, others cost nothing.
        """

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

    def layers(self) -> str:
        """What the backend made of the network, layer by layer, as JSON; "" where it does not tell."""

    def close(self) -> None:
        """Wait for what is in flight and free the device; then requests only give what they computed."""


Memory = Mapping[str, Any]  # one stream's state by name (p4, p5, ...), each a tensor of the backend's own


class StateEngine(Engine, Protocol):
    """An engine of a model for video: key frames leave a state, frames between take it.

    The state is none of a request's ``inputs`` and outputs: it stays where the engine runs.
    """

    def memory(self) -> Memory:
        """Return room for the state of one stream; for this engine and the other one of its model."""


class StateRequest(Request, Protocol):
    """One place in flight of a `StateEngine`."""

    def bind(self, row: int, memory: Memory) -> None:
        """Let ``row`` of the batch write or read its state there from now on; not while it runs."""


def specs(names_shapes_dtypes: list[tuple[str, tuple[int, ...], np.dtype[Any]]]) -> tuple[TensorSpec, ...]:
    """Build TensorSpecs from what a backend reports."""
    return tuple(
        TensorSpec(name, tuple(shape), str(np.dtype(dtype))) for name, shape, dtype in names_shapes_dtypes
    )

"""Program: an ONNX graph of fixed shapes as calls of torch, one after the other.

What depends on constants and shapes alone is computed once, when the program is made; what is left has no
size that depends on data, and can be recorded as a CUDA graph.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from engines.backends.torch.operators import OPERATORS
from engines.errors import InputError

__all__ = ["Program", "unknown_operators"]

_SHOWN = 6  # names of operators in a sentence


def unknown_operators(model: Any) -> str:
    """Return the operators of a graph that no program can have, as a sentence's end; "" for none."""
    kinds = {node.op_type for node in model.graph.node if node.op_type not in {*OPERATORS, "Shape"}}
    kinds |= {
        f"{node.op_type} with auto_pad"
        for node in model.graph.node
        for part in node.attribute
        if part.name == "auto_pad" and part.s not in (b"NOTSET", b"VALID")
    }
    more = f" and {len(kinds) - _SHOWN} more" if len(kinds) > _SHOWN else ""
    return ", ".join(sorted(kinds)[:_SHOWN]) + more


class Program:
    """Made by one run on zeros; called with a tensor, it gives those of the graph's outputs, in order.

    Raises InputError for operators and forms of them that it does not know.
    """

    def __init__(self, model: Any, device: Any) -> None:
        if unknown := unknown_operators(model):
            raise InputError(f"backend: torch: it does not know {unknown}")
        (pixels,) = model.graph.input
        self.input, self.outputs = pixels.name, [value.name for value in model.graph.output]
        self._device = device
        self._opset = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
        stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self._known: dict[str, Any] = {name: _tensor(values) for name, values in stored.items()}
        self._fixed: dict[str, Any] = {}  # of those, what the steps take as tensors
        shape = [axis.dim_value for axis in pixels.type.tensor_type.shape.dim]
        self._steps: list[_Node] = []
        self._last: dict[str, int] = {}  # tensor -> the last step that takes it
        with torch.inference_mode():
            self._plan(model, torch.zeros(shape, dtype=torch.uint8, device=device))
        self._known = {}

    def __call__(self, pixels: Any) -> list[Any]:
        """Run; in inference mode."""
        values = {self.input: pixels}
        for number, step in enumerate(self._steps):
            self._run(number, step, values)
        return [values.get(name, self._fixed.get(name)) for name in self.outputs]

    def _plan(self, model: Any, pixels: Any) -> None:
        nodes = [_Node(node, self._opset) for node in model.graph.node]
        taken = {name: number for number, node in enumerate(nodes) for name in node.inputs}
        values = {self.input: pixels}
        for number, node in enumerate(nodes):
            if node.kind == "Shape":
                seen = (self._known | values)[node.inputs[0]].shape
                self._known[node.outputs[0]] = torch.tensor(seen, dtype=torch.int64)
                continue
            node.fixed = {
                place: self._known[name] for place, name in enumerate(node.inputs) if name in self._known
            }
            if all(name in self._known or not name for name in node.inputs):
                self._known |= zip(
                    node.outputs, _listed(node([*map(self._known.get, node.inputs)])), strict=False
                )
                continue
            for place, known in node.fixed.items():
                if node.inputs[place] not in self._fixed:
                    self._fixed[node.inputs[place]] = _laid(known.to(self._device), node.kind)
            self._steps.append(node)
            self._run(len(self._steps) - 1, node, values)
            for name in [name for name in values if taken.get(name, -1) <= number]:
                if name not in self.outputs:
                    del values[name]
                    self._last[name] = len(self._steps) - 1
        self._fixed |= {
            name: self._known[name].to(self._device) for name in self.outputs if name in self._known
        }

    def _run(self, number: int, step: _Node, values: dict[str, Any]) -> None:
        given = [values.get(name, self._fixed.get(name)) if name else None for name in step.inputs]
        values |= zip(step.outputs, _listed(step(given)), strict=False)
        for name in {*step.inputs, *step.outputs}:
            if self._last.get(name) == number:  # free memory as soon as it can be used again
                values.pop(name, None)


class _Node:
    """One node of the graph; see `engines.backends.torch.operators.Step`."""

    def __init__(self, node: Any, opset: int) -> None:
        self.kind, self.opset = node.op_type, opset
        self.inputs, self.outputs = list(node.input), list(node.output)
        self.fixed: dict[int, Any] = {}  # inputs that never change, by place
        self._name = node.name or node.op_type
        self._attributes = {part.name: _plain(helper.get_attribute_value(part)) for part in node.attribute}
        self._attributes["outputs"] = len(self.outputs)
        self._function = OPERATORS.get(self.kind)

    def __call__(self, tensors: list[Any]) -> Any:
        assert self._function
        try:
            return self._function(self, *tensors)
        except (KeyError, NotImplementedError, TypeError, RuntimeError) as error:
            if isinstance(error, torch.cuda.OutOfMemoryError):
                raise
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise InputError(f"backend: torch: node {self._name} ({self.kind}): {reason}") from error

    def get(self, name: str, default: Any = None) -> Any:
        return self._attributes.get(name, default)

    def numbers(self, place: int) -> list[Any]:
        if place not in self.fixed:
            raise NotImplementedError(f"input {place} depends on the picture")
        return list(self.fixed[place].reshape(-1).tolist())

    def has(self, place: int) -> bool:
        return place < len(self.inputs) and bool(self.inputs[place])


def _plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _listed(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple | list) else [result]


def _laid(tensor: Any, kind: str) -> Any:
    """Kernels in half precision lie channels last, in which tensor cores take them."""
    if kind == "Conv" and tensor.dim() == 4 and tensor.dtype in (torch.float16, torch.bfloat16):
        return tensor.contiguous(memory_format=torch.channels_last)
    return tensor


def _tensor(values: NDArray[Any]) -> Any:
    if values.dtype.name == "bfloat16":  # numpy's is of another package, with the same bits
        return torch.from_numpy(values.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(values.copy())

"""Nodes: appends operators to an ONNX graph, the small vocabulary that composition is written in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper, numpy_helper

__all__ = ["Nodes", "reads"]

_LARGEST = 3e38  # that float32 and bfloat16 hold


def reads(node: Any) -> Iterator[str]:
    """All tensors that a node reads, those that its subgraphs take from outside included."""
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from reads(inner)


class Nodes:
    """A pen on one graph; every method appends and returns the name of the new tensor.

    It writes only operators whose form is the same from opset 11 on (and `largest`, which knows the one
    change that it needs), so a model keeps the opset that it was exported with.
    """

    def __init__(self, graph: Any, opset: int, batch: int = 1, room: int = 300) -> None:
        self.graph = graph
        self.opset = opset
        self.batch = batch
        self.room = room  # rows that an output of open length is given
        self._count = 0

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Append one operator with one output."""
        return self.ops(kind, 1, *inputs, **attributes)[0]

    def ops(self, kind: str, outputs: int, *inputs: str, **attributes: Any) -> list[str]:
        """Append one operator with several outputs."""
        names = [self._fresh(kind) for _ in range(outputs)]
        self.graph.node.append(helper.make_node(kind, list(inputs), names, name=names[0], **attributes))
        return names

    def constant(self, values: Any, dtype: str = "float32") -> str:
        """Store an array as an initializer."""
        name = self._fresh("constant")
        self.graph.initializer.append(numpy_helper.from_array(np.array(values, dtype), name))
        return name

    def name(self, tensor: str, name: str) -> None:
        """Give a tensor one more name."""
        self.graph.node.append(helper.make_node("Identity", [tensor], [name]))

    def cast(self, tensor: str, dtype: str) -> str:
        """Change the element type, by numpy's name."""
        return self.op("Cast", tensor, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def reshape(self, tensor: str, *shape: int) -> str:
        """Reshape; 0 keeps an axis as it is, -1 is what remains."""
        return self.op("Reshape", tensor, self.constant(shape, "int64"))

    def transpose(self, tensor: str, *axes: int) -> str:
        """Permute the axes."""
        return self.op("Transpose", tensor, perm=list(axes))

    def slice(self, tensor: str, axis: int, start: int, stop: int) -> str:
        """Take start..stop of one axis."""
        bounds = [self.constant([value], "int64") for value in (start, stop, axis)]
        return self.op("Slice", tensor, *bounds)

    def largest(self, tensor: str, axis: int, *, keep: bool = False) -> str:
        """Maximum along one axis, which goes away unless it is to ``keep`` as one entry."""
        if self.opset < 18:
            return self.op("ReduceMax", tensor, axes=[axis], keepdims=int(keep))
        return self.op("ReduceMax", tensor, self.constant([axis], "int64"), keepdims=int(keep))

    def rows(self, tensor: str, index: str, width: int) -> str:
        """From (B, N, width) take rows by index (B, K): (B, K, width)."""
        if self.batch == 1:  # a plain Gather copies whole rows
            return self.op("Gather", self.reshape(tensor, -1, width), index, axis=0)
        if self.opset < 12:
            wide = self.op("Expand", self.reshape(index, 0, -1, 1), self.constant([1, 1, width], "int64"))
            return self.op("GatherElements", tensor, wide, axis=1)
        return self.op("GatherND", tensor, self.reshape(index, 0, -1, 1), batch_dims=1)

    def columns(self, tensor: str, index: str, height: int) -> str:
        """From (B, height, N) take columns by index (B, K), and lay them as rows: (B, K, height)."""
        if self.batch == 1:
            return self.transpose(self.op("Gather", tensor, self.reshape(index, -1), axis=2), 0, 2, 1)
        tall = self.op("Expand", self.reshape(index, 0, 1, -1), self.constant([1, height, 1], "int64"))
        return self.transpose(self.op("GatherElements", tensor, tall, axis=2), 0, 2, 1)

    def look_up(self, table: NDArray[np.float32], index: str) -> str:
        """From a constant (N, D) take rows by index (B, K): (B, K, D)."""
        return self.op("Gather", self.constant(table), index, axis=0)

    def best_column(self, tensor: str, width: int) -> str:
        """From (B, K, width) the index of each row's maximum, the first of equals: (B, K) float32.

        What ArgMax gives, in a tenth of the time that OpenVINO takes for it.
        """
        tensor = self.finite(tensor, -_LARGEST)
        top = self.largest(tensor, 2, keep=True)
        places = self.constant(np.arange(width, 0, -1).reshape(1, 1, width))
        marked = self.op("Where", self.op("Less", tensor, top), self.constant(0), places)
        return self.op("Sub", self.constant(width), self.largest(marked, 2))

    def finite(self, tensor: str, other: float) -> str:
        """Put ``other`` in place of NaN and infinities: backends do not agree on what is larger than they."""
        small = self.op("Less", self.op("Abs", tensor), self.constant(_LARGEST))
        return self.op("Where", small, tensor, self.constant(other))

    def entries(self, tensor: str, index: str) -> str:
        """From (B, N) take values by index (B, K): (B, K)."""
        return self.op("GatherElements", tensor, index, axis=1)

    def scaled(self, tensor: str, *factors: float) -> str:
        """Multiply the last axis by constants."""
        return self.op("Mul", tensor, self.constant(factors))

    def visible(self, points: str) -> str:
        """From points (..., 2) to (..., 3): all are visible."""
        one = self.op("Add", self.scaled(self.slice(points, 3, 0, 1), 0), self.constant(1))
        return self.op("Concat", points, one, axis=3)

    def corners(self, centres: str, sizes: str) -> str:
        """Boxes (.., 4) xyxy from centres (.., 2) and widths and heights (.., 2)."""
        half = self.op("Mul", sizes, self.constant(0.5))
        return self.op("Concat", self.op("Sub", centres, half), self.op("Add", centres, half), axis=-1)

    def _fresh(self, kind: str) -> str:
        self._count += 1
        return f"composed/{kind}_{self._count}"

"""Quantised: int8 models in the form that TensorRT takes.

ONNX Runtime's tools store biases as int32 behind a DequantizeLinear; TensorRT wants them in float.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper

__all__ = ["fold_biases"]


def fold_biases(model: Any) -> None:
    """Replace stored int32 values and their DequantizeLinear by the floats that they mean, in place."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    folded = [
        node
        for node in model.graph.node
        if node.op_type == "DequantizeLinear"
        and node.input[0] in stored
        and stored[node.input[0]].data_type == TensorProto.INT32
    ]
    for node in folded:
        values, scale = (numpy_helper.to_array(stored[name]) for name in node.input[:2])
        floats = (values * scale.astype(np.float64)).astype(np.float32)  # zero points of int32 are 0
        model.graph.initializer.append(numpy_helper.from_array(floats, node.output[0]))
        model.graph.node.remove(node)

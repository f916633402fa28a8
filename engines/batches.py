"""Batches: a composed model made to take any number of pictures up to its batch, so that few cost less."""

from __future__ import annotations

from typing import Any

from engines.backends import STATE
from engines.network import SIZES

__all__ = ["open_batch"]

_AXIS = "batch"


def open_batch(model: Any) -> bool:
    """Leave the batch of a composed onnx.ModelProto open, in place; False where it has to stay.

    Composition keeps the batch as it comes, but for some layouts that write it into a constant. Shapes are
    inferred for one picture to see that: then an output does not follow, or something does not fit.
    """
    from onnx import shape_inference

    inputs, outputs = model.graph.input, model.graph.output
    if len(inputs) != 1 or any(value.name.startswith(STATE) for value in outputs):
        return False
    if any(name.endswith(SIZES) for node in model.graph.node for name in node.output):
        return False
    twin = type(model)()
    twin.CopyFrom(model)
    del twin.graph.value_info[:]
    twin.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    for output in twin.graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        inferred = shape_inference.infer_shapes(twin, strict_mode=True, data_prop=True)
    except shape_inference.InferenceError:
        return False
    for output in inferred.graph.output:
        axes = output.type.tensor_type.shape.dim
        if axes and axes[0].dim_value > 1:
            return False
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = _AXIS
    del model.graph.value_info[:]
    return True

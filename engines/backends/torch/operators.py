"""Operators: what each kind of node of an ONNX graph computes, in torch's words.

Each takes its step (attributes, and inputs that never change as plain numbers) and its tensors, None for one
that is left out. The meaning is that of the ONNX operator specification, opset 11 to 22.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from onnx import TensorProto, numpy_helper

__all__ = ["DTYPES", "OPERATORS", "Step"]

DTYPES = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.BFLOAT16: torch.bfloat16,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.UINT8: torch.uint8,
    TensorProto.INT8: torch.int8,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.BOOL: torch.bool,
}


class Step(Protocol):
    """One node."""

    opset: int

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute."""

    def numbers(self, place: int) -> list[Any]:
        """Return an input that never changes, as a list. Raises InputError where it may change."""

    def has(self, place: int) -> bool:
        """Tell whether an input is given."""


Operator = Callable[..., Any]


def _divide(step: Step, a: Any, b: Any) -> Any:
    return torch.div(a, b) if a.dtype.is_floating_point else torch.div(a, b, rounding_mode="trunc")


def _modulo(step: Step, a: Any, b: Any) -> Any:
    return torch.fmod(a, b) if step.get("fmod", 0) else torch.remainder(a, b)


def _fold(of_two: Operator) -> Operator:
    def many(step: Step, first: Any, *rest: Any) -> Any:
        for other in rest:
            first = of_two(first, other)
        return first

    return many


def _plain(function: Operator) -> Operator:
    return lambda step, *tensors: function(*tensors)


def _clip(step: Step, x: Any, *bounds: Any) -> Any:
    least, most = (step.numbers(place)[0] if step.has(place) else None for place in (1, 2))
    return x if least is most is None else torch.clamp(x, least, most)


def _hard_sigmoid(step: Step, x: Any) -> Any:
    return torch.clamp(x * step.get("alpha", 0.2) + step.get("beta", 0.5), 0, 1)


def _softmax(step: Step, x: Any) -> Any:
    if step.opset >= 13:
        return torch.softmax(x, step.get("axis", -1))
    axis = step.get("axis", 1) % x.dim()  # of old: over all axes from this one on
    return torch.softmax(x.flatten(axis), axis).reshape(x.shape)


def _cast(step: Step, x: Any) -> Any:
    return x.to(DTYPES[step.get("to")])


def _constant(step: Step) -> Any:
    for name in ("value_float", "value_int", "value_floats", "value_ints"):
        if step.get(name) is not None:
            values = step.get(name)
            return torch.tensor(values, dtype=torch.float32 if "float" in name else torch.int64)
    return torch.from_numpy(numpy_helper.to_array(step.get("value")).copy())


def _constant_of_shape(step: Step, shape: Any) -> Any:
    filled = step.get("value")
    value = torch.from_numpy(numpy_helper.to_array(filled).copy()) if filled else torch.zeros(1)
    return value.reshape(()).expand(step.numbers(0)).clone()


def _reshape(step: Step, x: Any, shape: Any) -> Any:
    wanted = step.numbers(1)
    if not step.get("allowzero", 0):
        wanted = [x.shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    return x.reshape(wanted)


def _flatten(step: Step, x: Any) -> Any:
    axis = step.get("axis", 1) % (x.dim() + 1)
    rows = 1
    for size in x.shape[:axis]:
        rows *= size
    return x.reshape(rows, -1)


def _transpose(step: Step, x: Any) -> Any:
    return x.permute(step.get("perm", list(range(x.dim()))[::-1]))


def _axes(step: Step, place: int = 1) -> list[int]:
    return list(step.get("axes", [])) or (step.numbers(place) if step.has(place) else [])


def _unsqueeze(step: Step, x: Any, axes: Any = None) -> Any:
    wanted = _axes(step)
    for axis in sorted(axis % (x.dim() + len(wanted)) for axis in wanted):
        x = x.unsqueeze(axis)
    return x


def _squeeze(step: Step, x: Any, axes: Any = None) -> Any:
    wanted = _axes(step) or [axis for axis, size in enumerate(x.shape) if size == 1]
    return x.squeeze(tuple(wanted))


def _concat(step: Step, *tensors: Any) -> Any:
    return torch.cat(tensors, step.get("axis"))


def _split(step: Step, x: Any, sizes: Any = None) -> Any:
    axis = step.get("axis", 0)
    told = list(step.get("split", [])) or (step.numbers(1) if step.has(1) else [])
    return torch.split(x, told or -(-x.shape[axis] // step.get("outputs")), axis)


def _slice(step: Step, x: Any, *bounds: Any) -> Any:
    starts, stops = step.numbers(1), step.numbers(2)
    axes = step.numbers(3) if step.has(3) else range(len(starts))
    strides = step.numbers(4) if step.has(4) else [1] * len(starts)
    for start, stop, axis, stride in zip(starts, stops, axes, strides, strict=True):
        places = list(range(x.shape[axis]))[slice(start, stop if stop > -(1 << 31) else None, stride)]
        if stride > 0:
            index = [slice(None)] * x.dim()
            index[axis] = slice(places[0], places[-1] + 1, stride) if places else slice(0, 0)
            x = x[tuple(index)]
        else:
            x = x.index_select(axis, torch.arange(len(places), device=x.device) * stride + places[0])
    return x


def _gather(step: Step, x: Any, index: Any) -> Any:
    axis = step.get("axis", 0) % x.dim()
    index = torch.where(index < 0, index + x.shape[axis], index).long()
    rows = x.index_select(axis, index.reshape(-1))
    return rows.reshape((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]))


def _gather_elements(step: Step, x: Any, index: Any) -> Any:
    return torch.gather(x, step.get("axis", 0), index.long())


def _gather_nd(step: Step, x: Any, index: Any) -> Any:
    batches = [torch.arange(size, device=x.device) for size in x.shape[: step.get("batch_dims", 0)]]
    shape = [1] * (index.dim() - 1)
    places = [one.reshape([*shape[:axis], -1, *shape[axis + 1 :]]) for axis, one in enumerate(batches)]
    return x[(*places, *index.unbind(-1))]


def _expand(step: Step, x: Any, shape: Any) -> Any:
    return x.expand(torch.broadcast_shapes(x.shape, tuple(step.numbers(1))))


def _tile(step: Step, x: Any, repeats: Any) -> Any:
    return x.repeat(step.numbers(1))


def _range(step: Step, start: Any, limit: Any, delta: Any) -> Any:
    return torch.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


def _top_k(step: Step, x: Any, k: Any) -> Any:
    axis = step.get("axis", -1)  # sorted stably: of equals the first comes first, as ONNX demands
    values, index = torch.sort(x, dim=axis, descending=bool(step.get("largest", 1)), stable=True)
    (count,) = step.numbers(1)
    return values.narrow(axis, 0, count), index.narrow(axis, 0, count)


def _reduce(function: Operator) -> Operator:
    def reduced(step: Step, x: Any, axes: Any = None) -> Any:
        wanted = _axes(step)
        if not wanted and step.get("noop_with_empty_axes", 0):
            return x
        return function(x, wanted or list(range(x.dim())), keepdim=bool(step.get("keepdims", 1)))

    return reduced


def _arg(function: Operator) -> Operator:
    def found(step: Step, x: Any) -> Any:
        return function(x, step.get("axis", 0), keepdim=bool(step.get("keepdims", 1)))

    return found


def _padded(step: Step, x: Any, value: float) -> tuple[Any, list[int]]:
    """The input with what torch cannot pad by itself (unequal ends), and the padding that is left to it."""
    dims = x.dim() - 2
    pads = list(step.get("pads", [0] * 2 * dims))
    if pads[:dims] == pads[dims:]:
        return x, pads[:dims]
    flat = [size for axis in reversed(range(dims)) for size in (pads[axis], pads[axis + dims])]
    return F.pad(x, flat, value=value), [0] * dims


def _conv(step: Step, x: Any, weights: Any, bias: Any = None) -> Any:
    x, pads = _padded(step, x, 0.0)
    dims = x.dim() - 2
    function = (F.conv1d, F.conv2d, F.conv3d)[dims - 1]
    strides, dilations = step.get("strides", [1] * dims), step.get("dilations", [1] * dims)
    return function(x, weights, bias, strides, pads, dilations, step.get("group", 1))


def _conv_transpose(step: Step, x: Any, weights: Any, bias: Any = None) -> Any:
    dims = x.dim() - 2
    function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[dims - 1]
    pads, more = step.get("pads", [0] * 2 * dims), step.get("output_padding", [0] * dims)
    more = [extra + first - last for extra, first, last in zip(more, pads, pads[dims:], strict=False)]
    strides, dilations = step.get("strides", [1] * dims), step.get("dilations", [1] * dims)
    return function(x, weights, bias, strides, pads[:dims], more, step.get("group", 1), dilations)


def _max_pool(step: Step, x: Any) -> Any:
    x, pads = _padded(step, x, float("-inf"))
    dims = x.dim() - 2
    function = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[dims - 1]
    strides, dilations = step.get("strides", [1] * dims), step.get("dilations", [1] * dims)
    return function(x, step.get("kernel_shape"), strides, pads, dilations, bool(step.get("ceil_mode", 0)))


def _average_pool(step: Step, x: Any) -> Any:
    x, pads = _padded(step, x, 0.0)
    function = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[x.dim() - 3]
    strides = step.get("strides", [1] * (x.dim() - 2))
    whole, counts = bool(step.get("ceil_mode", 0)), bool(step.get("count_include_pad", 0))
    return function(x, step.get("kernel_shape"), strides, pads, whole, counts)


def _batch_norm(step: Step, x: Any, scale: Any, bias: Any, mean: Any, variance: Any) -> Any:
    return F.batch_norm(x, mean, variance, scale, bias, False, 0.0, step.get("epsilon", 1e-5))


def _instance_norm(step: Step, x: Any, scale: Any, bias: Any) -> Any:
    return F.instance_norm(x, weight=scale, bias=bias, eps=step.get("epsilon", 1e-5))


def _layer_norm(step: Step, x: Any, scale: Any, bias: Any = None) -> Any:
    axis = step.get("axis", -1) % x.dim()
    return F.layer_norm(x, x.shape[axis:], scale, bias, step.get("epsilon", 1e-5))


def _gemm(step: Step, a: Any, b: Any, c: Any = None) -> Any:
    product = (a.T if step.get("transA", 0) else a) @ (b.T if step.get("transB", 0) else b)
    product = product * step.get("alpha", 1.0)
    return product if c is None else product + c * step.get("beta", 1.0)


def _pad(step: Step, x: Any, pads: Any, value: Any = None, axes: Any = None) -> Any:
    told = step.numbers(1)
    chosen = [axis % x.dim() for axis in step.numbers(3)] if step.has(3) else list(range(x.dim()))
    ends = {axis: (told[at], told[at + len(chosen)]) for at, axis in enumerate(chosen)}
    flat = [size for axis in reversed(range(x.dim())) for size in ends.get(axis, (0, 0))]
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}[step.get("mode", "constant")]
    if mode != "constant":
        return F.pad(x, flat[: 2 * (x.dim() - 2)], mode)
    return F.pad(x, flat, value=step.numbers(2)[0] if step.has(2) else 0)


def _resize(step: Step, x: Any, *rest: Any) -> Any:
    if step.has(3):
        size = step.numbers(3)[2:]
    else:
        size = [int(length * scale) for length, scale in zip(x.shape[2:], step.numbers(2)[2:], strict=True)]
    mode, where = step.get("mode", "nearest"), step.get("coordinate_transformation_mode", "half_pixel")
    if mode == "nearest":  # of whole factors, which is all that networks have, every rule gives the same
        return F.interpolate(x, size=size, mode="nearest")
    name = {"linear": "bilinear", "cubic": "bicubic"}[mode]
    return F.interpolate(x, size=size, mode=name, align_corners=where == "align_corners")


def _depth_to_space(step: Step, x: Any) -> Any:
    block, (batch, depth, height, width) = step.get("blocksize"), x.shape
    if step.get("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, block)
    x = x.reshape(batch, block, block, depth // block**2, height, width).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(batch, depth // block**2, height * block, width * block)


def _grid_sample(step: Step, x: Any, grid: Any) -> Any:
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(step.get("mode", "linear"), step.get("mode"))
    rule = bool(step.get("align_corners", 0))
    return F.grid_sample(x, grid, mode, step.get("padding_mode", "zeros"), align_corners=rule)


OPERATORS: dict[str, Operator] = {
    "Abs": _plain(torch.abs),
    "Add": _plain(torch.add),
    "And": _plain(torch.logical_and),
    "ArgMax": _arg(torch.argmax),
    "ArgMin": _arg(torch.argmin),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Ceil": _plain(torch.ceil),
    "Clip": _clip,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Cos": _plain(torch.cos),
    "DepthToSpace": _depth_to_space,
    "Div": _divide,
    "Dropout": lambda step, x, *rest: x,
    "Einsum": lambda step, *tensors: torch.einsum(step.get("equation"), *tensors),
    "Elu": lambda step, x: F.elu(x, step.get("alpha", 1.0)),
    "Equal": _plain(torch.eq),
    "Erf": _plain(torch.erf),
    "Exp": _plain(torch.exp),
    "Expand": _expand,
    "Flatten": _flatten,
    "Floor": _plain(torch.floor),
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Gelu": lambda step, x: F.gelu(x, approximate=step.get("approximate", "none")),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda step, x: x.mean(tuple(range(2, x.dim())), keepdim=True),
    "GlobalMaxPool": lambda step, x: x.amax(tuple(range(2, x.dim())), keepdim=True),
    "Greater": _plain(torch.gt),
    "GreaterOrEqual": _plain(torch.ge),
    "GridSample": _grid_sample,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _plain(F.hardswish),
    "Identity": _plain(lambda x: x),
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "LeakyRelu": lambda step, x: F.leaky_relu(x, step.get("alpha", 0.01)),
    "Less": _plain(torch.lt),
    "LessOrEqual": _plain(torch.le),
    "Log": _plain(torch.log),
    "LogSoftmax": lambda step, x: torch.log_softmax(x, step.get("axis", -1)),
    "MatMul": _plain(torch.matmul),
    "Max": _fold(torch.maximum),
    "MaxPool": _max_pool,
    "Min": _fold(torch.minimum),
    "Mod": _modulo,
    "Mul": _plain(torch.mul),
    "Neg": _plain(torch.neg),
    "Not": _plain(torch.logical_not),
    "Or": _plain(torch.logical_or),
    "PRelu": lambda step, x, slope: torch.where(x < 0, x * slope, x),
    "Pad": _pad,
    "Pow": _plain(torch.pow),
    "Range": _range,
    "Reciprocal": _plain(torch.reciprocal),
    "ReduceL2": _reduce(lambda x, axes, keepdim: torch.linalg.vector_norm(x, dim=axes, keepdim=keepdim)),
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(torch.mean),
    "ReduceMin": _reduce(torch.amin),
    "ReduceSum": _reduce(torch.sum),
    "Relu": _plain(torch.relu),
    "Reshape": _reshape,
    "Resize": _resize,
    "Round": _plain(torch.round),
    "Sigmoid": _plain(torch.sigmoid),
    "Sign": _plain(torch.sign),
    "Sin": _plain(torch.sin),
    "Slice": _slice,
    "Softmax": _softmax,
    "Softplus": _plain(F.softplus),
    "Split": _split,
    "Sqrt": _plain(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _plain(torch.sub),
    "Sum": _fold(torch.add),
    "Tanh": _plain(torch.tanh),
    "Tile": _tile,
    "TopK": _top_k,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _plain(torch.where),
}

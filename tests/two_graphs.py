"""A model for video small enough to compute by hand: its first box tells its own and its key frame's picture.

A picture of evenly ``light`` pixels (0..255) after a key frame of ``before`` gives one box whose left edge is
10 + light / 16 and whose top is 8 + before / 16; a key frame follows itself.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

SIZE = (64, 64)


def write_pair(folder: Path, name: str = "two") -> Path:
    """Write NAME.key.onnx and NAME.between.onnx with free batches; return the path of the first."""
    for role in ("key", "between"):
        (folder / f"{name}.{role}.onnx").write_bytes(_graph(role).SerializeToString())
    return folder / f"{name}.key.onnx"


def picture(light: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.full((size[1], size[0], 3), light, np.uint8)


def told(boxes: np.ndarray) -> tuple[int, int]:
    """The light of a frame and of its key frame, as its detections tell."""
    (box,) = boxes
    return round((box[0] - 10) * 16), round((box[1] - 8) * 16)


def _graph(role: str) -> object:
    """Light is the mean of the picture in 1/255; the state is that of the key frame, in two tensors."""
    key = role == "key"
    stored = {
        "axes": np.array([1, 2, 3]),
        "flat": np.array([0, 1, 1]),
        "base": np.array([[[10, 8, 40, 40]]], np.float32),
        "own": np.array([[[255 / 16, 0, 0, 0]]], np.float32),
        "key": np.array([[[0, 255 / 16, 0, 0]]], np.float32),
        "sure": np.array([[[0.75]]], np.float32),
        "none": np.array([[[0.0]]], np.float32),
        "half": np.array([0.5], np.float32),
        "twice": np.array([[[[1]], [[1]]]], np.float32),
        "row": np.array([-1]),
        "ones": np.array([1]),
    }
    light = [
        helper.make_node("ReduceMean", ["images"], ["light"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Reshape", ["light", "flat"], ["now"]),
    ]
    found = [
        helper.make_node("Mul", ["now", "own"], ["moved"]),
        helper.make_node("Add", ["base", "moved"], ["placed"]),
        helper.make_node("Mul", ["before", "key"], ["lowered"]),
        helper.make_node("Add", ["placed", "lowered"], ["boxes"]),
        helper.make_node("Mul", ["now", "none"], ["nothing"]),
        helper.make_node("Add", ["nothing", "sure"], ["scores"]),
    ]
    kept = [
        helper.make_node("Identity", ["now"], ["before"]),
        helper.make_node("Mul", ["light", "half"], ["level"]),
        helper.make_node("Mul", ["level", "twice"], ["pair"]),
    ]
    taken = [
        helper.make_node("ReduceSum", ["pair", "ones"], ["sum"], keepdims=1),
        helper.make_node("Mul", ["sum", "half"], ["halves"]),
        helper.make_node("Add", ["halves", "level"], ["whole"]),
        helper.make_node("Reshape", ["whole", "flat"], ["before"]),
        helper.make_node("Sub", ["now", "before"], ["step"]),
        helper.make_node("Abs", ["step"], ["far"]),
        helper.make_node("Reshape", ["far", "row"], ["motion"]),
    ]
    pixels = _value("images", "batch", 3, SIZE[1], SIZE[0])
    state = [_value("level", "batch", 1, 1, 1), _value("pair", "batch", 2, 1, 1)]
    outputs = [_value("boxes", "batch", 1, 4), _value("scores", "batch", 1, 1)]
    nodes = [*light, *(kept if key else taken), *found]
    inputs = [pixels] if key else [pixels, *state]
    graph = helper.make_graph(
        nodes, role, inputs, [*outputs, *(state if key else [_value("motion", "batch")])]
    )
    used = {name for node in nodes for name in node.input}
    graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in stored.items() if name in used
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    entry = model.metadata_props.add()
    entry.key, entry.value = "streamer", '{"conf": 0.5, "layout": "dense", "classes": ["thing"], "pad": 0}'
    return model


def _value(name: str, *shape: int | str) -> object:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))

"""Networks whose outputs are known tables, loaded the way a user's file is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engines
from engines.detections import Detections
from engines.options import Options
from engines.spec import ModelSpec

Run = Callable[..., tuple[ModelSpec, Detections]]
ALSO: dict[str, tuple[list[np.ndarray], dict[str, Any]]] = {  # operator -> further inputs, attributes
    "TopK": ([np.array([1])], {}),
    "GridSample": ([np.zeros((1, 1, 1, 2), np.float32)], {}),
    "Conv": ([np.zeros((1, 3, 16, 16), np.float32)], {"strides": [16, 16]}),
}


def table_network(
    outputs: dict[str, np.ndarray],
    shape: tuple[int, ...],
    *,
    open_length: bool = False,
    decoded: bool = False,
    sizes: bool = False,
    also: tuple[str, ...] = (),
    unknown: tuple[str, ...] = (),
    weights: dict[str, int] | None = None,
    dtype: str = "float32",
    opset: int = 17,
    metadata: dict[str, str] | None = None,
) -> Any:
    """An ONNX model that gives ``outputs`` whatever it sees.

    ``open_length`` hides how many rows there are, ``decoded`` takes an exponent, ``sizes`` adds the input
    that asks for the size of the picture, by which boxes are then multiplied, ``also`` operators that nothing
    hears of, and ``weights`` such of a name and length; of ``unknown`` outputs no axis is told.
    """
    from onnx import helper, numpy_helper

    nodes, stored, values = [], [], []
    for name, array in outputs.items():
        stored.append(numpy_helper.from_array(array, f"{name}/table"))
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        source = f"{name}/table"
        dims: list[int | str] = list(array.shape)
        axis = 0 if len(shape) == 3 or array.shape[1:] == (7,) else 1
        if open_length and axis < array.ndim:
            stored.append(numpy_helper.from_array(np.ones(array.shape[axis], bool), f"{name}/all"))
            nodes.append(helper.make_node("Compress", [source, f"{name}/all"], [f"{name}/open"], axis=axis))
            source, dims[axis] = f"{name}/open", "n"
        if sizes and name == "boxes":
            nodes += [
                helper.make_node("Cast", ["orig_target_sizes"], ["wh"], to=1),
                helper.make_node("Concat", ["wh", "wh"], ["whwh"], axis=1),
                helper.make_node("Mul", [source, "whwh"], [f"{name}/scaled"]),
            ]
            source = f"{name}/scaled"
        if decoded:
            stored.append(numpy_helper.from_array(np.zeros(1, np.float32), f"{name}/zero"))
            nodes.append(helper.make_node("Exp", [f"{name}/zero"], [f"{name}/one"]))
            nodes.append(helper.make_node("Mul", [source, f"{name}/one"], [f"{name}/decoded"]))
            source = f"{name}/decoded"
        nodes.append(helper.make_node("Identity", [source], [name]))
        if name in unknown:
            dims = [f"{name}/{axis}" for axis in range(array.ndim)]
            stored.append(numpy_helper.from_array(np.array(array.shape), f"{name}/shape"))
            nodes.append(helper.make_node("Abs", [f"{name}/shape"], [f"{name}/dims"]))
            nodes[-2].output[0] = f"{name}/known"
            nodes.append(helper.make_node("Reshape", [f"{name}/known", f"{name}/dims"], [name]))
        values.append(helper.make_tensor_value_info(name, kind, dims))
    lengths = (weights or {}).items()
    stored += [numpy_helper.from_array(np.zeros(length, np.float32), name) for name, length in lengths]
    for kind in also:
        inputs, attributes = ALSO[kind]
        arrays = [numpy_helper.from_array(array, f"{kind}/{number}") for number, array in enumerate(inputs)]
        stored += arrays
        given = ["images", *(array.name for array in arrays)]
        leaves = [f"{kind}/{number}/made" for number in range(1 + (kind == "TopK"))]
        nodes.append(helper.make_node(kind, given, leaves, **attributes))
    inputs = [
        helper.make_tensor_value_info("images", helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
    ]
    if sizes:
        inputs.append(helper.make_tensor_value_info("orig_target_sizes", 7, ["n", 2]))
    graph = helper.make_graph(nodes, "tables", inputs, values, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    for key, value in (metadata or {}).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    return model


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Makes a network of tables, loads it, and returns what it is and what it finds in a grey picture."""

    def load(
        outputs: dict[str, np.ndarray],
        size: tuple[int, int],
        *,
        order: str = "nchw",
        card: str = "",
        conf: float = 0.25,
        options: dict[str, Any] | None = None,
        **rest: Any,
    ) -> tuple[ModelSpec, Detections]:
        axes = {"n": 1, "c": 3, "w": size[0], "h": size[1]}
        model = table_network(outputs, tuple(axes[axis] for axis in order), **rest)
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        if card:
            path.with_suffix(".yaml").write_text(card)
        with engines.load(path, Options(backend="onnxruntime", conf=conf, **(options or {}))) as loaded:
            (found,) = loaded.predict([np.full((size[1], size[0], 3), 128, np.uint8)])
            return loaded.spec, found

    return load


def assert_found(
    found: Detections, objects: list[tuple[list[float], float, int]], tolerance: float = 0.01
) -> None:
    """``found`` holds these (box xyxy, score, class), best first, and nothing else."""
    np.testing.assert_allclose(found.boxes, [box for box, _, _ in objects], atol=tolerance)
    np.testing.assert_allclose(found.scores, [score for _, score, _ in objects], atol=1e-4)
    assert found.classes.tolist() == [label for _, _, label in objects]


@pytest.fixture
def same() -> Callable[..., None]:
    """Asserts that detections are the planted objects, see `assert_found`."""
    return assert_found

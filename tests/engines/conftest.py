"""Networks small enough to compute by hand: constants, plus what the picture's brightness adds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Builder = Callable[..., Any]


def build_network(
    outputs: dict[str, np.ndarray],
    *,
    brightness: dict[str, np.ndarray] | None = None,
    size: tuple[int, int] = (64, 32),
    batch: int | str = 1,
    opset: int = 17,
    dtype: str = "float32",
    metadata: dict[str, str] | None = None,
) -> Any:
    """An ONNX model: each output (1, ...) is its array plus the mean of the input times ``brightness[name]``.

    The reshapes carry a batch of one as exporters write it, whatever ``batch`` the input declares.
    """
    from onnx import TensorProto, helper, numpy_helper

    nodes, stored, values = [], [], []

    def store(name: str, array: np.ndarray) -> str:
        stored.append(numpy_helper.from_array(array, name))
        return name

    nodes.append(helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT))
    nodes.append(helper.make_node("GlobalAveragePool", ["floats"], ["means"]))
    for name, array in outputs.items():
        gain = (brightness or {}).get(name, np.zeros_like(array)).astype(np.float32)
        weights = np.repeat(gain.reshape(-1, 1, 1, 1) / 3, 3, axis=1)
        bias = store(f"{name}/bias", array.reshape(-1).astype(np.float32))
        given = ["means", store(f"{name}/gain", weights), bias]
        nodes.append(helper.make_node("Conv", given, [f"{name}/sum"]))
        shape = store(f"{name}/shape", np.array([1, *array.shape[1:]]))
        nodes.append(helper.make_node("Reshape", [f"{name}/sum", shape], [name]))
        values.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *array.shape[1:]]))
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    pixels = helper.make_tensor_value_info("images", kind, [batch, 3, size[1], size[0]])
    graph = helper.make_graph(nodes, "by hand", [pixels], values, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    for key, value in (metadata or {}).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    return model


@pytest.fixture
def network() -> Builder:
    """Builds an onnx.ModelProto, see `build_network`."""
    return build_network


@pytest.fixture
def saved(tmp_path: Path) -> Builder:
    """Builds a model and writes it to a file of the given name; returns its path."""

    def build(outputs: dict[str, np.ndarray], name: str = "model.onnx", **rest: Any) -> Path:
        path = tmp_path / name
        path.write_bytes(build_network(outputs, **rest).SerializeToString())
        return path

    return build


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests out of the user's cache; one folder for all, as its entries are found by content."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))

"""Batches written into reshapes: the file's own leaves the graph as it is, others are followed or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engines
from engines.errors import WorkError
from engines.options import Options

Build = Callable[..., Any]
Step = tuple[str, list[int]]  # an operator, and its constant: a shape or axes

BOXES = np.array([[[8, 4, 24, 20], [40, 8, 60, 24]]], np.float32)
SCORES = np.array([[[0.6, 0.1, 0.2], [0.1, 0.3, 0.5]]], np.float32)
PICTURES = [np.full((32, 64, 3), level, np.uint8) for level in (0, 100, 200)]

STEPS: dict[str, tuple[list[Step], int]] = {  # what becomes of scores, and how many pictures it takes of 3
    "nothing": ([], 3),
    "dropped and put back": ([("Squeeze", [0]), ("Reshape", [1, 2, 3])], 1),
    "halves": ([("Reshape", [2, 3]), ("Reshape", [1, -1, 3])], 3),
    "merged with the rows": ([("Reshape", [6]), ("Reshape", [1, 2, 3])], 3),
    "the rest goes last": ([("Reshape", [1, 3, -1]), ("Reshape", [1, 2, -1])], 3),
    "not the first axis": (
        [("Transpose", [2, 0, 1]), ("Reshape", [3, 2]), ("Reshape", [3, 1, 2]), ("Transpose", [1, 2, 0])],
        3,
    ),
}


def through(model: Any, steps: list[Step]) -> Any:
    """Take scores through some operators before they leave."""
    from onnx import helper, numpy_helper

    graph = model.graph
    (last,) = (node for node in graph.node if node.output[0] == "scores")
    last.output[0] = "step 0"
    for number, (kind, values) in enumerate(steps):
        seen, made, constant = f"step {number}", f"step {number + 1}", f"constant {number}"
        if kind == "Transpose":
            graph.node.append(helper.make_node(kind, [seen], [made], perm=values))
        else:
            graph.initializer.append(numpy_helper.from_array(np.array(values), constant))
            graph.node.append(helper.make_node(kind, [seen, constant], [made]))
    graph.node.append(helper.make_node("Identity", [f"step {len(steps)}"], ["scores"]))
    return model


def made_for(model: Any, batch: int) -> Any:
    """Write a batch into the reshapes of a model of one picture."""
    from onnx import numpy_helper

    for tensor in model.graph.initializer:
        if tensor.name == "flat" or tensor.name.endswith("/shape"):
            _, *rest = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(np.array([batch, *rest]), tensor.name))
    return model


def check(found: list[engines.Detections]) -> None:
    for one, level in zip(found, (0, 100, 200), strict=True):
        np.testing.assert_allclose(one.boxes, BOXES[0], atol=1e-3)
        np.testing.assert_allclose(one.scores, np.array([0.6, 0.5]) * (1 + level / 255 / 2), atol=1e-3)
        assert one.classes.tolist() == [0, 2]


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("steps", "most"), STEPS.values(), ids=STEPS.keys())
def test_reshapes_follow_the_batch(
    steps: list[Step], most: int, batch: int, backend: str, network: Build, tmp_path: Path
) -> None:
    model = network({"boxes": BOXES, "scores": SCORES}, brightness={"scores": SCORES / 2}, opset=13)
    path = tmp_path / "net.onnx"
    path.write_bytes(through(model, steps).SerializeToString())
    with engines.load(path, Options(backend=backend, batch=batch, precision="fp32", iou=1.0)) as loaded:
        assert loaded.batch == min(batch, most)
        check(loaded.predict(PICTURES))


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("batch", [1, 2, 4])
def test_a_file_of_four_pictures_takes_other_batches(
    batch: int, backend: str, network: Build, tmp_path: Path
) -> None:
    model = network({"boxes": BOXES, "scores": SCORES}, brightness={"scores": SCORES / 2}, batch=4)
    path = tmp_path / "four.onnx"
    path.write_bytes(made_for(model, 4).SerializeToString())
    with engines.load(path, Options(backend=backend, batch=batch, precision="fp32")) as loaded:
        assert loaded.batch == batch
        check(loaded.predict(PICTURES))


def test_a_graph_that_keeps_its_four_pictures_says_so(network: Build, tmp_path: Path) -> None:
    model = made_for(network({"boxes": BOXES, "scores": SCORES}, batch=4), 4)
    steps: list[Step] = [("Gather", [0, 1, 2, 3])]
    path = tmp_path / "four.onnx"
    path.write_bytes(through(model, steps).SerializeToString())
    with pytest.raises(WorkError, match=r"batch: 1, the file is made for 4 .* 4 is right"):
        engines.load(path)

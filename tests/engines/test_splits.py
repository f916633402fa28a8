"""Rows that are parted by slices and then gathered, as YOLO26's exports do: every backend computes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engines
from engines.options import Options

COUNT, KEPT, CLASSES, DEPTH = 40, 8, 3, 4  # places, rows that leave, classes, mask coefficients


def tensor(name: str, values: Any) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.array(values), name)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Columns of (1, 4 + C + P, N), laid as rows, parted in three, and gathered where a class is best."""
    from onnx import TensorProto, helper

    width = 4 + CLASSES + DEPTH
    table = np.random.default_rng(0).random((1, width, COUNT), np.float32)
    cuts = {"boxes": (0, 4), "chances": (4, 4 + CLASSES), "weights": (4 + CLASSES, width)}
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["light"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Add", ["table", "light"], ["columns"]),
        helper.make_node("Transpose", ["columns"], ["rows"], perm=[0, 2, 1]),
        *(helper.make_node("Slice", ["rows", f"{name}/from", f"{name}/to", "last"], [name]) for name in cuts),
        helper.make_node("ReduceMax", ["chances"], ["best"], axes=[2], keepdims=0),
        helper.make_node("TopK", ["best", "kept"], ["top", "index"], axis=1),
        helper.make_node("Unsqueeze", ["index", "two"], ["places"]),
        helper.make_node("Unsqueeze", ["top", "two"], ["scores"]),
        helper.make_node("Expand", ["places", "four"], ["box places"]),
        helper.make_node("Expand", ["places", "deep"], ["weight places"]),
        helper.make_node("GatherElements", ["boxes", "box places"], ["kept boxes"], axis=1),
        helper.make_node("GatherElements", ["weights", "weight places"], ["kept weights"], axis=1),
        helper.make_node("Mul", ["scores", "nothing"], ["classes"]),
        helper.make_node("Concat", ["kept boxes", "scores", "classes", "kept weights"], ["output0"], axis=2),
        helper.make_node("Identity", ["planes"], ["output1"]),
    ]
    stored = [
        tensor("table", table * 20),
        tensor("planes", np.ones((1, DEPTH, 8, 16), np.float32)),
        tensor("nothing", np.zeros(1, np.float32)),
        *(tensor(f"{name}/from", [start]) for name, (start, _) in cuts.items()),
        *(tensor(f"{name}/to", [stop]) for name, (_, stop) in cuts.items()),
        tensor("last", [-1]),
        tensor("kept", [KEPT]),
        tensor("two", [2]),
        tensor("four", [1, 1, 4]),
        tensor("deep", [1, 1, DEPTH]),
    ]
    graph = helper.make_graph(
        nodes,
        "parted",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 32, 64])],
        [
            helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, KEPT, 6 + DEPTH]),
            helper.make_tensor_value_info("output1", TensorProto.FLOAT, [1, DEPTH, 8, 16]),
        ],
        stored,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    found = tmp_path / "parted.onnx"
    found.write_bytes(model.SerializeToString())
    found.with_suffix(".yaml").write_text("layout: ultralytics-end2end\ntask: segment\nclasses: [a, b, c]\n")
    return found


def test_parted_rows_are_gathered_on_every_backend(path: Path) -> None:
    results = []
    for backend in ("openvino", "onnxruntime"):
        with engines.load(path, Options(backend=backend, precision="fp32", conf=0.0)) as model:
            results += model.predict([np.full((32, 64, 3), 128, np.uint8)])
    one, other = results
    assert len(one)
    np.testing.assert_allclose(one.boxes, other.boxes, rtol=1e-4)
    np.testing.assert_allclose(one.scores, other.scores, rtol=1e-4)


def test_only_slices_that_part_a_whole_tensor_are_joined(path: Path) -> None:
    import onnx

    from engines.splits import split_tables

    for kept, expected in ((["boxes", "chances", "weights"], 1), (["boxes", "weights"], 0)):
        model = onnx.load(str(path))
        nodes = [node for node in model.graph.node if node.op_type != "Slice" or node.output[0] in kept]
        kinds = onnx.ModelProto()
        kinds.CopyFrom(model)
        del kinds.graph.node[:]
        kinds.graph.node.extend(nodes)
        split_tables(kinds, 17)
        seen = [node.op_type for node in kinds.graph.node]
        assert seen.count("Split") == expected
        assert seen.count("Slice") == (0 if expected else len(kept))

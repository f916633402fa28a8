"""The builder: what each version is asked for, and what the real TensorRT for RTX makes of our graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.backends.tensorrt.binding import Binding
from engines.backends.tensorrt.builder import Profile, Recipe, build_plan
from engines.errors import InputError, WorkError
from tests.engines.backends.fake_cuda import FakeCuda
from tests.engines.backends.fake_tensorrt import fake_tensorrt


def model(path: Path, *, open_batch: bool = False, dynamic: bool = False) -> Path:
    """A convolution of learnt weights over (batch, 3, 8, 8); ``dynamic`` quantises what comes out of it."""
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.full((8, 3, 3, 3), 0.1, np.float32), "weights")
    nodes = [helper.make_node("Conv", ["pixels", "weights"], ["out"], name="conv")]
    if dynamic:
        names = ["out8", "scale", "zero"]
        nodes.append(helper.make_node("DynamicQuantizeLinear", ["out"], names, name="head/quantise"))
    batch = "batch" if open_batch else 1
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *rest])
        for name, rest in (("pixels", (3, 8, 8)), ("out", (8, 6, 6)))
    ]
    graph = helper.make_graph(nodes, "by hand", values[:1], values[1:], [weights])
    opset = [helper.make_opsetid("", 17)]
    path.write_bytes(helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())
    return path


ASKED = {  # version and precision -> network, flags on, off, tactics, preview features, layers kept at fp32
    ("8.5.3.1", "fp16"): (
        ["EXPLICIT_BATCH"],
        ["FP16", "PREFER_PRECISION_CONSTRAINTS"],
        [],
        ["EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS"],
        ["DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805"],
        ["FLOAT"],
    ),
    ("8.6.1", "fp32"): (
        ["EXPLICIT_BATCH"],
        [],
        ["TF32"],
        ["EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS"],
        ["DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805", "PROFILE_SHARING_0806"],
        [],
    ),
    ("8.6.1", "int8"): (
        ["EXPLICIT_BATCH"],
        ["INT8"],
        [],
        ["EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS"],
        ["DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805", "PROFILE_SHARING_0806"],
        [],
    ),
    ("10.16.1", "fp16"): (["EXPLICIT_BATCH", "STRONGLY_TYPED"], [], [], None, ["PROFILE_SHARING_0806"], []),
    ("11.4.0", "fp16"): (["STRONGLY_TYPED"], [], [], None, [], []),
    ("11.4.0", "fp32"): (["STRONGLY_TYPED"], [], ["TF32"], None, [], []),
    ("1.7.1.116", "fp16"): (["STRONGLY_TYPED"], [], [], None, [], []),
}


@pytest.mark.parametrize(("how", "wishes"), ASKED.items(), ids=[" ".join(how) for how in ASKED])
def test_each_version_is_asked_in_its_own_words(how: tuple[str, str], wishes: Any, tmp_path: Path) -> None:
    trt = fake_tensorrt(how[0], FakeCuda())
    build_plan(Binding(trt), Recipe(model(tmp_path / "model.onnx"), how[1]))
    (asked,) = trt.built
    keys = ("network", "on", "off", "tactics", "preview", "forced")
    assert tuple(asked[key] for key in keys) == wishes


def test_a_precision_that_a_version_does_not_know_is_told(tmp_path: Path) -> None:
    binding = Binding(fake_tensorrt("8.6.1", FakeCuda()))
    with pytest.raises(InputError, match=r"precision: 'bf16', tensorrt 8\.6\.1 does not know it"):
        build_plan(binding, Recipe(model(tmp_path / "model.onnx"), "bf16"))


def test_a_version_that_is_too_old_is_refused() -> None:
    trt = fake_tensorrt("8.5.3.1", FakeCuda())
    trt.__version__ = "8.4.3.1"
    with pytest.raises(InputError, match=r"version 8\.4\.3\.1, 8\.5 or newer is needed"):
        Binding(trt)


@pytest.mark.parametrize(
    ("version", "contexts", "copies"),
    [("8.5.3.1", 3, 3), ("8.6.1", 3, 1), ("11.4.0", 3, 1)],
    ids=["a copy for each context", "shared by choice", "shared"],
)
def test_shapes_of_open_axes_serve_every_context(
    version: str, contexts: int, copies: int, tmp_path: Path
) -> None:
    trt = fake_tensorrt(version, FakeCuda())
    shapes = Profile("pixels", (1, 3, 8, 8), (4, 3, 8, 8), (8, 3, 8, 8))
    path = model(tmp_path / "model.onnx", open_batch=True)
    build_plan(Binding(trt), Recipe(path, "fp32", (shapes,), contexts))
    assert trt.built[0]["profiles"] == [{"pixels": (shapes.least, shapes.usual, shapes.most)}] * copies


def test_what_was_measured_is_kept_and_what_is_damaged_is_left(tmp_path: Path) -> None:
    trt, timings = fake_tensorrt("11.4.0", FakeCuda()), tmp_path / "timings"
    recipe = Recipe(model(tmp_path / "model.onnx"), "fp32", timings=timings)
    for _ in range(2):
        build_plan(Binding(trt), recipe)
    assert trt.built[0]["timings"] == 0
    assert trt.built[1]["timings"] > 0
    timings.write_bytes(b"garbage")
    build_plan(Binding(trt), recipe)
    assert (trt.built[2]["timings"], timings.read_bytes()) == (0, b"measured")


def test_a_build_ends_where_progress_says_so(tmp_path: Path) -> None:
    trt, seen = fake_tensorrt("11.4.0", FakeCuda()), list[float]()
    recipe = Recipe(model(tmp_path / "model.onnx"), "fp32")
    with pytest.raises(WorkError, match="the build was cancelled"):
        build_plan(Binding(trt), recipe, lambda at, phase: bool(seen.append(at)) or len(seen) < 4)
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("8.5.3.1", "node number 1: no importer"),
        ("11.4.0", r"node head/quantise \(DynamicQuantizeLinear\): no"),
    ],
)
def test_a_model_that_is_not_taken_is_told_by_its_nodes(version: str, said: str, tmp_path: Path) -> None:
    binding = Binding(fake_tensorrt(version, FakeCuda()))
    with pytest.raises(InputError, match=said):
        build_plan(binding, Recipe(model(tmp_path / "model.onnx", dynamic=True), "fp32"))


class TestReal:
    """With the real TensorRT for RTX, which builds without a GPU."""

    @pytest.fixture
    def rtx(self) -> Binding:
        reason = "the builder of tensorrt-rtx is not installed (pip install tensorrt-rtx)"
        return Binding(pytest.importorskip("tensorrt_rtx", reason=reason))

    def test_open_batches_build(self, rtx: Binding, tmp_path: Path) -> None:
        shapes = Profile("pixels", (1, 3, 8, 8), (4, 3, 8, 8), (8, 3, 8, 8))
        path = model(tmp_path / "model.onnx", open_batch=True)
        assert build_plan(rtx, Recipe(path, "fp32", (shapes,)))
        with pytest.raises(WorkError, match="no optimization profile has been defined"):
            build_plan(rtx, Recipe(path, "fp32"))

    def test_dynamic_quantisation_is_refused_with_the_names_of_its_nodes(
        self, rtx: Binding, tmp_path: Path
    ) -> None:
        with pytest.raises(InputError, match=r"node head/quantise \(DynamicQuantizeLinear\)"):
            build_plan(rtx, Recipe(model(tmp_path / "model.onnx", dynamic=True), "fp32"))

    def test_a_file_that_is_no_model_is_refused(self, rtx: Binding, tmp_path: Path) -> None:
        path = tmp_path / "model.onnx"
        path.write_bytes(b"not an ONNX file")
        with pytest.raises(InputError, match=r"model\.onnx: does not take"):
            build_plan(rtx, Recipe(path, "fp32"))

    def test_shapes_that_are_out_of_order_are_told(self, rtx: Binding, tmp_path: Path) -> None:
        shapes = Profile("pixels", (4, 3, 8, 8), (2, 3, 8, 8), (8, 3, 8, 8))
        with pytest.raises(InputError, match="shapes: pixels"):
            build_plan(rtx, Recipe(model(tmp_path / "model.onnx", open_batch=True), "fp32", (shapes,)))

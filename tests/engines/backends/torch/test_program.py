"""Graphs in torch: every operator as ONNX Runtime computes it, and whole models as well."""

from __future__ import annotations

import gc
import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import onnxruntime  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

import engines  # noqa: E402
from engines.backends import Build  # noqa: E402
from engines.backends import torch as torch_backend  # noqa: E402
from engines.backends.torch.operators import OPERATORS  # noqa: E402
from engines.backends.torch.program import Program, unknown_operators  # noqa: E402
from engines.errors import InputError  # noqa: E402
from engines.options import Options  # noqa: E402
from engines.parity import outputs, pictures  # noqa: E402

Spec = tuple[str, list[Any], dict[str, Any]]
RNG = np.random.default_rng(3)
X = "x"  # the picture's numbers: (2, 4, 6, 8) float32 from -2 to 2
WEIGHTS = RNG.normal(size=(6, 4, 3, 3)).astype(np.float32)
ROWS = RNG.normal(size=(8, 5)).astype(np.float32)
SOME = np.array([[0, 3, 1], [5, 5, 2]])


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def case(kind: str, *inputs: Any, **attributes: Any) -> Spec:
    return kind, list(inputs), attributes


FOUR = np.abs(RNG.normal(size=(4, 4)).astype(np.float32)) + 0.5  # scale, bias, mean, variance
CASES = {
    "add": case("Add", X, np.float32(2)),
    "divide whole numbers towards zero": case("Div", ints(-7, 7, 5), ints(2, -2, 2)),
    "modulo of python": case("Mod", ints(-7, 7, 5), ints(3, -3, 3)),
    "power": case("Pow", X, np.float32(2)),
    "most of three": case("Max", X, np.float32(0), np.float32(1)),
    "least of two": case("Min", X, np.float32(0)),
    "less": case("Less", X, np.float32(0)),
    "where": case("Where", np.array([True, False] * 4), X, np.float32(9)),
    "clip": case("Clip", X, np.float32(-1), np.float32(1)),
    "clip from above": case("Clip", X, "", np.float32(0.5)),
    "sigmoid": case("Sigmoid", X),
    "hard sigmoid": case("HardSigmoid", X, alpha=1 / 6, beta=0.5),
    "hard swish": case("HardSwish", X),
    "leaky": case("LeakyRelu", X, alpha=0.1),
    "softplus": case("Softplus", X),
    "erf": case("Erf", X),
    "softmax": case("Softmax", X, axis=1),
    "sign": case("Sign", X),
    "cast": case("Cast", X, to=TensorProto.INT32),
    "convolution": case("Conv", X, WEIGHTS, pads=[1, 1, 1, 1], strides=[2, 1], kernel_shape=[3, 3]),
    "convolution of groups": case("Conv", X, WEIGHTS[:, :2], group=2, dilations=[2, 2]),
    "convolution with unequal ends": case("Conv", X, WEIGHTS, pads=[0, 1, 2, 0], strides=[2, 2]),
    "transposed": case("ConvTranspose", X, WEIGHTS[:4], pads=[1, 1, 1, 1], strides=[2, 2]),
    "transposed, more": case("ConvTranspose", X, WEIGHTS[:4], output_padding=[1, 1], strides=[2, 2]),
    "normalised by batch": case("BatchNormalization", X, *FOUR, epsilon=1e-3),
    "normalised by picture": case("InstanceNormalization", X, FOUR[0], FOUR[1]),
    "normalised by layer": case("LayerNormalization", X, ROWS[:, 0], ROWS[:, 1]),
    "gemm": case("Gemm", ROWS, ROWS, FOUR[0, :1], transB=1, alpha=0.5, beta=2.0),
    "matmul": case("MatMul", X, ROWS),
    "max pool": case("MaxPool", X, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
    "max pool, rounded up": case("MaxPool", X, kernel_shape=[2, 3], strides=[2, 2], ceil_mode=1),
    "max pool with unequal ends": case("MaxPool", X, kernel_shape=[3, 3], pads=[0, 0, 1, 1], strides=[2, 2]),
    "average pool": case("AveragePool", X, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "global average": case("GlobalAveragePool", X),
    "global most": case("GlobalMaxPool", X),
    "grow to the nearest": case(
        "Resize", X, "", np.float32([1, 1, 2, 2]),
        mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    ),
    "grow in between": case("Resize", X, "", "", ints(2, 4, 9, 12), mode="linear"),
    "pad": case("Pad", X, ints(0, 0, 1, 2, 0, 0, 0, 1), np.float32(7)),
    "pad by mirror": case("Pad", X, ints(0, 0, 1, 2, 0, 0, 0, 1), mode="reflect"),
    "reshape": case("Reshape", X, ints(0, -1, 8)),
    "flatten": case("Flatten", X, axis=2),
    "transpose": case("Transpose", X, perm=[0, 2, 3, 1]),
    "unsqueeze": case("Unsqueeze", X, ints(1, -1)),
    "squeeze": case("Squeeze", ROWS[None, :, None], ints(0, 2)),
    "concat": case("Concat", X, X, axis=1),
    "split": case("Split", X, ints(3, 1), axis=1),
    "slice": case("Slice", X, ints(1, -3), ints(1 << 40, -1), ints(1, 3), ints(2, 1)),
    "slice backwards": case("Slice", X, ints(-1), ints(-(1 << 40)), ints(3), ints(-2)),
    "gather": case("Gather", X, SOME, axis=2),
    "gather from the end": case("Gather", X, np.int64(-1), axis=3),
    "gather elements": case("GatherElements", X, np.argsort(RNG.random((2, 4, 6, 8)), 3), axis=3),
    "gather rows of each picture": case("GatherND", X, ints(0, 2, 1, 3).reshape(2, 2, 1), batch_dims=1),
    "expand": case("Expand", ROWS[None], ints(3, 1, 1)),
    "tile": case("Tile", X, ints(1, 2, 1, 1)),
    "the best": case("TopK", X, ints(3), axis=3),
    "the best of equals": case("TopK", np.float32([[1, 2, 2, 1, 2]]), ints(4), axis=1),
    "most along axes": case("ReduceMax", X, ints(1, 3), keepdims=0),
    "mean": case("ReduceMean", X, ints(2)),
    "sum of all": case("ReduceSum", X),
    "length": case("ReduceL2", X, ints(1)),
    "place of the most": case("ArgMax", X, axis=1, keepdims=0),
    "depth to space": case("DepthToSpace", X, blocksize=2),
    "depth to space, other order": case("DepthToSpace", X, blocksize=2, mode="CRD"),
    "einsum": case("Einsum", X, ROWS, equation="bchw,wk->bck"),
    "sample": case("GridSample", X, RNG.uniform(-1, 1, (2, 3, 3, 2)).astype(np.float32)),
}  # fmt: skip


def build(kind: str, inputs: list[Any], attributes: dict[str, Any]) -> Any:
    """A model of one operator behind pixels: uint8 (2, 4, 6, 8), made floats from -2 to 2."""
    stored, names = [], []
    for place, value in enumerate(inputs):
        names.append(value if isinstance(value, str) else f"in{place}")
        if not isinstance(value, str):
            stored.append(numpy_helper.from_array(np.asarray(value), names[-1]))
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "gain"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "two"], [X]),
    ]
    stored += [
        numpy_helper.from_array(np.float32(4 / 255), "gain"),
        numpy_helper.from_array(np.float32(2), "two"),
    ]
    given = [f"out{number}" for number in range(2 if kind in ("Split", "TopK") else 1)]
    nodes.append(helper.make_node(kind, names, given, **attributes))
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, [2, 4, 6, 8])
    values = [helper.make_empty_tensor_value_info(name) for name in given]
    graph = helper.make_graph(nodes, "one", [pixels], values, stored)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20 if kind == "GridSample" else 18)], ir_version=9
    )


@pytest.mark.parametrize("spec", CASES.values(), ids=CASES)
def test_an_operator_computes_what_onnx_runtime_computes(spec: Spec) -> None:
    from onnx import shape_inference

    model = shape_inference.infer_shapes(build(*spec))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 8), np.uint8)
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    expected = onnxruntime.InferenceSession(model.SerializeToString(), settings).run(None, {"pixels": pixels})
    with torch.inference_mode():
        found = Program(model, torch.device("cpu"))(torch.from_numpy(pixels))
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.numpy().dtype == theirs.dtype
        np.testing.assert_allclose(mine.numpy(), theirs, rtol=1e-5, atol=1e-5)


def test_most_operators_are_tried() -> None:
    plain = """
        Abs And ArgMin Ceil Constant ConstantOfShape Cos Dropout Elu Equal Exp Floor Gelu Greater
        GreaterOrEqual Identity LessOrEqual Log LogSoftmax Mul Neg Not Or PRelu Range Reciprocal ReduceMin
        Relu Round Sin Sqrt Sub Sum Tanh
    """
    assert {spec[0] for spec in CASES.values()} | set(plain.split()) == set(OPERATORS)


def test_what_is_not_known_is_named() -> None:
    assert unknown_operators(build("NonMaxSuppression", [X], {})) == "NonMaxSuppression"
    assert "Conv with auto_pad" in unknown_operators(build("Conv", [X, WEIGHTS], {"auto_pad": "SAME_UPPER"}))
    with pytest.raises(InputError, match="backend: torch: it does not know NonZero"):
        Program(build("NonZero", [X], {}), torch.device("cpu"))


@pytest.mark.parametrize(("precision", "close"), [("fp32", 1e-4), ("bf16", 0.1)])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_shipped_model_says_the_same(precision: Any, close: float, batch: int) -> None:
    images = pictures((320, 192), 4)
    found = []
    for backend, how in (("onnxruntime", "fp32"), ("torch", precision)):
        with engines.load("tiny-yolo", Options(backend=backend, precision=how, batch=batch)) as model:
            assert (model.engine.backend, model.engine.precision, model.batch) == (backend, how, batch)
            images = pictures(model.spec.size, 4)
            found.append(outputs(model.engine, images))
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine["scores"], theirs["scores"], atol=close)


REFUSED = {
    "kind of device": (Options(device="npu"), "device: 'npu', torch runs on cuda"),
    "precision": (Options(device="cpu", precision="fp16"), "precision: 'fp16', torch runs fp32, bf16 on cpu"),
}


@pytest.mark.parametrize(("options", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_had_is_told(options: Options, said: str) -> None:
    from dataclasses import replace

    with pytest.raises(InputError, match=said):
        engines.load("tiny-yolo", replace(options, backend="torch"))


def test_auto_does_not_take_it_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from engines.backends import cuda, select_backends

    monkeypatch.setattr(cuda, "find_driver", lambda: None)
    assert "torch" not in [name for name, _ in select_backends("auto")]
    assert "torch" not in [name for name, _ in select_backends("auto", "cuda")]


FAMILIES = ("yolo", "ssd_small", "yolactedge")


@pytest.mark.parametrize("family", FAMILIES)
def test_our_own_families_run(family: str, tmp_path: Path) -> None:
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    from engines.spec import ModelSpec
    from trainers import models
    from trainers.config import Network
    from trainers.export import write

    torch.manual_seed(5)
    little = {"widths": (8, 8, 16, 16, 24), "depths": (1, 1, 1, 1), "neck": 16, "prototypes": 4}
    net = models.build(3, Network(arch=family, **little)).eval()
    joints = tuple(f"joint{number}" for number in range(17)) if net.task == "pose" else ()
    size = (128, 128) if family == "ssd_small" else (96, 64)
    spec = ModelSpec("little", net.task, "dense", ("a", "b", "c"), size, keypoints=joints)
    path = write(net, spec, tmp_path / "a.onnx", half=True, words={})
    found = []
    for backend in ("onnxruntime", "torch"):
        with engines.load(path, Options(backend=backend, precision="fp32")) as model:
            found.append(outputs(model.engine, pictures(size, 2)))
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine["scores"], theirs["scores"], atol=1e-4)


def test_the_weights_last_as_long_as_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CUDA graph knows where they lie, but does not hold them: others would be computed with."""
    programs: list[weakref.ref[Program]] = []

    class Recorded:
        device = "GPU"

        def __init__(self, program: Program, shape: tuple[int, ...], device: Any) -> None:
            programs.append(weakref.ref(program))
            self.inputs = {program.input: np.zeros(shape, np.uint8)}

        def give(self) -> dict[str, np.ndarray]:
            return {}

        def close(self) -> None: ...

    face = [("pixels", TensorProto.UINT8), ("boxes", TensorProto.FLOAT)]
    pixels, boxes = (helper.make_tensor_value_info(name, kind, [1, 4, 4, 3]) for name, kind in face)
    node = helper.make_node("Cast", ["pixels"], ["boxes"], to=TensorProto.FLOAT)
    graph = helper.make_graph([node], "cast", [pixels], [boxes])
    model = tmp_path / "cast.onnx"
    model.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    )
    monkeypatch.setattr(torch_backend, "_CudaRequest", Recorded)
    monkeypatch.setattr(torch_backend, "_device", lambda wanted: torch.device("meta"))
    engine = torch_backend.open_engine(Build(model, "cuda", "fp32", 1, 1))
    gc.collect()
    assert programs[0]() is not None
    engine.close()
    gc.collect()
    assert programs[0]() is None


def test_on_a_gpu_graphs_say_the_same() -> None:
    if not torch.cuda.is_available():
        if os.environ.get("FAIL_WITHOUT_GPU"):
            pytest.fail("no NVIDIA GPU, and FAIL_WITHOUT_GPU is set")
        pytest.skip("no NVIDIA GPU")
    found = []
    for options in (Options(backend="onnxruntime", precision="fp32"), Options(backend="torch", batch=2)):
        with engines.load("tiny-yolo", options) as model:
            found.append(model.predict(pictures((640, 360), 5)))
            assert options.backend != "torch" or model.engine.precision == "fp16"
    assert [len(one) for one in found[0]] == pytest.approx([len(one) for one in found[1]], abs=1)

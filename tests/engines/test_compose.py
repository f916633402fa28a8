"""Composition: what leaves the graph equals what numpy makes of the raw outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.compose import compose
from engines.network import fix_size, read_network
from engines.options import Options
from engines.spec import ModelSpec

SIZE = (64, 32)
CELLS = 8 * 4 + 4 * 2 + 2 * 1
RNG = np.random.default_rng(0)
NAMES = ("a", "b", "c")

Make = Callable[..., Any]
Tensors = dict[str, np.ndarray]


def run(path: Path, spec: ModelSpec, pixels: np.ndarray, **options: Any) -> Tensors:
    """Compose a file and run it with ONNX Runtime."""
    import onnxruntime

    network = fix_size(read_network(path), spec.size)
    (composed,) = compose(network, spec, Options(batch=len(pixels), **options)).values()
    session = onnxruntime.InferenceSession(composed, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"pixels": pixels}), strict=True))


def grey(level: int, count: int = 1) -> np.ndarray:
    return np.full((count, SIZE[1], SIZE[0], 3), level, np.uint8)


def random_scores(classes: int = 3) -> np.ndarray:
    return RNG.permutation(CELLS * classes).reshape(1, CELLS, classes).astype(np.float32) / (CELLS * classes)


def corners(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], -1)


def best(scores: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of the highest scores and their classes, of (N, C)."""
    order = np.argsort(-scores.max(1))[:count]
    return order, scores[order].argmax(1)


def yolox_case() -> tuple[Tensors, ModelSpec, np.ndarray, np.ndarray, Tensors]:
    """Raw rows, and by an own decoding: boxes, scores."""
    raw = RNG.normal(0, 0.5, (1, CELLS, 8)).astype(np.float32)
    raw[..., 4] = RNG.random((1, CELLS))
    raw[..., 5:] = random_scores()
    boxes = np.zeros((CELLS, 4))
    row = 0
    for stride in (8, 16, 32):
        for y in range(SIZE[1] // stride):
            for x in range(SIZE[0] // stride):
                values = raw[0, row]
                boxes[row] = [
                    (values[0] + x) * stride,
                    (values[1] + y) * stride,
                    *(np.exp(values[2:4]) * stride),
                ]
                row += 1
    spec = ModelSpec("m", "detect", "yolox", NAMES, SIZE)
    return {"output": raw}, spec, corners(boxes), raw[0, :, 5:] * raw[0, :, 4:5], {}


def ultralytics_case(task: str) -> tuple[Tensors, ModelSpec, np.ndarray, np.ndarray, Tensors]:
    boxes = np.abs(RNG.normal(20, 5, (CELLS, 4)))
    scores = random_scores()[0]
    columns, extras, raw = [boxes, scores], {}, {}
    spec = ModelSpec("m", task, "ultralytics", NAMES, SIZE)  # type: ignore[arg-type]
    if task == "pose":
        points = RNG.random((CELLS, 2, 3))
        columns.append(points.reshape(CELLS, 6))
        extras = {"keypoints": points}
        spec = replace(spec, keypoints=("left", "right"))
    if task == "segment":
        coefficients = RNG.normal(size=(CELLS, 4))
        columns.append(coefficients)
        extras = {"coefficients": coefficients}
        raw = {"output1": RNG.normal(size=(1, 4, 8, 16)).astype(np.float32)}
    output = np.concatenate(columns, 1).T[None].astype(np.float32)
    return {"output0": output, **raw}, spec, corners(boxes), scores, extras


def dense_case(task: str) -> tuple[Tensors, ModelSpec, np.ndarray, np.ndarray, Tensors]:
    boxes, scores, extras = RNG.normal(20, 5, (CELLS, 4)), random_scores(), {}
    raw = {"boxes": boxes[None], "scores": scores}
    if task == "pose":
        extras = {"keypoints": RNG.random((CELLS, 2, 3))}
    if task == "segment":
        extras = {"coefficients": RNG.normal(size=(CELLS, 4))}
        raw["prototypes"] = RNG.normal(size=(1, 4, 8, 16))
    raw |= {name: values[None] for name, values in extras.items()}
    spec = ModelSpec("m", task, "dense", NAMES, SIZE)  # type: ignore[arg-type]
    return {k: v.astype(np.float32) for k, v in raw.items()}, spec, boxes, scores[0], extras


CASES = {
    "yolox": yolox_case(),
    "ultralytics detect": ultralytics_case("detect"),
    "ultralytics segment": ultralytics_case("segment"),
    "ultralytics pose": ultralytics_case("pose"),
    "dense detect": dense_case("detect"),
    "dense segment": dense_case("segment"),
    "dense pose": dense_case("pose"),
}


@pytest.mark.parametrize("opset", [11, 17, 18, 20])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_best_places_leave_decoded(case: Any, opset: int, saved: Make) -> None:
    raw, spec, boxes, scores, extras = case
    seen = run(saved(raw, opset=opset), spec, grey(0), candidates=10)
    order, classes = best(scores, 10)
    np.testing.assert_allclose(seen["scores"][0], scores[order].max(1), rtol=1e-5)
    np.testing.assert_array_equal(seen["classes"][0], classes)
    np.testing.assert_allclose(seen["boxes"][0], boxes[order], rtol=1e-4, atol=1e-3)
    for name, values in extras.items():
        np.testing.assert_allclose(seen[name][0], values[order], rtol=1e-5, atol=1e-5)
    if spec.task == "segment":
        (prototypes,) = (values for values in raw.values() if values.ndim == 4)
        np.testing.assert_array_equal(seen["prototypes"], prototypes)
    assert [str(values.dtype) for values in (seen["boxes"], seen["classes"])] == ["float32", "int32"]


@pytest.mark.parametrize("case", [CASES["yolox"], CASES["ultralytics pose"], CASES["dense detect"]])
def test_all_labels_leave_as_pairs_of_place_and_class(case: Any, saved: Make) -> None:
    raw, spec, boxes, scores, _ = case
    seen = run(saved(raw), spec, grey(0), candidates=50, labels="all")
    order = np.argsort(-scores.ravel())[:50]
    np.testing.assert_allclose(seen["scores"][0], scores.ravel()[order], rtol=1e-5)
    np.testing.assert_array_equal(seen["classes"][0], order % 3)
    np.testing.assert_allclose(seen["boxes"][0], boxes[order // 3], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("labels", ["best", "all"])
@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_hide_no_others(
    odd: float, labels: Any, backend: str, saved: Make
) -> None:
    """More odd places than leave the graph, before and after two good ones."""
    import engines

    boxes = np.tile(np.array([10, 8, 30, 24], np.float32), (1, 400, 1))
    boxes[0, 250] += 20
    scores = np.full((1, 400, 3), odd, np.float32)
    scores[0, 20] = [0.1, 0.2, 0.9]
    scores[0, 250] = [0.1, 0.8, 0.3]
    path = saved({"boxes": boxes, "scores": scores})
    options = Options(backend=backend, precision="fp32", conf=0.5, labels=labels)
    with engines.load(path, options) as model:
        (found,) = model.predict([np.zeros((32, 64, 3), np.uint8)])
        assert model.invalid or odd < 0  # of which OpenVINO's maximum makes its lowest number
    np.testing.assert_allclose(found.scores, [0.9, 0.8], rtol=1e-5)
    assert found.classes.tolist() == [2, 1]


@pytest.mark.parametrize("place", [0, 1])
def test_a_class_that_is_no_number_is_not_the_best(place: int, saved: Make) -> None:
    """OpenVINO's maximum passes over NaN, so the score is that of another class; ONNX Runtime drops it."""
    import engines

    scores = np.array([[[0.1, 0.1, 0.9]]], np.float32)
    scores[0, 0, place] = np.nan
    path = saved({"boxes": np.array([[[8, 4, 24, 20]]], np.float32), "scores": scores})
    for backend in ("openvino", "onnxruntime"):
        with engines.load(path, Options(backend=backend, precision="fp32")) as model:
            (found,) = model.predict([np.zeros((32, 64, 3), np.uint8)])
        assert set(found.classes.tolist()) <= {2}


def test_a_small_network_gives_all_its_places(saved: Make) -> None:
    raw, spec, *_ = CASES["dense detect"]
    assert run(saved(raw), spec, grey(0), candidates=300)["scores"].shape == (1, CELLS)


def test_what_a_branch_takes_from_outside_stays(network: Make, tmp_path: Path) -> None:
    """Beside something that nobody takes, which goes."""
    from onnx import TensorProto, helper, numpy_helper

    raw, spec, boxes, scores, _ = CASES["dense detect"]
    model = network(raw)
    (last,) = (node for node in model.graph.node if "scores" in node.output)
    last.output[0] = "before"
    chosen = helper.make_tensor_value_info("chosen", TensorProto.FLOAT, None)
    branch = helper.make_graph([helper.make_node("Identity", ["outer"], ["chosen"])], "branch", [], [chosen])
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "always"))
    model.graph.node.extend(
        [
            helper.make_node("Identity", ["before"], ["outer"]),
            helper.make_node("If", ["always"], ["scores"], then_branch=branch, else_branch=branch),
            helper.make_node("Abs", ["before"], ["nobody's"]),
        ]
    )
    path = tmp_path / "branch.onnx"
    path.write_bytes(model.SerializeToString())
    seen = run(path, spec, grey(0), candidates=10)
    order, _ = best(scores, 10)
    np.testing.assert_allclose(seen["boxes"][0], boxes[order], rtol=1e-4, atol=1e-3)


def test_keypoints_without_visibility_are_visible(saved: Make) -> None:
    raw, spec, _, scores, extras = ultralytics_case("pose")
    flat = extras["keypoints"][..., :2].reshape(CELLS, 4).T[None].astype(np.float32)
    seen = run(
        saved({"output0": np.concatenate([raw["output0"][:, :7], flat], 1)}), spec, grey(0), candidates=5
    )
    order, _ = best(scores, 5)
    np.testing.assert_allclose(seen["keypoints"][0, ..., :2], extras["keypoints"][order, :, :2], rtol=1e-5)
    assert (seen["keypoints"][..., 2] == 1).all()


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("declared", [1, "batch"])
def test_a_batch_gives_what_each_picture_gives_alone(declared: Any, opset: int, saved: Make) -> None:
    """The file reshapes to a batch of one by constants; brightness tells the pictures apart."""
    raw, spec, *_ = CASES["dense pose"]
    path = saved(raw, brightness={"scores": random_scores()}, batch=declared, opset=opset)
    alone = [run(path, spec, grey(level)) for level in (10, 200)]
    both = run(path, spec, np.concatenate([grey(10), grey(200)]))
    assert not np.array_equal(alone[0]["scores"], alone[1]["scores"])
    for name, values in both.items():
        np.testing.assert_allclose(values, np.concatenate([each[name] for each in alone]), rtol=1e-5)


PIXEL = (10, 100, 200)
PREPROCESSING = {
    "rgb over 255": ({}, (10 / 255, 100 / 255, 200 / 255)),
    "bgr as it is": ({"colour": "bgr", "scale": 1.0}, (200, 100, 10)),
    "mean and std": (
        {"scale": 1.0, "mean": (1.0, 2.0, 3.0), "std": (2.0, 4.0, 8.0)},
        (9 / 2, 98 / 4, 197 / 8),
    ),
    "mean and std in the network's order": (
        {"colour": "bgr", "scale": 1.0, "mean": (1.0, 2.0, 3.0), "std": (2.0, 4.0, 8.0)},
        (199 / 2, 98 / 4, 7 / 8),
    ),
    "scale before mean": ({"scale": 0.1, "mean": (1.0, 1.0, 1.0)}, (0, 9, 19)),
}


@pytest.mark.parametrize(("rules", "expected"), PREPROCESSING.values(), ids=PREPROCESSING.keys())
def test_pixels_reach_the_network_in_its_own_units(rules: dict, expected: tuple, tmp_path: Path) -> None:
    """A network whose scores are three values of its input at one place: row 5, column 7."""
    from onnx import TensorProto, helper, numpy_helper

    def tensor(name: str, values: Any) -> Any:
        return numpy_helper.from_array(np.array(values), name)

    graph = helper.make_graph(
        [
            helper.make_node("Slice", ["images", "start", "stop", "axes"], ["place"]),
            helper.make_node("Reshape", ["place", "shape"], ["scores"]),
            helper.make_node("Identity", ["fixed"], ["boxes"]),
        ],
        "probe",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIZE[1], SIZE[0]])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 3, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 3, 1]),
        ],
        [
            tensor("start", [5, 7]),
            tensor("stop", [6, 8]),
            tensor("axes", [2, 3]),
            tensor("shape", [1, 3, 1]),
            numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(1, 3, 4), "fixed"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "probe.onnx"
    path.write_bytes(model.SerializeToString())
    pixels = grey(0)
    pixels[0, 5, 7] = PIXEL
    seen = run(path, ModelSpec("m", "detect", "dense", ("x",), SIZE, **rules), pixels)
    by_channel = seen["scores"][0][np.argsort(seen["boxes"][0, :, 0])]  # the boxes' order names the channels
    np.testing.assert_allclose(by_channel, expected, rtol=1e-5, atol=1e-5)


def test_a_network_in_half_precision_takes_and_gives_full(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, numpy_helper

    scores = np.linspace(0, 1, 6).astype(np.float16).reshape(1, 6, 1)
    boxes = np.arange(24).astype(np.float16).reshape(1, 6, 4)
    graph = helper.make_graph(
        [
            helper.make_node("GlobalMaxPool", ["images"], ["peak"]),
            helper.make_node("Slice", ["peak", "zero", "one", "one"], ["first"]),
            helper.make_node("Reshape", ["first", "shape"], ["light"]),
            helper.make_node("Mul", ["light", "weights"], ["scores"]),
            helper.make_node("Identity", ["fixed"], ["boxes"]),
        ],
        "half",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT16, [1, 3, SIZE[1], SIZE[0]])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT16, [1, 6, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT16, [1, 6, 1]),
        ],
        [
            numpy_helper.from_array(np.array([0]), "zero"),
            numpy_helper.from_array(np.array([1]), "one"),
            numpy_helper.from_array(np.array([1, 1, 1]), "shape"),
            numpy_helper.from_array(scores, "weights"),
            numpy_helper.from_array(boxes, "fixed"),
        ],
    )
    path = tmp_path / "half.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    seen = run(path, ModelSpec("m", "detect", "dense", ("x",), SIZE), grey(255))
    np.testing.assert_allclose(seen["scores"][0], scores[0, ::-1, 0], rtol=1e-3)
    np.testing.assert_array_equal(seen["boxes"][0], boxes[0, ::-1])
    assert seen["scores"].dtype == np.float32

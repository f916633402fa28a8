"""Model: pictures in, detections in their own pixels out, whatever the batch."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engines
from engines.detections import Detections
from engines.errors import InputError, WorkError
from engines.letterbox import place
from engines.masks import bitmap
from engines.model import scale
from engines.options import Options
from engines.parity import outputs as outputs_of
from engines.reading import Reading
from engines.spec import ModelSpec

Save = Callable[..., Path]
BACKENDS = ["openvino", "onnxruntime"]
BOXES = np.array(
    [[[8, 4, 24, 20], [40, 8, 60, 24], [9, 4, 25, 20], [8, 4, 24, 20], [0, 0, 64, 32]]], np.float32
)
SCORES = np.array([[[0.9, 0], [0.8, 0.1], [0.7, 0], [0, 0.6], [0.1, 0.05]]], np.float32)
CARD = "classes: [cat, dog]\nconf: 0.25\niou: 0.45\n"


@pytest.fixture
def pets(saved: Save) -> Path:
    """64x32 input; two cats apart, a weaker double of the first, a dog on top of it, and something faint."""
    path = saved({"boxes": BOXES, "scores": SCORES})
    path.with_suffix(".yaml").write_text(CARD)
    return path


def picture(width: int = 64, height: int = 32, level: int = 0) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def same(a: Detections, b: Detections) -> bool:
    return all(
        np.allclose(getattr(a, name), getattr(b, name), atol=1e-4)
        for name in ("boxes", "scores", "classes", "keypoints")
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_picture_of_the_inputs_size_gives_the_networks_boxes(backend: str, pets: Path) -> None:
    with engines.load(pets, Options(backend=backend, precision="fp32")) as model:
        (found,) = model.predict([picture()])
    np.testing.assert_allclose(found.boxes, BOXES[0, [0, 1, 3]], atol=1e-4)
    np.testing.assert_allclose(found.scores, [0.9, 0.8, 0.6], atol=1e-6)
    assert found.classes.tolist() == [0, 0, 1]
    assert (found.ids == -1).all()


OPTIONS = {
    "a higher threshold": ({"conf": 0.85}, [0.9]),
    "no threshold": ({"conf": 0.0, "iou": 1.0}, [0.9, 0.8, 0.7, 0.6, 0.1]),
    "a score equal to the threshold stays": ({"conf": float(np.float32(0.8))}, [0.9, 0.8]),
    "doubles stay below iou 1": ({"iou": 1.0}, [0.9, 0.8, 0.7, 0.6]),
    "any class suppresses": ({"class_agnostic": True}, [0.9, 0.8]),
    "doubles fade": ({"nms": "soft", "conf": 0.12}, [0.9, 0.8, 0.6, 0.7 * np.exp(-2 * (15 / 17) ** 2)]),
    "doubles fade by what they overlap": (
        {"nms": "soft-linear", "conf": 0.08},
        [0.9, 0.8, 0.6, 0.1, 0.7 * 2 / 17],
    ),
    "apart by the distance of centres": ({"nms": "diou", "iou": 0.881}, [0.9, 0.8, 0.7, 0.6]),
    "not apart by what they overlap": ({"nms": "greedy", "iou": 0.881}, [0.9, 0.8, 0.6]),
    "all at once": ({"nms": "fast", "conf": 0.08}, [0.9, 0.8, 0.6, 0.1]),
    "all at once, by what they overlap": ({"nms": "fast", "iou": 0.881}, [0.9, 0.8, 0.6]),
    "all at once, any class": ({"nms": "fast", "class_agnostic": True}, [0.9, 0.8]),
    "the best two": ({"max_det": 2}, [0.9, 0.8]),
    "dogs by name": ({"classes": ("dog",)}, [0.6]),
    "dogs by number": ({"classes": ("1",)}, [0.6]),
    "dogs by a number that is one": ({"classes": (1,)}, [0.6]),
    "dogs by their name alone": ({"classes": "dog"}, [0.6]),
    "dogs out of a list": ({"classes": ["dog"]}, [0.6]),
    "numbers of numpy": ({"conf": np.float32(0.85), "max_det": np.int64(2)}, [0.9]),
    "a place may be two classes": ({"labels": "all", "conf": 0.08, "iou": 0.85}, [0.9, 0.8, 0.6, 0.1, 0.1]),
    "the best candidates only": ({"candidates": 3}, [0.9, 0.8]),
}


@pytest.mark.parametrize(("options", "scores"), OPTIONS.values(), ids=OPTIONS.keys())
def test_options_choose_what_stays(options: dict[str, Any], scores: list[float], pets: Path) -> None:
    with engines.load(pets, Options(backend="onnxruntime", **options)) as model:
        (found,) = model.predict([picture()])
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)


PLACES = {
    "half the size, bars above and below": (
        "letterbox",
        (128, 32),
        [[16, -8 + 0, 48, 24], [80, 0, 120, 32], [16, -8, 48, 24]],
    ),
    "at the top left": (
        "letterbox-topleft",
        (128, 32),
        [[16, 8, 48, 32], [80, 16, 120, 32], [16, 8, 48, 32]],
    ),
    "stretched": ("stretch", (128, 32), [[16, 4, 48, 20], [80, 8, 120, 24], [16, 4, 48, 20]]),
    "larger than the picture": ("letterbox", (32, 16), [[4, 2, 12, 10], [20, 4, 30, 12], [4, 2, 12, 10]]),
}


@pytest.mark.parametrize(("rule", "size", "boxes"), PLACES.values(), ids=PLACES.keys())
def test_boxes_are_in_the_pictures_own_pixels_and_inside_it(
    rule: str, size: tuple[int, int], boxes: list, pets: Path
) -> None:
    pets.with_suffix(".yaml").write_text(f"{CARD}resize: {rule}\n")
    with engines.load(pets, Options(backend="onnxruntime")) as model:
        (found,) = model.predict([picture(*size)])
    expected = np.clip(np.array(boxes, np.float32), 0, [*size, *size])
    np.testing.assert_allclose(found.boxes, expected, atol=1e-3)


def test_a_box_that_lies_wholly_in_the_padding_is_dropped(saved: Save) -> None:
    outputs = {"boxes": np.array([[[0, 0, 64, 7], [0, 0, 64, 20]]], np.float32), "scores": SCORES[:, :2, :1]}
    with engines.load(saved(outputs), Options(backend="onnxruntime")) as model:
        (found,) = model.predict([picture(128, 32)])  # 64x16 at top 8
    np.testing.assert_allclose(found.boxes, [[0, 0, 128, 24]], atol=1e-3)


def test_a_box_that_is_dropped_takes_no_place_of_the_limit(saved: Save) -> None:
    outputs = {"boxes": np.array([[[0, 0, 64, 7], [0, 0, 64, 20]]], np.float32), "scores": SCORES[:, :2, :1]}
    with engines.load(saved(outputs), Options(backend="onnxruntime", max_det=1)) as model:
        (found,) = model.predict([picture(128, 32)])
    np.testing.assert_allclose(found.boxes, [[0, 0, 128, 24]], atol=1e-3)


def test_the_mask_of_a_box_that_ends_far_away_covers_the_picture(saved: Save) -> None:
    outputs = {
        "boxes": np.array([[[0, 0, 1e30, 1e30]]], np.float32),
        "scores": np.full((1, 1, 1), 0.9, np.float32),
        "coefficients": np.ones((1, 1, 1), np.float32),
        "prototypes": np.tile(np.linspace(-1, 1, 16, dtype=np.float32), (1, 1, 8, 1)),
    }
    with engines.load(saved(outputs), Options(backend="onnxruntime")) as model:
        (found,) = model.predict([picture()])
    *_, pixels = bitmap(found.masks, 0, found.boxes[0], (64, 32))
    np.testing.assert_array_equal(pixels, np.arange(64) >= 32 + np.zeros((32, 1)))


def test_the_picture_lies_in_the_input_with_padding_around(saved: Save) -> None:
    """A network that tells the mean of its input sees 114 around whatever was there before."""
    outputs = {"boxes": BOXES[:, :1], "scores": np.zeros((1, 1, 1), np.float32)}
    path = saved(outputs, brightness={"scores": np.ones((1, 1, 1))})
    with engines.load(path, Options(backend="onnxruntime", conf=0.0, requests=1)) as model:
        seen = [
            float(model.predict([picture(*size, 255)])[0].scores[0])
            for size in [(64, 32), (32, 32), (64, 32)]
        ]
    np.testing.assert_allclose(seen, [1, (255 + 114) / 2 / 255, 1], atol=1e-5)


@pytest.fixture
def bright(saved: Save) -> Path:
    """Scores follow the brightness of the picture, so pictures cannot be mistaken for each other."""
    path = saved({"boxes": BOXES, "scores": SCORES / 2}, brightness={"scores": SCORES / 2})
    path.with_suffix(".yaml").write_text(CARD)
    return path


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch", [2, 3, 5], ids=lambda batch: f"batch {batch}")
def test_batches_and_padded_batches_agree_with_one_by_one(backend: str, batch: int, bright: Path) -> None:
    pictures = [picture(64, 32, level) for level in (0, 60, 120, 180, 250)]
    with engines.load(bright, Options(backend=backend, precision="fp32")) as model:
        alone = model.predict(pictures)
    with engines.load(bright, Options(backend=backend, precision="fp32", batch=batch)) as model:
        assert model.batch == batch
        together = model.predict(pictures)
    assert len({float(found.scores[0]) for found in alone}) == 5
    assert all(same(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("batch", [2, 4])
def test_a_network_that_mixes_its_batch_runs_one_by_one_and_says_so(batch: int, tmp_path: Path) -> None:
    """Its scores are those of the whole batch's mean, which no shape gives away."""
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["images"], ["mean"], axes=[0, 1, 2, 3], keepdims=0),
            helper.make_node("GlobalAveragePool", ["images"], ["means"]),
            helper.make_node("Slice", ["means", "zero", "one", "one"], ["own"]),
            helper.make_node("Reshape", ["own", "shape"], ["light"]),
            helper.make_node("Mul", ["light", "gain"], ["nothing"]),
            helper.make_node("Add", ["nothing", "mean"], ["scores"]),
            helper.make_node("Mul", ["light", "no_boxes"], ["no_box"]),
            helper.make_node("Add", ["no_box", "fixed"], ["boxes"]),
        ],
        "mixed",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 32, 64])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 2, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 2, 1]),
        ],
        [
            numpy_helper.from_array(np.array([0]), "zero"),
            numpy_helper.from_array(np.array([1]), "one"),
            numpy_helper.from_array(np.array([1, 1, 1]), "shape"),
            numpy_helper.from_array(np.full((1, 2, 1), 0.5, np.float32), "gain"),
            numpy_helper.from_array(np.zeros((1, 2, 4), np.float32), "no_boxes"),
            numpy_helper.from_array(BOXES[:, :2], "fixed"),
        ],
    )
    path = tmp_path / "mixed.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    with engines.load(path, Options(backend="onnxruntime", batch=batch, conf=0.0)) as loaded:
        assert loaded.batch == 1
        assert f"batch 1 instead of {batch}" in loaded.notes[-1]
        dark, light = loaded.predict([picture(level=0), picture(level=255)])
    assert (float(dark.scores[0]), float(light.scores[0])) == pytest.approx((0, 1.5))


@pytest.mark.parametrize(
    ("size", "how", "batch"),
    [
        ((448, 288), {}, 4),
        ((480, 288), {}, 1),
        ((64, 32), {"backend": "onnxruntime"}, 1),
        ((64, 32), {"batch": 2}, 2),
    ],
    ids=["small", "large", "a backend that gains nothing", "another was asked for"],
)
def test_the_batch_for_throughput_is_chosen(
    size: tuple[int, int], how: dict[str, Any], batch: int, saved: Save
) -> None:
    path = saved({"boxes": BOXES, "scores": SCORES}, size=size)
    for _ in range(2):  # the second time from the cache
        with engines.load(path, Options(**{"batch": 0, **how})) as model:
            assert model.batch == batch
            assert len(model.predict([picture()] * 5)) == 5


def test_a_model_for_video_is_not_given_a_batch_that_nobody_asked_for() -> None:
    with engines.load("tiny-yolactedge", Options(batch=0)) as model:
        assert model.video is not None
        assert model.batch == 1


def test_requests_in_flight_come_back_in_order(bright: Path) -> None:
    with engines.load(bright, Options(requests=3)) as model:
        batches = [model.acquire() for _ in range(3)]
        for level, batch in enumerate(batches):
            batch.add((64, 32))[...] = level * 100
            batch.submit()
        assert model.acquire(timeout=0.0) is None
        scores = [batch.collect()[0].scores[0] for batch in batches]
        assert model.acquire(timeout=0.0) is batches[0]
    np.testing.assert_allclose(scores, [0.45, 0.45 + 0.45 * 100 / 255, 0.45 + 0.45 * 200 / 255], atol=0.01)


def test_what_was_collected_stays_when_the_request_runs_again(bright: Path) -> None:
    with engines.load(bright, Options(requests=1)) as model:
        (first,) = model.predict([picture(level=0)])
        kept = first.boxes.copy(), first.scores.copy()
        model.predict([picture(level=250)])
    np.testing.assert_array_equal(first.boxes, kept[0])
    np.testing.assert_array_equal(first.scores, kept[1])


NO_PICTURES = {
    "what cv2 could not read": (None, "picture 1: None, an RGB picture of uint8"),
    "grey": (np.zeros((32, 64), np.uint8), r"picture 1: uint8 \(32, 64\), an RGB"),
    "grey with an axis": (np.zeros((32, 64, 1), np.uint8), r"picture 1: uint8 \(32, 64, 1\), an RGB"),
    "with alpha": (np.zeros((32, 64, 4), np.uint8), r"picture 1: uint8 \(32, 64, 4\), an RGB"),
    "of 0 to 1": (np.zeros((32, 64, 3), np.float32), r"picture 1: float32 \(32, 64, 3\), an RGB"),
    "without pixels": (np.zeros((0, 64, 3), np.uint8), r"picture 1: uint8 \(0, 64, 3\), an RGB"),
}


@pytest.mark.parametrize(("wrong", "said"), NO_PICTURES.values(), ids=NO_PICTURES.keys())
def test_what_is_no_picture_is_refused_and_holds_no_request(wrong: Any, said: str, bright: Path) -> None:
    with engines.load(bright, Options(backend="onnxruntime", requests=2)) as model:
        expected = model.predict([picture(level=200)])
        for _ in range(len(model.engine.requests) + 1):
            with pytest.raises(InputError, match=said) as refusal:
                model.predict([picture(), wrong])
            assert "\n" not in str(refusal.value)
        assert same(model.predict([picture(level=200)])[0], expected[0])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            np.zeros((32, 64, 3), np.uint8),
            r"pictures: one array \(32, 64, 3\), a list of RGB pictures is right",
        ),
        (np.zeros((32, 64), np.uint8), r"pictures: one array \(32, 64\), a list"),
        ("bus.jpg", "pictures: str, a list of RGB pictures is right"),
        (Path("bus.jpg"), "pictures: PosixPath, a list"),
    ],
    ids=["one picture", "one grey picture", "a path as text", "a path"],
)
def test_what_is_no_list_of_pictures_is_named_as_it_was_given(wrong: Any, said: str, bright: Path) -> None:
    with engines.load(bright, Options(backend="onnxruntime")) as model, pytest.raises(InputError, match=said):
        model.predict(wrong)


@pytest.mark.parametrize("step", ["start", "wait"])
def test_an_engine_that_fails_holds_no_request(
    step: str, bright: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [picture(level=level) for level in (0, 60, 120, 180, 250)]

    def fail(*_: Any) -> None:
        raise WorkError(f"{step}: the device is gone")

    with engines.load(bright, Options(backend="onnxruntime", requests=2)) as model:
        expected = model.predict(pictures)
        with monkeypatch.context() as patch:
            patch.setattr(model.engine.requests[1], step, fail)
            for _ in range(3):
                with pytest.raises(WorkError, match=f"{step}: the device is gone"):
                    model.predict(pictures)
        free = [model.acquire(timeout=0.0) for _ in range(3)]
        assert free[2] is None
        for batch in free[:2]:
            batch.release()
        assert all(same(a, b) for a, b in zip(model.predict(pictures), expected, strict=True))


NOT_NUMBERS = {
    "a score": ("scores", [0], 1, [0.8, 0.7, 0.6]),
    "boxes": ("boxes", [1, 2], 2, [0.9, 0.6]),
    "an edge of each": ("boxes", ([1, 2], [0, 3]), 2, [0.9, 0.6]),
    "all": ("boxes", [0, 1, 2, 3, 4], 5, []),
}


@pytest.mark.parametrize(("name", "rows", "count", "scores"), NOT_NUMBERS.values(), ids=NOT_NUMBERS.keys())
def test_candidates_that_are_no_numbers_are_counted_and_dropped(
    name: str, rows: Any, count: int, scores: list[float], saved: Save
) -> None:
    outputs = {"boxes": BOXES.copy(), "scores": SCORES.copy()}
    outputs[name][0][rows] = np.nan
    with engines.load(saved(outputs), Options(backend="onnxruntime", conf=0.2)) as model:
        (found,) = model.predict([picture()])
        assert model.invalid == count
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)
    assert np.isfinite(found.boxes).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_person_with_a_joint_that_is_no_number_is_counted_and_dropped(
    value: float, backend: str, saved: Save
) -> None:
    points = np.tile(np.array([[10, 6, 0.9], [20, 18, 0.2]], np.float32), (1, 5, 1, 1))
    points[0, 0, 1, 0] = value
    path = saved({"boxes": BOXES, "scores": SCORES, "keypoints": points})
    with engines.load(path, Options(backend=backend, precision="fp32")) as model:
        for found in model.predict([picture(), picture()]):
            np.testing.assert_allclose(found.scores, [0.8, 0.7, 0.6], atol=1e-6)
            assert np.isfinite(found.keypoints).all()
        assert model.invalid == 2


def test_a_joint_that_is_no_number_is_seen_beside_a_picture_of_nothing() -> None:
    spec = ModelSpec("one", "pose", "dense", ("person",), (64, 32), keypoints=("nose",))
    tensors = {
        "boxes": np.tile(BOXES[:, :1], (2, 1, 1)),
        "scores": np.array([[0.1], [0.9]], np.float32),
        "classes": np.zeros((2, 1), np.int32),
        "keypoints": np.full((2, 1, 1, 3), np.nan, np.float32),
    }
    reading = Reading(spec, Options())
    found = reading.batch(tensors, [place((64, 32), (64, 32), "stretch")] * 2)
    assert [len(one) for one in found] == [0, 0]


NO_MASKS = {
    "a coefficient": ("coefficients", (0, 0, 1), [0.8, 0.7, 0.6]),
    "a prototype under one of them": ("prototypes", (0, 0, 4, 13), [0.9, 0.6]),
    "an infinite one": ("prototypes", (0, 1, 4, 13), [0.9, 0.6]),
}


@pytest.mark.parametrize(("name", "place", "scores"), NO_MASKS.values(), ids=NO_MASKS)
def test_a_mask_that_is_no_number_is_counted_and_dropped(
    name: str, place: tuple[int, ...], scores: list[float], saved: Save
) -> None:
    outputs = {
        "boxes": BOXES[:, :4],
        "scores": SCORES[:, :4],
        "coefficients": np.ones((1, 4, 2), np.float32),
        "prototypes": np.ones((1, 2, 8, 16), np.float32),
    }
    outputs[name][place] = np.nan if place[1] == 0 else np.inf
    with engines.load(saved(outputs), Options(backend="onnxruntime")) as model:
        (found,) = model.predict([picture()])
        assert model.invalid == 1
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)
    assert all(np.isfinite(grid).all() for grid in found.masks.grids)


def test_of_a_class_that_has_no_name_nothing_is_kept_where_classes_are_chosen() -> None:
    """As of a network that knows more of them than its card."""
    reading = Reading(
        ModelSpec("few", "detect", "dense", ("cat", "dog"), (64, 32)), Options(classes=("dog",))
    )
    tensors = {"boxes": BOXES, "scores": SCORES.max(2), "classes": np.array([[1, 200, -1, 0, 1]], np.int32)}
    (found,) = reading.batch(tensors, [place((64, 32), (64, 32), "stretch")])
    assert found.classes.tolist() == [1]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("order", ["nchw", "nhwc"])
def test_embeddings_are_of_length_one_and_in_order(backend: str, order: str, tmp_path: Path) -> None:
    """Red, green and blue means of a picture as its vector."""
    from onnx import TensorProto, helper

    axes, shape = ([2, 3], [1, 3, 32, 64]) if order == "nchw" else ([1, 2], [1, 32, 64, 3])
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["images"], ["vector"], axes=axes, keepdims=0)],
        "means",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, [1, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path = tmp_path / "means.onnx"
    path.write_bytes(model.SerializeToString())
    path.with_suffix(".yaml").write_text("task: embed\ncolour: bgr\n")
    pictures = [np.full((20, 10, 3), colour, np.uint8) for colour in ([255, 0, 0], [0, 30, 40], [9, 9, 9])]
    inputs = [np.full((32, 64, 3), level, np.uint8) for level in (1, 200)]
    for batch in (1, 2):
        with engines.load(path, Options(backend=backend, precision="fp32", batch=batch)) as loaded:
            vectors = loaded.embed(pictures)
            assert loaded.embed([]).shape == (0, 3)
            given = [np.linalg.norm(told["embeddings"]) for told in outputs_of(loaded.engine, inputs)]
            with pytest.raises(InputError, match="it gives embeddings, a model that gives detections"):
                loaded.predict(pictures)
        np.testing.assert_allclose(vectors, [[0, 0, 1], [0.8, 0.6, 0], [3**-0.5] * 3], atol=1e-4)
        np.testing.assert_allclose(given, 1, atol=1e-4)  # as parity compares them


@pytest.mark.filterwarnings("error")
def test_a_vector_that_is_no_number_is_counted_and_zeros(tmp_path: Path) -> None:
    """A tracker that mixed one in would never know that person again."""
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["images"], ["means"], axes=[2, 3], keepdims=0),
            helper.make_node("Log", ["means"], ["vector"]),  # of black none
        ],
        "logarithms",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 32, 64])],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, [1, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path = tmp_path / "logarithms.onnx"
    path.write_bytes(model.SerializeToString())
    path.with_suffix(".yaml").write_text("task: embed\nscale: 1\n")
    with engines.load(path, Options(backend="onnxruntime")) as loaded:
        vectors = loaded.embed([np.full((20, 10, 3), light, np.uint8) for light in (9, 0)])
        assert loaded.invalid == 1
    np.testing.assert_allclose(vectors, [[3**-0.5] * 3, [0] * 3], atol=1e-4)


def test_a_detector_embeds_nothing(pets: Path) -> None:
    with (
        engines.load(pets, Options(backend="onnxruntime")) as model,
        pytest.raises(InputError, match="it gives detections, a model that gives embeddings"),
    ):
        model.embed([picture()])


@pytest.mark.parametrize("backend", BACKENDS)
def test_keypoints_are_mapped_and_keep_their_visibility(backend: str, saved: Save) -> None:
    points = np.array([[[[10, 6, 0.9], [20, 18, 0.2], [-4, 40, 0.5]]]], np.float32)  # the last is outside
    path = saved({"boxes": BOXES[:, :1], "scores": SCORES[:, :1, :1], "keypoints": points})
    with engines.load(path, Options(backend=backend, precision="fp32")) as model:
        (found,) = model.predict([picture(128, 64)])
    with engines.load(path, Options(backend=backend, precision="fp32", conf=0.95)) as model:
        (nothing,) = model.predict([picture(128, 64)])
    np.testing.assert_allclose(found.keypoints, [[[20, 12, 0.9], [40, 36, 0.2], [0, 64, 0.5]]], atol=1e-3)
    assert nothing.keypoints.shape == (0, 3, 3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_masks_are_prototypes_weighted_and_cut_to_the_box(backend: str, saved: Save) -> None:
    """Prototypes of 1 left of the middle and of 1 above it, cells of 4 pixels; inside is left, not above."""
    left, above = np.zeros((2, 8, 16), np.float32)
    left[:, :8], above[:4] = 1, 1
    outputs = {
        "boxes": np.array([[[16, 4, 48, 28]]], np.float32),
        "scores": np.full((1, 1, 1), 0.9, np.float32),
        "coefficients": np.array([[[2, -4]]], np.float32),
        "prototypes": np.stack([left, above])[None],
    }
    with engines.load(saved(outputs), Options(backend=backend, precision="fp32")) as model:
        (found,) = model.predict([picture(128, 64)])
    corner_x, corner_y, pixels = bitmap(found.masks, 0, found.boxes[0], (128, 64))
    assert (corner_x, corner_y, pixels.shape) == (32, 8, (48, 64))
    inside = pixels.astype(bool)
    assert inside[32:, :24].all()  # low left, clear of the cell at the edge
    assert not inside[:20].any()
    assert not inside[:, 40:].any()
    assert all(grid.size < 8 * 16 for grid in found.masks.grids)


NMS = {
    "greedy": ({"nms": "greedy"}, [0.9, 0.6]),
    "diou": ({"nms": "diou"}, [0.9, 0.6]),
    "fast": ({"nms": "fast"}, [0.9, 0.6]),
    "mask": ({"nms": "mask"}, [0.9, 0.8, 0.6]),
    "mask, any class": ({"nms": "mask", "class_agnostic": True}, [0.9, 0.8]),
    "mask, the best two": ({"nms": "mask", "max_det": 2}, [0.9, 0.8]),
}


@pytest.mark.parametrize(("options", "scores"), NMS.values(), ids=NMS.keys())
def test_suppression_by_masks_keeps_two_that_share_a_box(
    options: dict[str, Any], scores: list[float], saved: Save
) -> None:
    """Four of one box: the left half, the right half, and the left half again, the last time of a dog."""
    left = np.zeros((8, 16), np.float32)
    left[:, :8] = 1
    outputs = {
        "boxes": np.array([[[8, 4, 56, 28]] * 4], np.float32),
        "scores": np.array([[[0.9, 0], [0.8, 0], [0.7, 0], [0, 0.6]]], np.float32),
        "coefficients": np.array([[[2, -2], [-2, 2], [2, -2], [2, -2]]], np.float32),
        "prototypes": np.stack([left, 1 - left])[None],
    }
    with engines.load(saved(outputs), Options(backend="onnxruntime", **options)) as model:
        (found,) = model.predict([picture(128, 64)])
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)


REFUSED = {
    "suppression by masks that are not there": ({"nms": "mask"}, "nms: mask, but model gives no masks"),
    "an unknown suppression": ({"nms": "greddy"}, "nms: 'greddy', one of .*did you mean 'greedy'?"),
    "conf in words": ({"conf": "a"}, "conf: 'a', a number is right"),
    "no conf": ({"conf": None}, "conf: None, a number is right"),
    "a batch in words": ({"batch": "2"}, "batch: '2', a whole number is right"),
    "half a picture": ({"batch": 2.5}, "batch: 2.5, a whole number is right"),
    "a batch of True": ({"batch": True}, "batch: True, a whole number is right"),
    "half a detection": ({"max_det": 2.5}, "max_det: 2.5, a whole number is right"),
    "no backend": ({"backend": None}, "backend: None, a text is right"),
    "no device": ({"device": None}, "device: None, a text is right"),
    "no precision": ({"precision": None}, "precision: None, a text is right"),
    "no suppression": ({"nms": None}, "nms: None, a text is right"),
    "agnostic in words": ({"class_agnostic": "no"}, "class_agnostic: 'no', True or False is right"),
    "no classes": ({"classes": None}, "classes: None, names or ids of classes are right"),
    "a class of 1.5": ({"classes": (1.5,)}, "classes: 1.5, names or ids of classes are right"),
    "one class that it does not know": ({"classes": "cot"}, "classes: 'cot' is not in model"),
    "conf above 1": ({"conf": 1.5}, "conf: 1.5, a number from 0 to 1 is right"),
    "conf below 0": ({"conf": -0.5}, "conf: -0.5"),
    "iou": ({"iou": 2.0}, "iou: 2"),
    "conf that is no number": ({"conf": float("nan")}, "conf: nan"),
    "fewer pictures than none": ({"batch": -1}, "batch: -1, 0 or more is right"),
    "no detections": ({"max_det": 0}, "max_det: 0, 1 or more is right"),
    "a class that it does not know": (
        {"classes": ("cot",)},
        "classes: 'cot' is not in model.*did you mean 'cat'?",
    ),
    "a class beyond the last": ({"classes": ("2",)}, "classes: '2' is not in model"),
    "an unknown precision": ({"precision": "fp31"}, "precision: 'fp31', one of .*did you mean 'fp32'?"),
    "an unknown backend": ({"backend": "openvina"}, "backend: 'openvina', .*did you mean 'openvino'?"),
    "a device that is not there": ({"device": "gpu"}, "device: 'gpu', OpenVINO finds CPU"),
    "another device of ONNX Runtime": (
        {"backend": "onnxruntime", "device": "gpu"},
        "ONNX Runtime runs on cpu",
    ),
    "a precision it has not": ({"backend": "onnxruntime", "precision": "bf16"}, "ONNX Runtime runs fp32"),
    "an integer precision": ({"precision": "int8"}, "precision: 'int8', CPU with OpenVINO runs fp32"),
}


@pytest.mark.parametrize(("options", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_had_is_refused_in_one_sentence(
    options: dict[str, Any], said: str, pets: Path
) -> None:
    with pytest.raises(InputError, match=said) as refusal:
        engines.load(pets, Options(**options))
    assert "\n" not in str(refusal.value)


def test_a_full_batch_says_so(bright: Path) -> None:
    with engines.load(bright, Options(backend="onnxruntime", batch=2)) as model:
        batch = model.acquire()
        for _ in range(2):
            batch.add((64, 32))
        assert repr(batch).startswith("Batch(2 of 2 for ")
        with pytest.raises(IndexError, match="all of its 2 slots are taken"):
            batch.add((64, 32))


def test_options_are_options() -> None:
    with pytest.raises(InputError, match=r"options: dict, engines.Options\(...\) is right"):
        engines.load("tiny-yolo", {"batch": 4})  # type: ignore[arg-type]


def test_a_closed_model_says_so():
    with engines.load("tiny-yolo") as model:
        assert repr(model) == "Model('tiny-yolo' detect 448x256 batch 1)"
    assert repr(model) == "Model('tiny-yolo' detect 448x256 batch 1, closed)"
    with pytest.raises(InputError, match="tiny-yolo: it is closed"):
        model.predict([np.zeros((9, 9, 3), np.uint8)])


@pytest.mark.parametrize("backend", BACKENDS)
def test_many_threads_may_predict_at_once(backend: str, bright: Path) -> None:
    """Each of them has more pictures than there are requests, so that none can be served at one go."""
    levels = range(0, 250, 25)
    results: list[list[Detections]] = []
    with engines.load(bright, Options(backend=backend, precision="fp32", requests=2)) as model:
        expected = model.predict([picture(level=level) for level in levels])

        def predict() -> None:
            results.append(model.predict([picture(level=level) for level in levels]))

        threads = [threading.Thread(target=predict, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads), "they wait for each other"
    assert len(results) == 4
    assert all(same(a, b) for found in results for a, b in zip(found, expected, strict=True))


def test_who_holds_a_request_waits_for_no_other(bright: Path) -> None:
    found: list[Detections] = []
    with engines.load(bright, Options(backend="onnxruntime", requests=2)) as model:
        held = model.acquire()
        thread = threading.Thread(target=lambda: found.extend(model.predict([picture()] * 5)), daemon=True)
        thread.start()
        thread.join(30)
        held.release()
    assert len(found) == 5


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_closed_model_gives_and_starts_no_batch(backend: str, bright: Path) -> None:
    model = engines.load(bright, Options(backend=backend, requests=2))
    held = model.acquire()
    held.add((64, 32))
    model.close()
    for use in (model.acquire, lambda: model.acquire(timeout=0.0), held.submit):
        with pytest.raises(InputError, match="it is closed, load it again"):
            use()


def test_a_closed_model_holds_no_session(bright: Path) -> None:
    """Its weights would stay in memory until the last who knows the model has forgotten it."""
    model = engines.load(bright, Options(backend="onnxruntime", requests=1))
    session = weakref.ref(model.engine.requests[0]._session)  # type: ignore[attr-defined]
    assert session() is not None
    model.close()
    gc.collect()
    assert session() is None


def test_a_model_that_was_measured_detects_as_before(bright: Path) -> None:
    """The padding around a picture too is what it was."""
    with engines.load(bright, Options(backend="onnxruntime", requests=1)) as model:
        (before,) = model.predict([picture(32, 32)])
        engines.measure(model, 1e-3)
        (after,) = model.predict([picture(32, 32)])
    np.testing.assert_array_equal(after.scores, before.scores)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_was_in_flight_when_the_model_was_closed_can_be_collected(backend: str, bright: Path) -> None:
    """As a thread that collects may come to it later than the one that closes."""
    model = engines.load(bright, Options(backend=backend, requests=2))
    (expected,) = model.predict([picture()])
    held = model.acquire()
    scale(picture(), held.add((64, 32)))
    held.submit()
    model.close()
    (found,) = held.collect()
    np.testing.assert_array_equal(found.scores, expected.scores)
    model.close()  # a second time is none


def test_who_waits_for_a_request_hears_that_the_model_is_closed(bright: Path) -> None:
    told: list[str] = []
    with engines.load(bright, Options(backend="onnxruntime", requests=1)) as model:
        model.acquire()

        def wait() -> None:
            with pytest.raises(InputError, match="it is closed") as refusal:
                model.acquire()
            told.append(str(refusal.value))

        threads = [threading.Thread(target=wait, daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join(30)
    assert len(told) == 2


def test_pictures_come_from_anything_that_gives_them(bright: Path) -> None:
    with engines.load(bright, Options(backend="onnxruntime")) as model:
        expected = model.predict([picture()] * 3)
        for images in (iter([picture()] * 3), np.stack([picture()] * 3)):
            found = model.predict(images)
            assert all(same(a, b) for a, b in zip(found, expected, strict=True))
        with pytest.raises(InputError, match="pictures: NoneType, a list of RGB pictures is right"):
            model.predict(None)  # type: ignore[arg-type]


def test_a_batch_beyond_the_memory_is_a_users_mistake(monkeypatch):
    def compile_model(*_):
        raise MemoryError

    monkeypatch.setattr("engines.compile.compile_model", compile_model)
    with pytest.raises(InputError, match="batch: 900: too much for this machine's memory"):
        engines.load("tiny-yolo", Options(batch=900))


def test_as_many_candidates_leave_as_may_be_detected():
    assert Options().candidates == 300
    assert Options(max_det=1000).candidates == 1000
    assert Options(max_det=1000, candidates=7).candidates == 7

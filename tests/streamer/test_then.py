"""A second model in a running pipeline: what comes out is what the two give when they are applied by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engines
from engines.cascade import joined, parts, predict
from engines.detections import Detections
from engines.errors import InputError
from engines.model import Model
from engines.options import Options
from streamer.config import load
from streamer.frame import Frame, Planes
from streamer.pipeline import Pipeline, stream
from streamer.planes import crop, scale_rgb, to_rgb
from streamer.settings import gather, merge
from streamer.then import Then, read_then

SHOWN = "synthetic:?size=320x240&fps=10&count=12&seed={}"


@pytest.fixture(scope="module")
def joints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A top-down estimator that looks at its picture: each joint is where one mix of colours peaks."""
    from onnx import TensorProto, helper, numpy_helper

    mix = np.random.default_rng(5).normal(0, 1, (17, 3, 5, 5)).astype(np.float32)
    nodes = [
        helper.make_node("AveragePool", ["images"], ["cells"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Conv", ["cells", "mix"], ["maps"], kernel_shape=[5, 5], pads=[2, 2, 2, 2]),
    ]
    pixels = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, 64, 48])
    maps = helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["n", 17, 16, 12])
    graph = helper.make_graph(nodes, "joints", [pixels], [maps], [numpy_helper.from_array(mix, "mix")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path_factory.mktemp("joints") / "joints.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def frames(joints: Path) -> Callable[..., list[Frame]]:
    def run(*, then: str, **how: Any) -> list[Frame]:
        sources = [SHOWN.format(seed) for seed in (1, 2)]
        how = {"backend": "onnxruntime", **how}
        return list(stream(*sources, model="tiny-yolo", then=then.format(joints=joints), **how))

    return run


def seen_by(model: Model, planes: Planes) -> Detections:
    """What one model finds in one picture, scaled as the pipeline scales it."""
    batch = model.acquire()
    scale_rgb(planes, batch.add(planes.size))
    batch.submit()
    return batch.collect()[0]


def by_hand(frame: Frame, first: Model, second: Model, classes: tuple[str, ...]) -> Detections:
    """What two models find in one frame, one after the other, part after part."""
    found = seen_by(first, frame.planes)
    rows = np.flatnonzero(np.isin(found.classes, [first.spec.classes.index(name) for name in classes]))
    rects = parts(found.boxes[rows], frame.size, second.spec)
    given = [seen_by(second, crop(frame.planes, (a, b, c, d))) for a, b, c, d in rects.tolist()]
    return joined(found, rows, rects, given, (first.spec, second.spec))


def assert_same(one: Detections, other: Detections) -> None:
    assert one.classes.tolist() == other.classes.tolist()
    for name in ("boxes", "scores", "keypoints"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=0.01)


@pytest.mark.parametrize("batch", [1, 4])
def test_two_models_in_a_graph_equal_the_two_by_hand(
    batch: int, joints: Path, frames: Callable[..., list[Frame]]
) -> None:
    shown = frames(then=f"{{joints}},classes=person,batch={batch}", batch=2)
    assert len(shown) == 24
    assert sum(np.count_nonzero(frame.detections.keypoints.any(axis=(1, 2))) for frame in shown) > 10
    with (
        engines.load("tiny-yolo", Options("onnxruntime")) as first,
        engines.load(joints, Options("onnxruntime")) as second,
    ):
        for frame in shown:
            assert_same(frame.detections, by_hand(frame, first, second, ("person",)))


def test_frames_keep_their_order_and_between_two_what_the_first_has(
    frames: Callable[..., list[Frame]],
) -> None:
    shown = frames(then="{joints},classes=person,batch=8", every=3)
    for name in {frame.stream for frame in shown}:
        own = [frame for frame in shown if frame.stream == name]
        assert [frame.index for frame in own] == list(range(12))
        for frame in own:
            before = own[frame.index // 3 * 3].detections
            np.testing.assert_array_equal(frame.detections.keypoints, before.keypoints)
            assert frame.detections.keypoints.shape[1] == 17


def test_faces_in_persons(data_dir: Path) -> None:
    video, models = str(data_dir / "video/asl_walk.mkv"), data_dir / "models"
    persons, faces = models / "yolox_nano_416.onnx", models / "ultraface_RFB-320.onnx"
    how = {"backend": "onnxruntime", "frames": 30}
    shown = list(stream(video, model=str(persons), then=f"{faces},classes=person,batch=2", **how))
    seen = [frame for frame in shown if 80 in frame.detections.classes]
    assert len(seen) > 5
    with (
        engines.load(persons, Options("onnxruntime")) as one,
        engines.load(faces, Options("onnxruntime")) as other,
    ):
        assert shown[0].detections.keypoints.shape[1] == len(other.spec.keypoints)
        for frame in seen[:: len(seen) // 2]:
            assert_same(frame.detections, by_hand(frame, one, other, ("person",)))


def test_who_is_seen_again_looks_as_before(data_dir: Path) -> None:
    """A person's vectors in one visit are alike, once all of her is in the picture."""
    video, models = str(data_dir / "video/one-by-one-person-detection.mp4"), data_dir / "models"
    persons, looks = models / "yolox_nano_416.onnx", models / "person-reid-0287.onnx"
    how = {"backend": "onnxruntime", "frames": 90, "every": 4}
    shown = stream(video, model=str(persons), then=f"{looks},classes=person", **how)
    vectors = [
        frame.detections.embeddings[frame.detections.classes == 0]
        for frame in shown
        if frame.inferred and 0 in frame.detections.classes
    ]
    assert len(vectors) > 5
    seen = np.concatenate(vectors)
    np.testing.assert_allclose(np.linalg.norm(seen, axis=1), 1, atol=1e-4)
    assert (seen[2:-1] * seen[3:]).sum(axis=1).min() > 0.8


def test_one_picture_through_two_models(joints: Path) -> None:
    planes = next(iter(stream(SHOWN.format(1), model="tiny-yolo", frames=1))).planes
    with engines.load("tiny-yolo") as one, engines.load(joints) as other:
        found = predict((one, other), to_rgb(planes), (one.spec.classes.index("person"),))
    assert found.keypoints.any(axis=(1, 2)).tolist() == (found.classes == 0).tolist()


def test_another_model_changes_what_the_pipeline_says_it_gives(joints: Path) -> None:
    settings = gather([SHOWN.format(1)], "tiny-yolo", then=str(joints), backend="onnxruntime")
    with Pipeline(settings) as pipeline:
        assert len(pipeline.spec.keypoints) == 17
        assert "then:1" in pipeline.graph.dot()
        report = pipeline.run()
    assert not report.unbalanced


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("m.onnx,clases=person", "then: m.onnx: unknown key 'clases', did you mean 'classes'?"),
        ("m.onnx,batch=many", "then: m.onnx: batch: 'many', would be a whole number, like 1"),
        ("m.onnx,batch=0", "then: m.onnx: batch: 0, 1 to 1024 would be right"),
        ("m.onnx,conf=2", "then: m.onnx: conf: 2, 0 to 1 would be right"),
        ("m.onnx,margin=0.1", "then: m.onnx: margin: 0.1, 0.5 to 10 would be right"),
        ("", "then: no model, would be MODEL[,classes=person+dog][,conf=][,batch=][,margin=]"),
    ],
)
def test_mistakes_are_told_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        read_then(text)
    assert str(caught.value) == sentence


def test_the_file_says_the_same_as_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "street.yaml"
    path.write_text(
        "sources: {a: x.mp4}\nmodel: m.onnx\n"
        "then: [{model: f.onnx, classes: [person, dog], batch: 4}, g.onnx]\n"
    )
    told = merge([], "", [], path, {}).then
    assert told == (read_then("f.onnx,classes=person+dog,batch=4"), Then("g.onnx"))
    assert merge([], "", [], path, {"then": ["h.onnx"]}).then == (Then("h.onnx"),)
    path.write_text("sources: {a: x.mp4}\nmodel: m.onnx\nthen:\n  - {model: f.onnx, bach: 4}\n")
    with pytest.raises(
        InputError, match=r"street.yaml:4: then\[0\]: unknown key 'bach', did you mean 'batch'\?"
    ):
        load(path)


def test_a_class_that_the_first_model_lacks_is_refused(joints: Path) -> None:
    with pytest.raises(InputError, match="classes: 'persn' is not in tiny-yolo"):
        Pipeline(gather([SHOWN.format(1)], "tiny-yolo", then=f"{joints},classes=persn"))

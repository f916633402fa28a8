"""Public models as their authors published them: understood without help, and the same everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import engines
from engines.detections import Detections
from engines.options import Options
from engines.suppress import iou_matrix

pytestmark = pytest.mark.data

FILES = {  # file -> task and layout that it is understood to be; no card lies beside any of them
    "yolox_nano_416.onnx": ("detect", "yolox"),
    "nanodet_m_320.onnx": ("detect", "nanodet"),
    "light_person_detector.onnx": ("detect", "yolox"),
    "ultraface_RFB-320.onnx": ("detect", "ultraface-decoded"),
    "ultraface_RFB-320_nopost.onnx": ("detect", "ultraface"),
    "openvino/face-detection-adas-0001.xml": ("detect", "detectionoutput"),
    "derived/yolov8n_320_w16.onnx": ("detect", "ultralytics"),
    "derived/yolov8n-seg_320_w16.onnx": ("segment", "ultralytics"),
    "derived/yolo11n-pose_640_w16.onnx": ("pose", "ultralytics"),
    "person-reid-0287.onnx": ("embed", "embedding"),
}
BATCHED = [file for file, (task, _) in FILES.items() if task != "embed" and file.endswith(".onnx")]
PICTURES = 7  # one batch of four, and one of three that a fourth pads


def read(path: Path) -> np.ndarray:
    import cv2

    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])


@pytest.fixture(scope="module")
def pictures(data_dir: Path) -> list[np.ndarray]:
    """Six street and room scenes, and two people from near."""
    scenes = sorted((data_dir / "gt" / "tiny_coco" / "val2017").glob("*.jpg"))[: PICTURES - 1]
    return [read(path) for path in [*scenes, data_dir / "images" / "zidane.jpg"]]


def test_every_file_of_the_folder_is_tried(data_dir: Path) -> None:
    folder = data_dir / "models"
    found = {str(path.relative_to(folder)) for end in ("onnx", "xml") for path in folder.rglob(f"*.{end}")}
    assert found == set(FILES)


@pytest.mark.parametrize(("file", "expected"), FILES.items(), ids=FILES)
def test_a_file_is_understood_and_runs(
    file: str, expected: tuple[str, str], data_dir: Path, pictures: list[np.ndarray]
) -> None:
    with engines.load(data_dir / "models" / file) as model:
        assert (model.spec.task, model.spec.layout) == expected
        if model.spec.task == "embed":
            assert model.embed(pictures[-2:]).shape == (2, 256)
            return
        (found,) = model.predict(pictures[-1:])
    assert 1 <= len(found) <= 6, "two people, their faces and ties"
    assert model.spec.classes[found.classes[0]] in ("person", "face")


@pytest.fixture(scope="module")
def found(data_dir: Path, pictures: list[np.ndarray]) -> Callable[..., list[Detections]]:
    """Detections of `pictures` in fp32; each way of running a file is run once."""
    seen: dict[tuple[str, str, int], list[Detections]] = {}

    def run(file: str, backend: str, batch: int) -> list[Detections]:
        if (file, backend, batch) not in seen:
            options = Options(backend=backend, batch=batch, precision="fp32")
            with engines.load(data_dir / "models" / file, options) as model:
                assert model.batch == batch
                seen[file, backend, batch] = model.predict(pictures)
        return seen[file, backend, batch]

    return run


WAYS = [("openvino", 4), ("onnxruntime", 1), ("onnxruntime", 4), ("torch", 4)]


@pytest.mark.parametrize("way", WAYS, ids=[f"{backend} {batch}" for backend, batch in WAYS])
@pytest.mark.parametrize("file", BATCHED)
def test_backends_and_batches_give_the_same(
    file: str, way: tuple[str, int], found: Callable[..., list[Detections]]
) -> None:
    if not find_spec(way[0]):
        pytest.skip(f"{way[0]} is not installed")
    reference = found(file, "openvino", 1)
    assert sum(map(len, reference)) >= 3
    for mine, theirs in zip(reference, found(file, *way), strict=True):
        assert_same(mine, theirs)


def assert_same(mine: Detections, theirs: Detections) -> None:
    assert mine.classes.tolist() == theirs.classes.tolist()
    if len(mine):
        assert np.diag(iou_matrix(mine.boxes, theirs.boxes)).min() > 0.99
        np.testing.assert_allclose(mine.scores, theirs.scores, atol=1e-3)
        np.testing.assert_allclose(mine.keypoints[..., :2], theirs.keypoints[..., :2], atol=0.5)


def test_offsets_and_decoded_boxes_of_one_network_are_the_same_faces(data_dir: Path) -> None:
    """A file of UltraFace decodes by itself, in the other composition does it: a group faces the camera."""
    picture = read(data_dir / "images" / "faces_26.jpg")
    found = []
    for name in ("ultraface_RFB-320.onnx", "ultraface_RFB-320_nopost.onnx"):
        with engines.load(data_dir / "models" / name, Options(precision="fp32")) as model:
            found += model.predict([picture])
    assert len(found[0]) >= 15
    assert_same(*found)


@pytest.mark.parametrize(("file", "ap"), [("light_person_detector.onnx", 0.137)])
def test_people_are_found_as_well_as_by_the_reference(file: str, ap: float, data_dir: Path) -> None:
    pytest.importorskip("pycocotools", reason="pycocotools is not installed")
    from engines.evaluation import evaluate

    truth = data_dir / "gt" / "tiny_coco" / "annotations" / "instances_val2017.json"
    seen = evaluate(data_dir / "models" / file, truth, truth.parents[1] / "val2017")
    assert seen.figures["bbox"]["AP"] == pytest.approx(ap, abs=0.01)


PEOPLE = [  # (frame, x1, y1, x2, y2): six visitors, each three times within two seconds
    [(118, 384, 15, 519, 387), (128, 384, 15, 522, 386), (138, 384, 14, 517, 385)],
    [(326, 380, 5, 542, 365), (336, 379, 5, 542, 366), (346, 379, 5, 543, 366)],
    [(590, 395, 0, 552, 386), (600, 407, 0, 564, 389), (610, 417, 0, 569, 389)],
    [(794, 363, 32, 501, 376), (804, 362, 32, 496, 376), (814, 361, 32, 494, 376)],
    [(1052, 382, 10, 521, 376), (1062, 382, 10, 521, 376), (1072, 382, 10, 521, 376)],
    [(1288, 347, 2, 525, 389), (1298, 354, 0, 525, 389), (1308, 346, 0, 525, 389)],
]


@pytest.fixture(scope="module")
def people(data_dir: Path) -> list[np.ndarray]:
    """The crops of `PEOPLE`, one visitor after the other."""
    wanted = {place[0]: place[1:] for visitor in PEOPLE for place in visitor}
    frames = frames_of(data_dir / "video" / "one-by-one-person-detection.mp4", max(wanted))
    cut = {number: frame for number, frame in enumerate(frames) if number in wanted}
    return [
        np.ascontiguousarray(cut[number].to_ndarray(format="rgb24")[y1:y2, x1:x2])
        for number, (x1, y1, x2, y2) in wanted.items()
    ]


def frames_of(path: Path, last: int) -> Iterator[object]:
    import av

    with av.open(str(path)) as video:
        for number, frame in enumerate(video.decode(video=0)):
            if number > last:
                return
            yield frame


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_vectors_of_one_person_are_alike_and_of_two_are_not(
    backend: str, data_dir: Path, people: list[np.ndarray]
) -> None:
    """Measured: .957 and more within a visit, .700 and less between visits."""
    with engines.load(data_dir / "models" / "person-reid-0287.onnx", Options(backend=backend)) as model:
        vectors = model.embed(people)
    cosines = vectors @ vectors.T
    who = np.repeat(np.arange(len(PEOPLE)), 3)
    same = who[:, None] == who
    assert math.isclose(np.diag(cosines).min(), 1, abs_tol=1e-5)
    assert cosines[same].min() >= 0.95
    assert cosines[~same].max() <= 0.73

"""Augmentation keeps boxes on what they surround."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engines.detections import Masks
from engines.scenes import Scene
from trainers.augment import augment, fit, flip
from trainers.config import Augment
from trainers.data.batch import Sample, collate
from trainers.data.scenes import scene_sample

STILL = {"flip": 0, "hue": 0, "saturation": 0, "value": 0, "scale": 0, "shift": 0, "noise": 0, "blur": 0}
SIZE = (96, 64)


def marked(seed: int = 0) -> Sample:
    """A dark picture with bright rectangles, each its own box."""
    rng = np.random.default_rng(seed)
    image = np.full((80, 120, 3), 20, np.uint8)
    boxes = []
    for column in range(3):
        x, y = 8 + column * 38 + int(rng.integers(0, 6)), int(rng.integers(8, 40))
        w, h = int(rng.integers(16, 28)), int(rng.integers(16, 32))
        image[y : y + h, x : x + w] = 230
        boxes.append([x, y, x + w, y + h])
    return Sample(image, np.array(boxes, np.float32), np.array([0, 1, 2]))


def bright_box(image: np.ndarray, near: np.ndarray) -> np.ndarray:
    """The box of the bright pixels around a box, grown by 3 pixels."""
    x0, y0, x1, y1 = (int(v) for v in (near + np.array([-3, -3, 3, 3])).clip(0))
    ys, xs = np.nonzero(image[y0:y1, x0:x1, 1] > 125)
    return np.array([x0 + xs.min(), y0 + ys.min(), x0 + xs.max() + 1, y0 + ys.max() + 1])


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({}, id="letterbox-only"),
        pytest.param({"flip": 1}, id="flip"),
        pytest.param({"scale": 0.3}, id="scale"),
        pytest.param({"shift": 0.2}, id="shift"),
        pytest.param({"scale": 0.3, "shift": 0.2, "flip": 0.5}, id="affine"),
    ],
)
def test_boxes_follow_the_pixels(how: dict[str, float]) -> None:
    samples = [marked(seed) for seed in range(6)]
    settings = Augment(**(STILL | how))
    seen = 0
    for number in range(40):
        sample = augment(samples, number % 6, SIZE, settings, np.random.default_rng(number))
        assert sample.image.shape == (64, 96, 3)
        for box in sample.boxes:
            assert np.abs(bright_box(sample.image, box) - box).max() <= 1.6
            seen += 1
    assert seen > 40


def test_a_mosaics_boxes_lie_on_their_rectangles() -> None:
    samples = [marked(seed) for seed in range(6)]
    how = Augment(**(STILL | {"mosaic": 1, "scale": 0.2}))
    seen = 0
    for number in range(40):
        sample = augment(samples, number % 6, SIZE, how, np.random.default_rng(number))
        for x0, y0, x1, y1 in sample.boxes.astype(int):
            inner = sample.image[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2, 1]
            assert inner.size == 0 or inner.min() > 125
            seen += 1
    assert seen > 200  # four pictures of three


def test_the_same_generator_gives_the_same_bytes() -> None:
    samples = [marked(seed) for seed in range(4)]
    how = Augment(mosaic=0.5)
    first, again = (augment(samples, 1, SIZE, how, np.random.default_rng(3)) for _ in range(2))
    other = augment(samples, 1, SIZE, how, np.random.default_rng(4))
    assert np.array_equal(first.image, again.image)
    assert not np.array_equal(first.image, other.image)


def test_nothing_switched_on_is_the_runtimes_letterbox() -> None:
    sample = marked()
    plain = fit(sample, SIZE)
    moved = augment([sample], 0, SIZE, Augment(**STILL), np.random.default_rng(0))
    assert np.allclose(plain.boxes, moved.boxes, atol=0.6)
    assert np.abs(plain.image.astype(int) - moved.image).mean() < 3


def test_what_leaves_the_picture_is_dropped_with_its_class() -> None:
    image = np.zeros((64, 96, 3), np.uint8)
    boxes = np.array([[0, 0, 96, 64], [90, 60, 96, 64]], np.float32)
    sample = Sample(image, boxes, np.array([1, 2]))
    how = Augment(**(STILL | {"shift": 0.5}))
    for seed in range(30):
        out = augment([sample], 0, SIZE, how, np.random.default_rng(seed))
        assert len(out.boxes) == len(out.classes)
        assert (out.boxes >= 0).all()
        assert (out.boxes <= [96, 64, 96, 64]).all()


def test_a_batch_pads_objects_and_says_which_are_real() -> None:
    one = Sample(np.full((32, 64, 3), 255, np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    two = Sample(np.zeros((32, 64, 3), np.uint8), np.array([[1, 2, 3, 4]], np.float32), np.array([2]))
    batch = collate([one, two])
    assert batch.images.shape == (2, 3, 32, 64)
    assert batch.images[0].min() == 1
    assert batch.real.tolist() == [[False], [True]]
    assert batch.boxes[1, 0].tolist() == [1, 2, 3, 4]
    assert batch.classes[1, 0] == 2


def outlined(seed: int = 3) -> Sample:
    """A rendered picture with exact boxes, masks and keypoints."""
    scene = Scene((320, 180), 30.0, seed)
    whole = scene_sample(scene, 40, 320, "segment")
    return replace(whole, keypoints=scene_sample(scene, 40, 320, "pose").keypoints)


def painted(sample: Sample) -> np.ndarray:
    return collate([sample]).masks[0].numpy()


def test_mirroring_twice_changes_nothing_and_once_mirrors_every_part() -> None:
    sample = outlined()
    once, twice = flip(sample), flip(flip(sample))
    assert np.array_equal(painted(once), painted(sample)[..., ::-1])
    assert np.allclose(twice.keypoints, sample.keypoints, atol=1e-4)
    assert np.array_equal(painted(twice), painted(sample))
    left, right = 5, 6  # shoulders
    known = sample.keypoints[:, left, 2] > 0
    assert known.any()
    assert np.allclose(once.keypoints[known, right, 0], 320 - sample.keypoints[known, left, 0], atol=1e-4)


@pytest.mark.parametrize("mosaic", [0.0, 1.0], ids=["one", "mosaic"])
def test_masks_and_keypoints_stay_with_their_boxes(mosaic: float) -> None:
    how = Augment(mosaic=mosaic, flip=0.5, scale=0.4, shift=0.15)
    samples = [outlined(seed) for seed in range(4)]
    joints, gaps = 0, []
    for number in range(6):
        sample = augment(samples, number % 4, (256, 160), how, np.random.default_rng(number))
        assert len(sample.masks) == len(sample.keypoints) == len(sample.boxes)
        for mask, box, points in zip(painted(sample), sample.boxes, sample.keypoints, strict=True):
            rows, columns = np.nonzero(mask)
            extent = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            gaps += np.abs(extent - box).tolist()
            seen = points[points[:, 2] == 2]
            joints += len(seen)
            assert ((seen[:, :2] > box[:2] - 3) & (seen[:, :2] < box[2:] + 3)).all()
    assert joints > 20
    assert np.quantile(gaps, 0.9) < 1.5  # where a border cuts an object, its box may be too wide


def test_pixels_and_masks_move_alike() -> None:
    mask = np.full((20, 30), 1, np.float32)
    image = np.zeros((90, 160, 3), np.uint8)
    image[40:60, 50:80] = 255
    box = np.array([[50, 40, 80, 60]], np.float32)
    sample = Sample(image, box, np.zeros(1, np.int64), Masks((mask,), box.copy()))
    fitted = fit(sample, (96, 96))
    assert np.array_equal(painted(fitted)[0] > 0, fitted.image[..., 0] > 127 + (fitted.image[..., 0] == 114))

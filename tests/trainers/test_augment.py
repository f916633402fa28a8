"""Augmentation keeps boxes on what they surround."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engines.detections import Masks
from engines.scenes import Scene
from engines.spec import Resize
from trainers.augment import augment, augment_frames, fit, flip, view
from trainers.config import Augment
from trainers.data.batch import Sample, collate
from trainers.data.scenes import scene_sample
from trainers.mixing import paste

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
        pytest.param({"crop": 1}, id="crop"),
        pytest.param({"expand": 1}, id="expand"),
    ],
)
@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
def test_boxes_follow_the_pixels(how: dict[str, float], resize: Resize) -> None:
    samples = [marked(seed) for seed in range(6)]
    settings = Augment(**(STILL | how))
    size = (384, 256) if "expand" in how else SIZE  # or they come too near one another
    seen = 0
    for number in range(40):
        sample = augment(samples, number % 6, size, settings, np.random.default_rng(number), resize)
        assert sample.image.shape == (*size[::-1], 3)
        for box in sample.boxes:
            assert np.abs(bright_box(sample.image, box) - box).max() <= (
                2.6 if how.keys() & {"crop", "expand"} else 1.6
            )
            seen += 1
    assert seen > 40


def test_a_stretched_picture_fills_the_input() -> None:
    square = replace(marked(), image=np.full((80, 80, 3), 200, np.uint8))
    for resize, grey in (("stretch", False), ("letterbox", True)):
        image = augment([square], 0, SIZE, Augment(**STILL), np.random.default_rng(0), resize).image
        assert (image == 114).any() == grey


def test_a_wider_view_makes_objects_smaller_and_a_part_makes_them_larger() -> None:
    def gains(how: dict[str, float]) -> list[float]:
        settings, sample = Augment(**(STILL | how)), marked()
        seen = (view(sample, SIZE, settings, np.random.default_rng(n), "letterbox") for n in range(40))
        return [float(one.gain[0]) for one in seen]

    (plain,) = set(gains({}))
    wide, narrow = gains({"expand": 1}), gains({"crop": 1})
    assert all(plain / 4 <= gain <= plain for gain in wide)
    assert min(wide) < 0.4 * plain
    assert all(plain <= gain <= plain / 0.3 for gain in narrow)
    assert max(narrow) > 1.5 * plain


def test_a_second_picture_shines_through_with_its_objects() -> None:
    samples = [marked(seed) for seed in range(6)]
    mixed = augment(samples, 0, SIZE, Augment(**(STILL | {"mixup": 1})), np.random.default_rng(1))
    assert len(mixed.boxes) == 6
    for x0, y0, x1, y1 in mixed.boxes.astype(int):
        assert mixed.image[y0 + 3 : y1 - 3, x0 + 3 : x1 - 3].min() > 80  # at least about half of it is bright


def test_pasted_objects_cover_what_lies_beneath() -> None:
    samples = [scene_sample(Scene((320, 180), 30.0, seed), 40, 320, "segment") for seed in range(5)]
    how = Augment(**(STILL | {"paste": 1}))
    plain = Augment(**STILL)
    more = 0
    for number in range(10):
        rngs = np.random.default_rng(number), np.random.default_rng(number)
        sample = augment(samples, number % 5, (256, 160), how, rngs[0])
        before = augment(samples, number % 5, (256, 160), plain, rngs[1])
        more += len(sample.boxes) - len(before.boxes)
        covered = (sample.image != before.image).any(axis=2)
        total = painted(sample).astype(bool)
        assert total.shape[0] == len(sample.boxes) == len(sample.classes)
        assert (covered & ~total.any(axis=0)).mean() < 0.005  # what was pasted has a mask
        for mask, box in zip(total, sample.boxes, strict=True):
            rows, columns = np.nonzero(mask)
            extent = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            assert (extent[:2] >= box[:2] - 1.5).all()
            assert (extent[2:] <= box[2:] + 1.5).all()
    assert more > 10


def test_a_keypoint_beneath_a_pasted_object_is_hidden_but_labelled() -> None:
    ground = np.zeros((40, 60, 3), np.uint8)
    whole = Masks((np.full((2, 2), 1, np.float32),), np.array([[0, 0, 60, 40]], np.float32))
    points = np.array([[[15, 15, 2], [50, 30, 2], [0, 0, 0]]], np.float32)
    under = Sample(ground, np.array([[0, 0, 60, 40]], np.float32), np.zeros(1, np.int64), whole, points)
    box = np.array([[10, 10, 20, 20]], np.float32)
    over = Sample(ground + 200, box, np.ones(1, np.int64), Masks(whole.grids, box), points[:, :0])
    over = replace(over, keypoints=np.zeros((1, 3, 3), np.float32))
    rng = np.random.default_rng(next(s for s in range(9) if np.random.default_rng(s).random(1) < 0.5))
    pasted = paste(under, over, rng)
    assert pasted.keypoints[0, :, 2].tolist() == [1, 2, 0]
    assert pasted.image[15, 15, 0] == 200
    assert pasted.image[5, 5, 0] == 0
    assert painted(pasted)[0].sum() == 60 * 40 - 100


def test_frames_of_a_video_change_alike() -> None:
    scene = Scene((320, 180), 30.0, 4)
    frames = [scene_sample(scene, index, 320, "segment") for index in (40, 40, 42)]
    how = Augment(scale=0.4, shift=0.1, crop=0.5)
    for seed in range(4):
        a, b, c = augment_frames(frames, (256, 160), how, np.random.default_rng(seed))
        assert np.array_equal(a.image, b.image)
        assert np.array_equal(a.boxes, b.boxes)
        assert np.abs(c.boxes.mean(0) - a.boxes.mean(0)).max() < 40
        assert 0 < np.abs(c.image.astype(int) - a.image).mean() < 25


@pytest.mark.parametrize("share", [0, 1])
def test_flip_is_the_share_of_mirrored_pictures(share: int) -> None:
    for seed in range(5):
        rngs = np.random.default_rng(seed), np.random.default_rng(seed)
        plain = augment([marked()], 0, SIZE, Augment(**STILL), rngs[0])
        found = augment([marked()], 0, SIZE, Augment(**(STILL | {"flip": share})), rngs[1])
        assert np.array_equal(found.image, flip(plain).image if share else plain.image)
        assert np.array_equal(found.boxes, flip(plain).boxes if share else plain.boxes)


def test_frames_of_a_video_are_coloured_and_alike() -> None:
    frames, plain = [marked(), marked()], Augment(**STILL)
    how = plain.model_copy(update={"value": 0.4, "noise": 40})
    (still, _), (one, other) = (
        augment_frames(frames, SIZE, each, np.random.default_rng(1)) for each in (plain, how)
    )
    assert np.array_equal(one.image, other.image)
    assert not np.array_equal(one.image, still.image)
    (turned,) = augment_frames(
        frames[:1], SIZE, plain.model_copy(update={"flip": 1}), np.random.default_rng(1)
    )
    assert np.array_equal(turned.image, flip(still).image)
    assert still.boxes == pytest.approx(fit(frames[0], SIZE).boxes, abs=0.6)


@pytest.mark.parametrize(
    ("how", "most"),
    [
        ({"hue": 0.1}, (18, 0, 0)),
        ({"saturation": 0.3}, (0, 48, 0)),
        ({"value": 0.2}, (0, 0, 41)),
        ({"blur": 1}, (0, 0, 0)),
    ],
    ids=str,
)
def test_colours_change_by_what_was_asked_and_nothing_else(
    how: dict[str, float], most: tuple[int, ...]
) -> None:
    """Hue (of 180), saturation and value of one colour: the farthest that chance takes them."""
    import cv2

    colour = (90, 160, 205)
    plain = cv2.cvtColor(np.full((*SIZE[::-1], 3), colour, np.uint8), cv2.COLOR_HSV2RGB)
    sample = Sample(plain, np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    settings, away = Augment(**(STILL | how)), []
    for seed in range(60):
        image = augment([sample], 0, SIZE, settings, np.random.default_rng(seed)).image
        away.append(np.abs(cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[30, 40].astype(int) - colour))
    assert np.max(away, axis=0) == pytest.approx(most, abs=2)


def test_noise_is_in_half_of_the_pictures_and_as_strong_as_was_asked() -> None:
    grey = Sample(
        np.full((*SIZE[::-1], 3), 128, np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    )
    how = Augment(**(STILL | {"noise": 30}))
    seen = [augment([grey], 0, SIZE, how, np.random.default_rng(seed)).image for seed in range(60)]
    deviations = np.array([image.std() for image in seen])
    assert 20 <= np.count_nonzero(deviations) <= 40
    assert 27 < deviations.max() < 31
    assert np.mean(seen) == pytest.approx(128, abs=1)


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
    bright = [replace(sample, image=np.full_like(sample.image, 200)) for sample in samples]
    for number in range(10):
        mosaic = augment(bright, 0, SIZE, how, np.random.default_rng(number)).image
        assert (mosaic[2:-2, 2:-2] > 114).all(), "every tile is covered"


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

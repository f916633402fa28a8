"""Rendered scenes: the truth that comes with a picture is the truth of its pixels."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest

from engines.errors import InputError
from engines.scene_people import make_figure
from engines.scene_things import make_ball, make_car
from engines.scenes import KEYPOINTS, SKELETON, Scene

SCENES = [
    pytest.param(Scene((640, 360), seed=3), 40, id="street"),
    pytest.param(Scene((640, 360), seed=4, held_out=True), 95, id="held-out"),
    pytest.param(Scene((320, 240), seed=5, pan=0.05), 31, id="turning-camera"),
    pytest.param(Scene((360, 640), seed=6, count=14, background="clutter"), 77, id="upright-crowded"),
]
EVERY_SCENE = pytest.mark.parametrize(("scene", "index"), SCENES)
SQUARE = np.ones((3, 3), np.uint8)


@EVERY_SCENE
def test_same_seed_gives_same_bytes_in_any_order(scene: Scene, index: int) -> None:
    again = Scene(scene.size, scene.fps, scene.seed, scene.held_out, scene.count, scene.pan, scene.background)
    scene.render(index + 900)
    picture, truth = scene.render(index)
    other, same = again.render(index)
    assert np.array_equal(picture, other)
    assert np.array_equal(truth.boxes, same.boxes)
    assert np.array_equal(truth.keypoints, same.keypoints)
    assert np.array_equal(truth.ids, same.ids)


def test_fps_only_samples_time() -> None:
    fast, _ = Scene(fps=50.0, seed=2).render(100)
    slow, _ = Scene(fps=10.0, seed=2).render(20)
    assert np.array_equal(fast, slow)


def test_other_seeds_and_held_out_give_other_pictures() -> None:
    pictures = [Scene(seed=1), Scene(seed=2), Scene(seed=1, held_out=True)]
    first, *rest = [scene.render(0)[0].astype(int) for scene in pictures]
    assert all(np.abs(first - other).mean() > 10 for other in rest)


@pytest.mark.parametrize("size", [(160, 90), (161, 120), (640, 360), (256, 256), (1920, 1080)])
def test_any_size_gives_that_picture_and_boxes_inside_it(size: tuple[int, int]) -> None:
    picture, truth = Scene(size, seed=8).render(12)
    assert picture.shape == (size[1], size[0], 3)
    assert picture.dtype == np.uint8
    assert len(truth) >= 4
    assert (truth.boxes[:, :2] >= 0).all()
    assert (truth.boxes[:, 2:] <= size).all()


@EVERY_SCENE
def test_boxes_are_tight_around_masks_that_do_not_overlap(scene: Scene, index: int) -> None:
    _, truth = scene.render(index)
    taken = np.zeros(scene.size[::-1], int)
    assert np.array_equal(truth.masks.regions, truth.boxes)
    for grid, (x0, y0, x1, y1) in zip(truth.masks.grids, truth.boxes.astype(int), strict=True):
        inside = grid > 0
        assert grid.shape == (y1 - y0, x1 - x0)
        assert inside[0].any()
        assert inside[-1].any()
        assert inside[:, 0].any()
        assert inside[:, -1].any()
        taken[y0:y1, x0:x1] += inside
    assert taken.max() == 1


@EVERY_SCENE
def test_masks_are_the_pixels_that_change_when_the_object_goes(scene: Scene, index: int) -> None:
    shown = scene._shown(index)
    picture, _ = scene._paint(index, shown)
    _, truth = scene.render(index)
    for row, identity in enumerate(truth.ids):
        rest = [
            replace(item, drawing=replace(item.drawing, strokes=[], gloss=(0.0, 0.0, 0.0)))
            if item.id == identity
            else item
            for item in shown
        ]
        without, _ = scene._paint(index, rest)
        change = np.abs(picture.astype(int) - without).max(axis=2)
        x0, y0, x1, y1 = truth.boxes[row].astype(int)
        mask = np.zeros(change.shape, np.uint8)
        mask[y0:y1, x0:x1] = truth.masks.grids[row] > 0
        beyond = change[cv2.dilate(mask, SQUARE) == 0]
        core = change[cv2.erode(mask, SQUARE) > 0]
        assert beyond.max() < 80  # no more than the soft edge of a line
        assert np.count_nonzero(beyond > 24) <= 0.01 * np.count_nonzero(mask) + 2
        assert np.count_nonzero(core) >= 0.94 * len(core)  # some cloth is like the car behind it


@EVERY_SCENE
def test_keypoints_are_visible_exactly_where_their_own_mask_shows(scene: Scene, index: int) -> None:
    _, truth = scene.render(index)
    width, height = scene.size
    for row in np.flatnonzero(truth.classes == 0):
        mask = np.zeros((height, width), bool)
        x0, y0, x1, y1 = truth.boxes[row].astype(int)
        mask[y0:y1, x0:x1] = truth.masks.grids[row] > 0
        x, y, v = truth.keypoints[row].T
        assert set(v) <= {0, 1, 2}
        assert mask[y[v == 2].astype(int), x[v == 2].astype(int)].all()
        assert ((x[v > 0] >= 0) & (x[v > 0] < width) & (y[v > 0] >= 0) & (y[v > 0] < height)).all()
        assert not truth.keypoints[row][v == 0].any()
    assert not truth.keypoints[truth.classes != 0].any()


def test_every_keypoint_is_seen_covered_and_left_and_right_are_told_apart() -> None:
    people = [truth for i in range(0, 900, 45) for truth in [Scene(seed=21).render(i)[1]]]
    keypoints = np.concatenate([truth.keypoints[truth.classes == 0] for truth in people])
    v = keypoints[..., 2]
    assert ((v == 2).sum(axis=0) > 0).all()
    assert ((v == 1).sum(axis=0) > 0).all()
    faces = keypoints[(v[:, :3] == 2).all(axis=1)]  # both eyes and the nose: turned to the camera
    assert len(faces) > 0
    assert (faces[:, 1, 0] > faces[:, 2, 0] - 1).mean() > 0.9  # the left eye is on our right


def _without_gloss(scene: Scene, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the picture without the light on balls, and for each pixel the id and part that it shows."""
    dull = [
        replace(item, drawing=replace(item.drawing, gloss=(0.0, 0.0, 0.0))) for item in scene._shown(index)
    ]
    picture, labels = scene._paint(index, dull)
    names = np.array([0] + [100 * item.id + part for item in dull for part in range(16)])
    return picture, names[labels]


@EVERY_SCENE
def test_flow_takes_the_last_picture_to_this_one(scene: Scene, index: int) -> None:
    before, was = _without_gloss(scene, index - 1)
    now, shows = _without_gloss(scene, index)
    flow = scene.flow(index)
    ys, xs = np.mgrid[0 : now.shape[0], 0 : now.shape[1]].astype(np.float32)
    came = xs - flow[..., 0], ys - flow[..., 1]
    warped = cv2.remap(before, *came, cv2.INTER_LINEAR)
    source = cv2.remap(was.astype(np.float32), *came, cv2.INTER_NEAREST, borderValue=-1)
    error = np.abs(warped.astype(int) - now).mean(axis=2)
    still = np.abs(before.astype(int) - now).mean(axis=2)
    measured = 0
    for name in np.unique(shows):
        inside = cv2.erode(((shows == name) & (source == name)).astype(np.uint8), SQUARE) > 0
        if np.count_nonzero(inside) < 60:
            continue
        measured += 1
        assert error[inside].mean() < 10, name
        if still[inside].mean() > 10:
            assert error[inside].mean() < still[inside].mean() / 2, name
    assert measured > 10


def test_ids_stay_with_an_object_and_are_never_used_again() -> None:
    scene = Scene((320, 180), fps=10.0, seed=9)
    truths = [scene.render(i)[1] for i in range(400)]
    kinds: dict[int, int] = {}
    for truth in truths:
        for identity, kind in zip(truth.ids.tolist(), truth.classes.tolist(), strict=True):
            assert kinds.setdefault(identity, kind) == kind
    for last, truth in pairwise(truths):
        _, a, b = np.intersect1d(last.ids, truth.ids, return_indices=True)
        whole = (last.boxes[a][:, 2] - last.boxes[a][:, 0]) > 20
        shift = np.abs(last.boxes[a][:, 3] - truth.boxes[b][:, 3])[whole]
        assert (shift < 60).all()
    assert len(kinds) > 3 * scene.count  # they enter and leave
    assert set(kinds.values()) == {0, 1, 2}


def test_held_out_looks_are_never_trained_on() -> None:
    rng = np.random.default_rng(0)
    looks = {held: [make_figure(rng, held) for _ in range(200)] for held in (False, True)}
    assert not {f.shirt for f in looks[False]} & {f.shirt for f in looks[True]}
    assert not {f.trousers for f in looks[False]} & {f.trousers for f in looks[True]}
    usual = [f.girth for f in looks[False]]
    assert not any(min(usual) <= f.girth <= max(usual) for f in looks[True])
    paints = [{make_car(rng, held).paint for _ in range(100)} for held in (False, True)]
    balls = [{make_ball(rng, held).colours for _ in range(100)} for held in (False, True)]
    assert not paints[0] & paints[1]
    assert not balls[0] & balls[1]


def test_nothing_to_see_is_an_empty_truth() -> None:
    _, truth = Scene(count=0).render(0)
    assert len(truth) == 0
    assert truth.keypoints.shape == (0, len(KEYPOINTS), 3)


def test_skeleton_joins_known_keypoints() -> None:
    assert len(KEYPOINTS) == 17
    assert {end for bone in SKELETON for end in bone} == set(range(17))


@pytest.mark.parametrize(
    ("what", "settings"),
    [
        ("size", {"size": (10, 360)}),
        ("size", {"size": (640, 9000)}),
        ("fps", {"fps": 0.0}),
        ("fps", {"fps": float("nan")}),
        ("count", {"count": -1}),
        ("seed", {"seed": -1}),
    ],
)
def test_impossible_scenes_are_refused_by_name(what: str, settings: dict[str, object]) -> None:
    with pytest.raises(InputError, match=f"scene: {what}"):
        Scene(**settings)  # type: ignore[arg-type]

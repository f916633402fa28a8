"""Suppression: every kind against an independent oracle, on random and on degenerate boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engines.detections import Detections, Masks
from engines.errors import InputError
from engines.masks import rle
from engines.suppress import diou_matrix, diou_nms, fast_nms, fuse, iou_matrix, mask_nms, nms, soft_nms

A, NEAR_A, FAR = (0, 0, 10, 10), (1, 0, 11, 10), (50, 50, 60, 60)  # IoU of A and NEAR_A is 90/110


@pytest.mark.parametrize(
    ("boxes", "scores", "classes", "iou", "kept"),
    [
        pytest.param([], [], [], 0.5, [], id="nothing in, nothing out"),
        pytest.param(
            [A, NEAR_A, FAR], [0.5, 0.9, 0.7], [0, 0, 0], 0.5, [1, 2], id="best of an overlap stays"
        ),
        pytest.param([A, NEAR_A], [0.9, 0.5], [0, 1], 0.5, [0, 1], id="another class does not suppress"),
        pytest.param([A, NEAR_A], [0.9, 0.5], [0, 0], 0.82, [0, 1], id="below the threshold both stay"),
        pytest.param([A, A], [0.5, 0.5], [0, 0], 0.5, [0], id="of equal scores the first wins"),
        pytest.param([A, (0, 0, 10, 5)], [0.9, 0.5], [0, 0], 0.5, [0, 1], id="an IoU of exactly iou stays"),
        pytest.param(
            [(0, 0, 10, 10), (4, 0, 14, 10), (8, 0, 18, 10)],
            [0.9, 0.8, 0.7],
            [0, 0, 0],
            0.3,
            [0, 2],
            id="what is suppressed does not suppress",
        ),
        pytest.param([(5, 5, 5, 5), (5, 5, 5, 5)], [0.9, 0.8], [0, 0], 0.5, [0, 1], id="boxes without area"),
    ],
)
def test_nms_keeps_best_of_overlap(boxes: list, scores: list, classes: list, iou: float, kept: list) -> None:
    seen = nms(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(classes, np.int32),
        iou,
    )
    assert seen.tolist() == kept


def test_class_agnostic_nms_lets_any_class_suppress() -> None:
    boxes = np.array([A, NEAR_A], np.float32)
    scores, classes = np.array([0.9, 0.5], np.float32), np.array([0, 1])
    assert nms(boxes, scores, classes, 0.5, class_agnostic=True).tolist() == [0]


def test_boxes_far_from_the_origin_keep_their_precision() -> None:
    """Offsetting boxes by class, as is often done, would round these to equal boxes."""
    boxes = np.array([(0, 0, 1, 1), (0.5, 0, 1.5, 1)], np.float32) + np.float32(4000)
    scores, classes = np.array([0.9, 0.8], np.float32), np.array([9999, 9999])
    assert nms(boxes, scores, classes, 0.5).tolist() == [0, 1]


@pytest.mark.parametrize("count", [10, 300, 2000, 10_000])
@pytest.mark.parametrize("agnostic", [False, True])
def test_nms_equals_torchvision(count: int, agnostic: bool) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    ops = pytest.importorskip("torchvision.ops", reason="torchvision is not installed")
    boxes, scores, classes = crowd(count)
    expected = ops.batched_nms(
        torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(classes * (not agnostic)), 0.5
    )
    assert nms(boxes, scores, classes, 0.5, class_agnostic=agnostic).tolist() == expected.tolist()


def crowd(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return random boxes (N,4), distinct scores and classes 0..3; few overlap exactly as much as a limit."""
    rng = np.random.default_rng([count, seed])
    room = 300 * max(count / 300, 1) ** 0.5
    centres, sizes = rng.uniform(0, room, (count, 2)), rng.uniform(10, 90, (count, 2))
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], 1).astype(np.float32)
    scores = (rng.permutation(count) + 1).astype(np.float32) / (count + 1)
    return boxes, scores, rng.integers(0, 4, count)


KINDS = {
    "nms": nms,
    "agnostic": lambda *rows: nms(*rows, class_agnostic=True),
    "diou": diou_nms,
    "fast": fast_nms,
    "linear": lambda *rows: soft_nms(*rows[:3], decay="linear", iou=rows[3])[0],
    "gaussian": lambda *rows: soft_nms(*rows[:3])[0],
}


@pytest.mark.parametrize("kind", KINDS)
def test_degenerate_boxes_are_no_trouble(kind: str) -> None:
    run = KINDS[kind]
    none = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32)
    assert run(*none, 0.5).tolist() == []
    nan, inf = np.nan, np.inf
    rows = [A, (0, 0, nan, 10), (0, 0, inf, 10), (5, 5, 5, 5), (5, 5, 5, 5), (60, 60, 70, 70)]
    boxes, classes = np.array(rows, np.float32), np.zeros(6, np.int32)
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, nan], np.float32)
    assert run(boxes, scores, classes, 0.5).tolist() == [0, 3, 4]


@pytest.mark.parametrize("kind", KINDS)
def test_identical_boxes_leave_the_first(kind: str) -> None:
    boxes = np.array([A] * 600, np.float32)
    kept = KINDS[kind](boxes, np.full(600, 0.9, np.float32), np.zeros(600, np.int32), 0.5)
    assert kept[0] == 0
    assert kind == "gaussian" or kept.tolist() == [0]


@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_boxes_of_one_class(kind: str) -> None:
    boxes, scores, _ = crowd(10_000)
    count = 10_000 if kind not in ("linear", "gaussian") else 1500  # one step for each box kept
    kept = KINDS[kind](boxes[:count], scores[:count], np.zeros(count, np.int32), 0.5)
    assert len(set(kept.tolist())) == len(kept) > 0
    assert kept[0] == scores[:count].argmax()


def test_diou_equals_torchvision() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    ops = pytest.importorskip("torchvision.ops", reason="torchvision is not installed")
    one, other = crowd(60)[0], crowd(60, seed=1)[0]
    left, right = np.repeat(one, 60, axis=0), np.tile(other, (60, 1))
    loss = ops.distance_box_iou_loss(torch.from_numpy(left), torch.from_numpy(right))
    np.testing.assert_allclose(diou_matrix(one, other).ravel(), 1 - loss.numpy(), atol=1e-5)


def plain_greedy(matrix: np.ndarray, scores: np.ndarray, classes: np.ndarray, limit: float) -> list[int]:
    kept: list[int] = []
    for row in np.argsort(-scores, kind="stable"):
        if all(matrix[row, other] <= limit or classes[row] != classes[other] for other in kept):
            kept.append(int(row))
    return kept


@pytest.mark.parametrize("count", [40, 700])
def test_diou_nms_is_greedy_by_its_measure(count: int) -> None:
    boxes, scores, classes = crowd(count)
    kept = diou_nms(boxes, scores, classes, 0.2)
    assert kept.tolist() == plain_greedy(diou_matrix(boxes, boxes), scores, classes, 0.2)


@pytest.mark.parametrize("unit", [1, 1000], ids=["pixels", "shares of a picture"])
@pytest.mark.parametrize("count", [12, 40], ids=["by hand", "by arrays"])
def test_nms_is_greedy_in_any_unit(count: int, unit: int) -> None:
    for seed in range(20):
        boxes, scores, classes = crowd(count, seed)
        kept = nms(boxes / np.float32(unit), scores, classes, 0.1)
        assert kept.tolist() == plain_greedy(iou_matrix(boxes, boxes), scores, classes, 0.1)


def test_fast_nms_lets_the_suppressed_suppress() -> None:
    boxes = np.array([(0, 0, 10, 10), (4, 0, 14, 10), (8, 0, 18, 10)], np.float32)
    scores, classes = np.array([0.7, 0.8, 0.9], np.float32), np.zeros(3, np.int32)
    assert fast_nms(boxes, scores, classes, 0.3).tolist() == [2]
    assert nms(boxes, scores, classes, 0.3).tolist() == [2, 0]


@pytest.mark.parametrize("count", [50, 1200])
def test_fast_nms_keeps_what_nothing_better_overlaps(count: int) -> None:
    boxes, scores, classes = crowd(count)
    over = (iou_matrix(boxes, boxes) > 0.4) & (classes[:, None] == classes)
    alone = [row for row in range(count) if not (over[row] & (scores > scores[row])).any()]
    assert sorted(fast_nms(boxes, scores, classes, 0.4).tolist()) == alone


@pytest.mark.parametrize("decay", ["linear", "gaussian"])
def test_soft_nms_equals_the_paper_step_by_step(decay: str) -> None:
    boxes, scores, classes = crowd(80)
    kept, final = soft_nms(boxes, scores, classes, decay=decay, iou=0.3, sigma=0.5, least=0.05)
    left, expected = {row: float(scores[row]) for row in range(80)}, []
    matrix = iou_matrix(boxes, boxes)
    while left:
        best = max(left, key=lambda row: left[row])
        score = left.pop(best)
        if score < 0.05:
            break
        expected.append((best, score))
        for row in left:
            overlap = float(matrix[best, row]) * (classes[best] == classes[row])
            if decay == "gaussian":
                left[row] *= np.exp(-(overlap**2) / 0.5)
            elif overlap > 0.3:
                left[row] *= 1 - overlap
    assert kept.tolist() == [row for row, _ in expected]
    np.testing.assert_allclose(final, [score for _, score in expected], rtol=1e-4)


def test_fusion_is_the_weighted_mean() -> None:
    one = Detections.of([A, FAR], [0.8, 0.6], [0, 1])
    other = Detections.of([NEAR_A, A], [0.4, 0.5], [0, 2])
    fused = fuse([one, other], weights=[2, 1])
    assert fused.classes.tolist() == [0, 1, 2]
    x = (2 * 0.8 * 0 + 0.4 * 1) / (2 * 0.8 + 0.4)
    np.testing.assert_allclose(fused.boxes[0], [x, 0, 10 + x, 10], rtol=1e-6)
    np.testing.assert_allclose(fused.boxes[1:], [FAR, A])
    np.testing.assert_allclose(fused.scores, [(1.6 + 0.4) / 2 * 2 / 3, 1.2 / 3, 0.5 / 3], rtol=1e-6)


def test_fusion_begins_with_the_best() -> None:
    """The faintest box lies between two others and overlaps both, which do not overlap each other as much."""
    boxes = np.array([(0, 0, 10, 10), (3, 0, 13, 10), (6, 0, 16, 10)], np.float32)
    fused = fuse([Detections.of(boxes, [0.9, 0.2, 0.8], [0, 0, 0])], iou=0.5)
    np.testing.assert_allclose(fused.boxes[:, 0], [6, 3 * 0.2 / 1.1], rtol=1e-6)


def test_fusion_of_one_model_that_agrees_with_itself_changes_nothing() -> None:
    one = Detections.of([A, FAR], [0.8, 0.6], [0, 1])
    fused = fuse([one, one, one])
    np.testing.assert_allclose(fused.boxes, one.boxes)
    np.testing.assert_allclose(fused.scores, one.scores, rtol=1e-6)
    assert len(fuse([Detections(), Detections()])) == 0
    nothing = Detections.of([A, A], [0, 0], [0, 0])
    np.testing.assert_allclose(fuse([nothing, nothing]).boxes, [A])


@pytest.mark.parametrize(
    ("models", "weights", "said"),
    [
        ([], [], "with one model at least"),
        (Detections.of([A], [0.8], [0]), [], "a list of what each model found is right"),
        ([Detections()], [2, 1], "1 models but 2 weights"),
    ],
    ids=["no models", "not a list", "weights of others"],
)
def test_what_cannot_be_fused_is_one_sentence(models: Any, weights: list[float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        fuse(models, weights=weights)


@pytest.mark.parametrize("seed", range(5))
def test_mask_nms_is_greedy_by_pycocotools_overlap(seed: int) -> None:
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    rng, count, size = np.random.default_rng(seed), 30, (200, 160)
    corner = rng.uniform(-20, 120, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0, 90, (count, 2))], axis=1).astype(np.float32)
    boxes[3, 2:] = boxes[3, :2]  # no area
    boxes[5] = boxes[4]
    grids = tuple((rng.random((7, 7)) - 0.3).astype(np.float32) for _ in range(count))
    grids = (*grids[:5], grids[4], *grids[6:])
    scores, classes = rng.permutation(count).astype(np.float32) / count, rng.integers(0, 2, count)
    found = Detections.of(boxes, scores, classes, masks=Masks(grids, boxes))
    codes = [rle(found.masks, row, boxes[row], size) for row in range(count)]
    matrix = coco.iou(codes, codes, [0] * count)
    assert mask_nms(found, 0.25, size).tolist() == plain_greedy(matrix, scores, classes, 0.25)


def test_iou_matrix_of_known_overlaps() -> None:
    seen = iou_matrix(np.array([A], np.float32), np.array([A, NEAR_A, FAR, (0, 0, 5, 10)], np.float32))
    np.testing.assert_allclose(seen, [[1, 90 / 110, 0, 0.5]], rtol=1e-6)

"""Non-maximum suppression: greedy, per class, the same under ties."""

from __future__ import annotations

import numpy as np
import pytest

from engines.suppress import iou_matrix, nms

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


@pytest.mark.parametrize("count", [10, 300, 2000], ids=["few", "one matrix", "class by class"])
@pytest.mark.parametrize("agnostic", [False, True])
def test_nms_equals_torchvision(count: int, agnostic: bool) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    ops = pytest.importorskip("torchvision.ops", reason="torchvision is not installed")
    rng = np.random.default_rng(count)
    centres, sizes = rng.uniform(0, 300, (count, 2)), rng.uniform(10, 90, (count, 2))
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], 1).astype(np.float32)
    scores = rng.permutation(count).astype(np.float32) / count
    classes = rng.integers(0, 4, count)
    expected = ops.batched_nms(
        torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(classes * (not agnostic)), 0.5
    )
    assert nms(boxes, scores, classes, 0.5, class_agnostic=agnostic).tolist() == expected.tolist()


def test_iou_matrix_of_known_overlaps() -> None:
    seen = iou_matrix(np.array([A], np.float32), np.array([A, NEAR_A, FAR, (0, 0, 5, 10)], np.float32))
    np.testing.assert_allclose(seen, [[1, 90 / 110, 0, 0.5]], rtol=1e-6)

"""Assignment and box overlap on cases worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from trainers.matching import assign, ciou, iou

# a row of five cells, 8 pixels apart
POINTS = torch.tensor([[4.0, 4.0], [12.0, 4.0], [20.0, 4.0], [28.0, 4.0], [36.0, 4.0]])
LEFT, RIGHT = [0.0, -4.0, 24.0, 12.0], [16.0, -4.0, 40.0, 12.0]


def run(boxes, scores, truth, classes, topk=10):
    real = torch.ones(1, len(truth), dtype=torch.bool)
    found = assign(
        torch.tensor([scores]),
        torch.tensor([boxes]),
        POINTS,
        torch.tensor([truth]).reshape(1, -1, 4),
        torch.tensor([classes], dtype=torch.long),
        real,
        topk,
    )
    return found.positive[0].tolist(), found.owner[0].tolist(), found.quality[0]


def test_only_cells_inside_an_object_learn_it() -> None:
    positive, _, _ = run([LEFT] * 5, [[0.5]] * 5, [LEFT], [0])
    assert positive == [True, True, True, False, False]


def test_the_best_aligned_cells_are_taken_and_no_more() -> None:
    positive, _, quality = run([LEFT] * 5, [[0.1], [0.9], [0.5], [0.9], [0.9]], [LEFT], [0], topk=2)
    assert positive == [False, True, True, False, False]
    assert quality[1] == pytest.approx(1.0, abs=1e-4)
    assert quality[2] == pytest.approx(math.sqrt(0.5 / 0.9), abs=1e-4)


def test_overlap_outweighs_score() -> None:
    half = [0.0, -4.0, 12.0, 12.0]  # IoU 1/2 with LEFT
    positive, _, _ = run([LEFT, half, half, half, half], [[0.1], [0.9], [0.9], [0.9], [0.9]], [LEFT], [0], 1)
    assert positive == [True, False, False, False, False]


def test_a_cell_that_two_objects_want_goes_to_the_one_it_overlaps_most() -> None:
    boxes = [LEFT, LEFT, RIGHT, RIGHT, RIGHT]
    positive, index, quality = run(boxes, [[0.5]] * 5, [LEFT, RIGHT], [0, 0])
    assert positive == [True] * 5
    assert index == [0, 0, 1, 1, 1]
    assert quality.tolist() == pytest.approx([1] * 5, abs=1e-4)


def test_alignment_uses_the_score_of_the_objects_own_class() -> None:
    scores = [[0.9, 0.1], [0.1, 0.9], [0.1, 0.1], [0.0, 0.0], [0.0, 0.0]]
    assert run([LEFT] * 5, scores, [LEFT], [0], 1)[0] == [True, False, False, False, False]
    assert run([LEFT] * 5, scores, [LEFT], [1], 1)[0] == [False, True, False, False, False]


def test_the_best_quality_is_the_objects_best_overlap() -> None:
    half = [0.0, -4.0, 12.0, 12.0]
    _, _, quality = run([half] * 5, [[0.3]] * 5, [LEFT], [0])
    assert quality.max() == pytest.approx(0.5, abs=1e-4)


def test_an_object_is_learnt_even_before_any_box_meets_it() -> None:
    far = [300.0, 300.0, 310.0, 310.0]
    positive, _, quality = run([far] * 5, [[0.01]] * 5, [LEFT], [0], topk=2)
    assert sum(positive) == 2
    assert not quality.any()


def test_an_object_smaller_than_a_cell_still_gets_one() -> None:
    positive, _, _ = run([LEFT] * 5, [[0.5]] * 5, [[13.0, 5.0, 15.0, 7.0]], [0])
    assert positive == [False, True, False, False, False]


def test_padding_is_never_assigned() -> None:
    found = assign(
        torch.full((1, 5, 1), 0.5),
        torch.tensor([[LEFT] * 5]),
        POINTS,
        torch.tensor([[LEFT, RIGHT]]),
        torch.zeros(1, 2, dtype=torch.long),
        torch.tensor([[True, False]]),
    )
    assert found.owner.max() == 0
    assert found.positive[0].tolist() == [True, True, True, False, False]


def test_no_objects_no_positives() -> None:
    found = assign(
        torch.full((2, 5, 1), 0.5),
        torch.tensor([[LEFT] * 5] * 2),
        POINTS,
        torch.zeros(2, 0, 4),
        torch.zeros(2, 0, dtype=torch.long),
        torch.zeros(2, 0, dtype=torch.bool),
    )
    assert not found.positive.any()


@pytest.mark.parametrize(
    ("a", "b", "overlap"),
    [
        ([0, 0, 2, 2], [0, 0, 2, 2], 1.0),
        ([0, 0, 2, 2], [1, 0, 3, 2], 1 / 3),
        ([0, 0, 2, 2], [5, 5, 6, 6], 0.0),
        ([0, 0, 4, 4], [1, 1, 3, 3], 1 / 4),
    ],
)
def test_iou_by_hand(a: list[float], b: list[float], overlap: float) -> None:
    got = iou(torch.tensor(a, dtype=torch.float32), torch.tensor(b, dtype=torch.float32))
    assert float(got) == pytest.approx(overlap, abs=1e-5)


def test_iou_agrees_with_torchvision() -> None:
    from torchvision import ops

    generator = torch.Generator().manual_seed(3)
    corners = torch.rand(40, 2, 2, generator=generator).sort(1).values * 100
    boxes = corners.reshape(40, 4)
    assert torch.allclose(iou(boxes[:, None], boxes[None]), ops.box_iou(boxes, boxes), atol=1e-5)
    other = boxes.flip(0)
    mine = 1 - ciou(boxes, other)
    assert torch.allclose(mine, ops.complete_box_iou_loss(boxes, other), atol=1e-4)

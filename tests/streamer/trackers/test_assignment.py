"""Assignment: the greatest sum, found by trying all of them."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from engines.detections import Detections
from streamer.trackers.assignment import Rounds, assign


def greatest_sum(similarity: np.ndarray, least: float) -> float:
    wide = similarity if similarity.shape[0] <= similarity.shape[1] else similarity.T
    worth = np.where(wide >= least, wide, 0)
    rows = range(len(wide))
    return max(
        sum(worth[row, choice[row]] for row in rows)
        for choice in permutations(range(wide.shape[1]), len(wide))
    )


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (2, 6), (6, 2), (6, 6)])
@pytest.mark.parametrize("density", [0.1, 0.4, 1.0])
def test_sum_of_similarities_is_the_greatest(shape: tuple[int, int], density: float) -> None:
    random = np.random.default_rng(5)
    for _ in range(30):
        similarity = random.random(shape) * (random.random(shape) < density)
        rows, columns = assign(similarity, 0.3)
        assert len(set(rows)) == len(set(columns)) == len(rows)
        assert (similarity[rows, columns] >= 0.3).all()
        assert similarity[rows, columns].sum() == pytest.approx(greatest_sum(similarity, 0.3))


@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (4, 0)])
def test_nobody_is_paired_with_nothing(shape: tuple[int, int]) -> None:
    rows, columns = assign(np.zeros(shape), 0.3)
    assert len(rows) == len(columns) == 0


@pytest.mark.parametrize("similarity", [[[0.0]], [[0.0, 0.5], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
def test_what_is_not_similar_at_all_is_no_pair_even_where_nothing_is_asked_for(similarity: list) -> None:
    rows, columns = assign(np.array(similarity), 0.0)
    assert (np.array(similarity)[rows, columns] > 0).all()
    assert len(rows) == np.count_nonzero(similarity)


def test_who_is_taken_in_one_round_is_gone_in_the_next() -> None:
    found = Detections.of(np.zeros((3, 4)), [0.9] * 3, [5, 6, 7])
    rounds, asked = Rounds(3, found), []

    def alike(rows: np.ndarray, found: Detections) -> np.ndarray:
        asked.append((rows.tolist(), found.classes.tolist()))
        return np.eye(len(rows), len(found))

    everybody = np.ones(3, bool)
    rounds.match(alike, 0.5, np.array([False, True, False]), np.array([False, True, True]))
    assert rounds.owners.tolist() == [-1, 1, -1]
    rounds.match(alike, 0.5, everybody, everybody)
    assert rounds.owners.tolist() == [0, 1, 2]
    assert asked == [([1], [6, 7]), ([0, 2], [5, 7])]
    rounds.match(alike, 0.5, everybody, everybody)
    assert len(asked) == 2

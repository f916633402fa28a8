"""Assignment: which detection continues which track, so that the sum of similarities is the greatest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from engines.detections import Detections

__all__ = ["Rounds", "assign"]

Rows = NDArray[np.intp]
Measure = Callable[[Rows, Detections], NDArray[np.floating]]  # N tracks, M detections -> (N,M)


def assign(similarity: NDArray[np.floating], least: float) -> tuple[Rows, Rows]:
    """Return the rows and columns of the pairs that make the greatest sum; no pair is below ``least``.

    similarity is (N,M); a pair of 0 is none, whatever ``least``. Pairs without a rival in their row
    and column, most of them as a rule, are taken first, so that the exact algorithm (Crouse 2016, scipy's)
    meets the contested ones only.
    """
    able = (similarity >= least) & (similarity > 0)
    rivals_of_row, rivals_of_column = able.sum(axis=1), able.sum(axis=0)
    lonely = able & (rivals_of_row == 1)[:, None] & (rivals_of_column == 1)
    rows, columns = np.nonzero(lonely)
    rivals_of_row[rows] = 0
    rivals_of_column[columns] = 0
    some, others = np.flatnonzero(rivals_of_row), np.flatnonzero(rivals_of_column)
    if not len(some):
        return rows, columns
    from scipy.optimize import linear_sum_assignment

    part = np.ix_(some, others)
    worth = np.where(able[part], similarity[part], 0.0)
    one, other = linear_sum_assignment(worth, maximize=True)
    real = worth[one, other] > 0
    return np.concatenate([rows, some[one[real]]]), np.concatenate([columns, others[other[real]]])


class Rounds:
    """Rounds of assignment between N tracks and M detections; who is taken in one is gone in the next."""

    def __init__(self, tracks: int, found: Detections) -> None:
        self.found = found
        self.owners = np.full(len(found), -1, np.intp)  # the track of each detection, -1 = none yet
        self._free = np.ones(tracks, np.bool_)

    def match(
        self, measure: Measure, least: float, tracks: NDArray[np.bool_], found: NDArray[np.bool_]
    ) -> None:
        """Assign those of these tracks and detections that are free, by a measure of similarity."""
        rows, columns = np.flatnonzero(self._free & tracks), np.flatnonzero((self.owners < 0) & found)
        if not len(rows) or not len(columns):
            return
        one, other = assign(measure(rows, self.found[columns]), least)
        self.owners[columns[other]] = rows[one]
        self._free[rows[one]] = False

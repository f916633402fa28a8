"""Roster: what is known of each track id, as rows of one array."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["MEMORY", "Roster"]

MEMORY = 60.0  # seconds

Rows = NDArray[np.intp]


class Roster:
    """Rows of ``columns`` numbers, NaN at first, one for each id; who is not asked for is forgotten."""

    def __init__(self, columns: int, memory: float = MEMORY) -> None:
        self._memory = memory  # seconds
        self.ids = np.zeros(0, np.int64)
        self.seen = np.zeros(0)  # pts of the last time that each was asked for
        self.data = np.zeros((0, columns))

    def rows(self, ids: NDArray[np.int64], pts: float) -> Rows:
        """Return the row of each id, which are all different, at a time; new ids get new rows."""
        fresh = ids[~np.isin(ids, self.ids)]
        if len(fresh):
            kept = (pts - self.seen <= self._memory) | np.isin(self.ids, ids)
            empty = np.full((len(fresh), self.data.shape[1]), np.nan)
            self.ids = np.concatenate([self.ids[kept], fresh])
            self.seen = np.concatenate([self.seen[kept], np.full(len(fresh), pts)])
            self.data = np.concatenate([self.data[kept], empty])
        order = np.argsort(self.ids)
        rows: Rows = order[np.searchsorted(self.ids, ids, sorter=order)]
        self.seen[rows] = pts
        return rows

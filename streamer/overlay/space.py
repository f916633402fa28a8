"""Space: which parts of a picture are taken by tags already, so that the next one can stay clear of them."""

from __future__ import annotations

__all__ = ["Rect", "Space"]

Rect = tuple[int, int, int, int]  # left, top, right, bottom in pixels


class Space:
    """Claimed rectangles: one bit per cell, one integer per row of cells, so that a check costs little."""

    def __init__(self, cell: int = 4) -> None:
        self._cell = cell
        self._rows: dict[int, int] = {}

    def taken(self, rect: Rect) -> int:
        """Count the cells of ``rect`` that are claimed: 0 = it is free."""
        first, last, bits = self._span(rect)
        return sum((self._rows.get(row, 0) & bits).bit_count() for row in range(first, last))

    def claim(self, rect: Rect) -> None:
        """Take ``rect``; its coordinates must not be negative."""
        first, last, bits = self._span(rect)
        for row in range(first, last):
            self._rows[row] = self._rows.get(row, 0) | bits

    def _span(self, rect: Rect) -> tuple[int, int, int]:
        left, top, right, bottom = rect
        begin, end = left // self._cell, -(-right // self._cell)
        return top // self._cell, -(-bottom // self._cell), ((1 << (end - begin)) - 1) << begin

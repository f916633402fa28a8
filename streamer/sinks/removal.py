"""Removal: whether a file is gone that is still open, and what was written to it with it."""

from __future__ import annotations

import os
import stat

__all__ = ["REMOVED", "is_removed"]

REMOVED = "was removed while it was written, what was in it is lost"


def is_removed(file: int) -> bool:
    """Tell whether an open file has no name any more; one that was moved has, as have devices and pipes."""
    found = os.fstat(file)
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 0

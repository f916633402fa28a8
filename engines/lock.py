"""Lock: an open file that one holder at a time has; the system lets go of it when that process ends."""

from __future__ import annotations

import sys

__all__ = ["lock", "try_lock"]

if sys.platform == "win32":
    import msvcrt
    import time

    _PAUSE = 0.1  # seconds between two tries: Windows' own wait gives up after ten of a second each

    def try_lock(descriptor: int) -> bool:
        """Lock an open file, against other processes and other openings; False where somebody has it."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def lock(descriptor: int) -> None:
        """Wait until nobody else has an open file locked, then lock it."""
        while not try_lock(descriptor):
            time.sleep(_PAUSE)

else:
    import fcntl

    def try_lock(descriptor: int) -> bool:
        """Lock an open file, against other processes and other openings; False where somebody has it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def lock(descriptor: int) -> None:
        """Wait until nobody else has an open file locked, then lock it."""
        fcntl.flock(descriptor, fcntl.LOCK_EX)

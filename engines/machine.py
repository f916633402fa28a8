"""Machine: what this process may use of it, on Linux, macOS and Windows."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

__all__ = ["cores", "memory", "peak_memory", "quota"]

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def cores() -> int:
    """Return how many threads can work at once: the process's affinity, its container's quota if less."""
    known = os.cpu_count() or 1
    if sys.platform == "linux":
        known = len(os.sched_getaffinity(0))
    return min(known, math.ceil(quota() or known))


def quota(file: Path = _QUOTA) -> float:
    """Return how many cores' time the container may use (cgroup v2, cpu.max), 0 where it is not limited."""
    try:
        limit, period = file.read_text(encoding="ascii").split()
        return int(limit) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # no such file, or "max"
        return 0.0


def memory() -> int:
    """Return the bytes of memory that the machine has."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.virtual_memory().total)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def peak_memory() -> int:
    """Return the most bytes that this process ever held in memory."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2) of each
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

"""Tuning of the process a pipeline runs in: memory stays mapped, libraries leave threads to us."""

from __future__ import annotations

import ctypes
import functools

__all__ = ["tune"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
_KEEP = 256 << 20  # bytes of freed memory kept for the next pictures
_LARGE = 32 << 20  # bytes from which a block is mapped by itself: more than any picture up to 4K


@functools.cache
def tune() -> None:
    """Prepare the process, once: call before threads start.

    Pictures come and go at the frame rate. By default glibc maps each large one afresh, and the kernel
    clears its pages again and again (a copy of 1080p planes: 0.5-1.2 ms, against 0.1-0.3 ms from a kept
    heap). OpenCV's own threads would compete with one thread per stage. Heavy modules are imported here
    because two threads that import them side by side can meet them half made.
    """
    # OpenCV first: both wheels bring a libxcb-shm, and cv2.namedWindow hangs on PyAV's.
    import cv2  # isort: skip
    import av  # noqa: F401  # isort: skip

    cv2.setNumThreads(1)
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGE)
    mallopt(_M_TRIM_THRESHOLD, _KEEP)

"""Naming: what a second thing of one name is called."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

__all__ = ["numbered"]


def numbered(stem: str, suffix: str = "") -> Iterator[str]:
    """Yield without end ``cam.mp4``, ``cam-2.mp4``, ``cam-3.mp4`` ... of stem ``cam`` and suffix ``.mp4``."""
    yield f"{stem}{suffix}"
    for number in count(2):
        yield f"{stem}-{number}{suffix}"

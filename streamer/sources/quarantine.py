"""Quarantine: pictures that a live source gives out but that show nothing real are told from the others."""

from __future__ import annotations

from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from streamer.frame import Frame, Planes

__all__ = ["KINDS", "Quarantine", "is_black"]

KINDS = ("corrupt", "black", "frozen")  # what can be withheld
STRIDE = 8  # every so-manieth luma pixel of both directions is looked at
DARK = 8  # luma steps above black within which a black picture stays
NO_COLOUR = 4  # chroma steps around grey within which a black picture stays
FROZEN_AFTER = 10.0  # seconds
STILL = 3  # luma steps by which no block of STRIDE x STRIDE pixels changes in a picture that stands still
MOST = 2048  # pictures that are remembered


class Quarantine:
    """Judges the pictures of one stream, in order.

    Frozen is what stands still and for ``frozen_after`` seconds shows no picture that was not shown before.
    An encoder behind a dead sensor repeats itself, keyframe and all. A quiet scene does not: noise makes each
    keyframe a little different.
    """

    def __init__(
        self, withheld: frozenset[str] = frozenset(KINDS), *, frozen_after: float | None = None
    ) -> None:
        self._withheld = withheld
        self._frozen_after = FROZEN_AFTER if frozen_after is None else frozen_after
        self._still: NDArray[np.uint8] | None = None  # the luma that all pictures have resembled for a while
        self._sample: NDArray[np.int16] = np.empty((0, 0), np.int16)  # of it
        self._seen: set[int] = set()  # digests of these pictures
        self._new_at = 0.0  # when one of them was a new one

    def judge(self, frame: Frame) -> str:
        """Return why this picture is withheld, one of KINDS, or "" for a good one."""
        is_frozen = "frozen" in self._withheld and self._is_frozen(frame)
        if frame.damaged and "corrupt" in self._withheld:
            return "corrupt"
        if "black" in self._withheld and is_black(frame.planes):
            return "black"
        return "frozen" if is_frozen else ""

    def _is_frozen(self, frame: Frame) -> bool:
        luma = frame.planes.y
        sample = np.ascontiguousarray(luma[::STRIDE, ::STRIDE])
        digest = crc32(sample.data)
        if not self._stands_still(luma, sample):
            self._still, self._sample, self._seen = luma, sample.astype(np.int16), set()
        if digest not in self._seen:
            self._seen = self._seen if len(self._seen) < MOST else set()
            self._seen.add(digest)
            self._new_at = frame.captured
        return frame.captured - self._new_at >= self._frozen_after

    def _stands_still(self, luma: NDArray[np.uint8], sample: NDArray[np.uint8]) -> bool:
        if self._still is None or self._still.shape != luma.shape:
            return False
        if np.abs(self._sample - sample).mean() > STILL:
            return False
        return int(np.abs(blocks(self._still) - blocks(luma)).max()) <= STILL


def is_black(planes: Planes) -> bool:
    """Tell whether a picture is black all over, as encoders send it when their sensor is gone."""
    floor = 0 if planes.full_range else 16
    if int(planes.y[::STRIDE, ::STRIDE].max()) > floor + DARK:
        return False
    chroma = np.stack((planes.u[::STRIDE, ::STRIDE], planes.v[::STRIDE, ::STRIDE])).astype(np.int16)
    return int(np.abs(chroma - 128).max()) <= NO_COLOUR


def blocks(luma: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Return the mean of each block of STRIDE x STRIDE pixels."""
    import cv2

    size = (-(-luma.shape[1] // STRIDE), -(-luma.shape[0] // STRIDE))
    small: NDArray[np.uint8] = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
    return small.astype(np.int16)

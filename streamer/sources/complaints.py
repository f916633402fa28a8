"""Complaints: what FFmpeg only says in its log while it reads one source: lost packets, decoding errors."""

from __future__ import annotations

import functools
import logging
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import av.logging

__all__ = ["LOST", "Complaints"]

LOST = "packets lost"  # on the way, as the gaps in RTP's sequence numbers tell
DECODING = "decoder complaints"
MISSED = re.compile(r"RTP: missed (-?\d+) packets")
HARMLESS = re.compile(  # said of sound streams, of joining in the middle and of what costs no picture
    r"max delay reached|deprecated pixel format|non-existing PPS|no frame!|Could not find codec parameters|"
    r"not enough frames to estimate|Consider increasing|Late SEI|Stream #\d+: "
)


class Complaints:
    """Collects what is logged by the thread that calls ``heard``; decoder threads of their own go unheard."""

    def __init__(self) -> None:
        self.total: Counter[str] = Counter()
        self._said: list[tuple[int, str, str]] = []

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Listen in this thread for as long as the context lasts."""
        _speak_up()
        with av.logging.Capture(local=True) as self._said:
            yield

    def fresh(self) -> bool:
        """Count what was said since the last call; True if pictures must have suffered."""
        if not self._said:
            return False
        suffered = False
        for _, _, text in self._said:
            if HARMLESS.search(text):
                continue
            missed = MISSED.search(text)
            if missed:
                self.total[LOST] += max(int(missed[1]), 1)
            else:
                self.total[DECODING] += 1
            suffered = True
        self._said.clear()
        return suffered


@functools.cache
def _speak_up() -> None:
    """Let FFmpeg's warnings through to Python, once; nothing is printed, since they may hold passwords."""
    logger = logging.getLogger("libav")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    av.logging.set_level(av.logging.WARNING)
    av.logging.set_skip_repeated(False)

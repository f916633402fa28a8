"""Tuning: the libraries leave threads to the graph."""

from __future__ import annotations

import cv2

from streamer.tuning import tune


def test_opencv_works_in_the_thread_that_calls_it() -> None:
    cv2.setNumThreads(2)
    tune.__wrapped__()
    assert cv2.getNumThreads() == 1

"""One engine for several streams: batches change nothing in what each stream is told."""

from collections.abc import Sequence

import numpy as np
import pytest

import streamer
from engines.detections import Detections

LEFT, RIGHT = "synthetic:?size=640x360&count=23&seed=3", "synthetic:?size=480x360&count=14&seed=9"
BOX, SCORE = 0.05, 1e-3  # pixels, and of 1: what fp32 sums in another order may differ by


def seen(*urls: str, batch: int = 1, backend: str = "openvino") -> dict[str, list[Detections]]:
    """The detections of each stream, in order."""
    found: dict[str, list[Detections]] = {}
    how = {"precision": "fp32", "batch": batch, "backend": backend, "conf": 0.3}
    for frame in streamer.stream(*urls, model="tiny-yolo", **how):
        found.setdefault(frame.stream, []).append(frame.detections)
    return found


def assert_same(ours: Sequence[Detections], theirs: Sequence[Detections]) -> None:
    assert [len(each) for each in ours] == [len(each) for each in theirs]
    assert sum(len(each) for each in ours) > len(ours)
    for a, b in zip(ours, theirs, strict=True):
        assert np.array_equal(a.classes, b.classes)
        np.testing.assert_allclose(a.boxes, b.boxes, atol=BOX)
        np.testing.assert_allclose(a.scores, b.scores, atol=SCORE)


@pytest.fixture(scope="module")
def alone() -> dict[str, list[Detections]]:
    (left,), (right,) = seen(LEFT).values(), seen(RIGHT).values()
    return {"left": left, "right": right}


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("batch", [1, 4], ids=["one by one", "in fours, the last padded"])
def test_two_streams_in_one_engine_equal_each_alone(alone, batch, backend):
    left, right = seen(LEFT, RIGHT, batch=batch, backend=backend).values()
    if len(left) < len(right):
        left, right = right, left
    assert_same(left, alone["left"])
    assert_same(right, alone["right"])


@pytest.mark.parametrize("batch", [3, 8], ids=["padded last batch", "larger than the clip's tail"])
def test_batches_of_one_stream_agree(alone, batch):
    (left,) = seen(LEFT, batch=batch).values()
    assert_same(left, alone["left"])

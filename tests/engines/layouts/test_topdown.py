"""Top-down poses: heatmaps with a quarter of a cell, bins of half a pixel; one person a picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from engines.classes import COCO_KEYPOINTS
from engines.compose import compose
from engines.network import read_network
from engines.options import Options

SIZE = (192, 256)
RNG = np.random.default_rng(0)

Run = Callable[..., Any]


@pytest.mark.parametrize("opset", [11, 17])
def test_heatmaps(run: Run, opset: int, tmp_path: Path) -> None:
    """Peaks inside with a higher right and lower neighbour, and two in corners, which are not moved."""
    maps = np.zeros((1, 17, 64, 48), np.float32)
    cells = np.stack([RNG.integers(1, 47, 17), RNG.integers(1, 63, 17)], 1)
    cells[15], cells[16] = (47, 63), 0
    for joint, (x, y) in enumerate(cells):
        maps[0, joint, y, x] = 0.5 + joint / 100
        if joint == 15:
            maps[0, joint, y, x - 1] = maps[0, joint, y - 1, x] = 0.2
        if joint < 15:
            maps[0, joint, y, x + 1] = 0.2
            maps[0, joint, y + 1, x] = 0.1
    spec, found = run({"output": maps}, SIZE, opset=opset)
    assert (spec.layout, spec.task, spec.keypoints) == ("heatmaps", "pose", COCO_KEYPOINTS)
    expected = (cells + np.where(np.arange(17)[:, None] < 15, 0.25, 0)) * 4
    np.testing.assert_allclose(found.keypoints[0, :, :2], expected, atol=1e-3)
    np.testing.assert_allclose(found.keypoints[0, :, 2], 0.5 + np.arange(17) / 100, atol=1e-5)
    np.testing.assert_allclose(found.boxes, [[0, 0, 192, 256]])
    assert found.scores[0] == pytest.approx(0.58)
    composed = compose(read_network(tmp_path / "model.onnx"), spec, Options())["model.onnx"]
    onnx.checker.check_model(composed, full_check=True)


def test_simcc(run: Run) -> None:
    x, y = RNG.integers(0, 384, 17), RNG.integers(0, 512, 17)
    bins_x, bins_y = np.zeros((1, 17, 384), np.float32), np.zeros((1, 17, 512), np.float32)
    bins_x[0, np.arange(17), x], bins_y[0, np.arange(17), y] = 0.9, 0.5
    spec, found = run({"simcc_x": bins_x, "simcc_y": bins_y}, SIZE)
    assert (spec.layout, spec.keypoints) == ("simcc", COCO_KEYPOINTS)
    np.testing.assert_allclose(found.keypoints[0, :, 0], x / 2, atol=1e-3)
    np.testing.assert_allclose(found.keypoints[0, :, 1], y / 2, atol=1e-3)
    np.testing.assert_allclose(found.keypoints[0, :, 2], 0.7, atol=1e-5)

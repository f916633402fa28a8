"""Classifiers: one class for the whole picture, from logits or from probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

CARD = "task: classify\nclasses: [cat, dog, cow]\n"
GIVEN = {
    "logits": ([1.0, 3.0, -2.0], 1, np.exp(3) / np.exp([1, 3, -2]).sum()),
    "positive logits": ([1.0, 3.0, 2.0], 1, np.exp(3) / np.exp([1, 3, 2]).sum()),
    "logits that nearly sum up to one": ([0.4, 0.3, 0.2], 0, np.exp(0.4) / np.exp([0.4, 0.3, 0.2]).sum()),
    "probabilities": ([0.2, 0.1, 0.7], 2, 0.7),
}


@pytest.mark.parametrize(("given", "label", "score"), GIVEN.values(), ids=GIVEN.keys())
def test_the_best_class_and_its_probability(
    given: list[float], label: int, score: float, run: Callable[..., Any]
) -> None:
    spec, found = run({"output": np.array([given], np.float32)}, (32, 16), card=CARD, conf=0.0)
    assert (spec.layout, spec.task, spec.resize) == ("classifier", "classify", "stretch")
    assert found.classes.tolist() == [label]
    assert found.scores[0] == pytest.approx(score, abs=1e-5)
    assert found.boxes.tolist() == [[0, 0, 32, 16]]

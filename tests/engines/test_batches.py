"""Open batches: what composition keeps as it comes serves fewer pictures; what it cannot keep stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import engines
from engines.batches import open_batch
from engines.compose import compose
from engines.locate import locate
from engines.network import read_network
from engines.options import Options
from engines.parity import pictures
from engines.resolve import resolve


def composed(model: str | Path, batch: int) -> onnx.ModelProto:
    located = locate(model)
    network, spec = resolve(read_network(located.model), located)
    return onnx.load_model_from_string(compose(network, spec, Options(batch=batch))["model.onnx"])


def test_fewer_pictures_give_what_they_give_in_a_full_batch() -> None:
    import onnxruntime

    model = composed("tiny-yolo", 4)
    pixels = np.stack(pictures(engines.describe("tiny-yolo").spec.size, 4))
    whole = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"pixels": pixels})
    assert open_batch(model)
    opened = onnxruntime.InferenceSession(model.SerializeToString())
    for count in (1, 3, 4):
        for mine, theirs in zip(opened.run(None, {"pixels": pixels[:count]}), whole, strict=True):
            np.testing.assert_allclose(mine, theirs[:count], atol=1e-4)


def test_a_batch_that_is_written_into_the_graph_stays(saved: Callable[..., Path]) -> None:
    rows = np.zeros((1, 1, 9, 7), np.float32)
    path = saved({"detection_out": rows})
    path.with_suffix(".yaml").write_text("layout: detectionoutput\ntask: detect\nclasses: [face]\n")
    model = composed(path, 2)
    before = model.SerializeToString()
    assert not open_batch(model)
    assert model.SerializeToString() == before


def test_a_batch_that_is_not_told_stays_open() -> None:
    """Of these keypoints inference learns neither the batch nor how many values a joint has."""
    assert open_batch(composed("tiny-pose", 2))


@pytest.mark.parametrize("filled", [1, 2, 3])
def test_onnx_runtime_computes_only_what_is_there(filled: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with engines.load("tiny-yolo", Options(backend="onnxruntime", batch=3, requests=1)) as model:
        (request,) = model.engine.requests
        model.predict(pictures((320, 200), filled))
        assert {len(values) for values in request.wait().values()} == {filled}

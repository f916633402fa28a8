"""Models for video with TensorRT: the state stays on the GPU; RTX builds both graphs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import engines
from engines.compile import prepare
from tests.engines.test_video import fly_at_random
from tests.two_graphs import write_pair


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("capturable", [True, False], ids=["CUDA graphs", "call by call"])
def test_states_of_streams_stay_on_the_gpu(
    trt: Any, install: Callable[[Any], None], tmp_path: Path, batch: int, capturable: bool
) -> None:
    trt.capturable = capturable
    install(trt)
    options = engines.Options(backend=trt.__name__, precision="fp32", batch=batch)
    with engines.load(write_pair(tmp_path), options) as model:
        assert model.video is not None
        assert set(model.engine.requests[0].wait()) == {"boxes", "scores", "classes"}
        assert set(model.video.between.engine.requests[0].inputs) == {"pixels"}
        fly_at_random(model, batch)
        memory = model.video._states["s0"].memory
        assert all(trt.cuda.at(memory[name], size) for name, size in (("level", 4), ("pair", 8)))
    assert trt.cuda.left == 0, "everything is freed"


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_rtx_builds_both_graphs_without_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    prepare(write_pair(tmp_path), engines.Options(backend="tensorrt_rtx", precision=precision, batch=2))
    plans = list((tmp_path / "cache").rglob(f"tensorrt_rtx-{precision}-*.plan"))
    assert len({plan.parent for plan in plans}) == 2

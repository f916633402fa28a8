"""A machine with an NVIDIA GPU that is not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engines.backends.fake_cuda import FakeCuda
from tests.engines.backends.fake_tensorrt import VERSIONS, fake_tensorrt


@pytest.fixture(params=VERSIONS)
def trt(request: pytest.FixtureRequest) -> Any:
    """The module of each version, with a driver of one GPU."""
    return fake_tensorrt(request.param, FakeCuda("Fake H200"))


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Make a fake module and its driver those of this machine; plans are built in this process."""
    from engines import backends
    from engines.backends import cuda, tensorrt
    from engines.backends.tensorrt.binding import Binding
    from engines.backends.tensorrt.builder import build_plan

    installed = {"openvino", "onnxruntime"}

    def put(trt: Any) -> None:
        def build(backend: str, recipe: Any, plan: Path, progress: Any) -> None:
            plan.write_bytes(build_plan(Binding(trt), recipe, progress))

        installed.add(trt.__name__)
        monkeypatch.setattr(backends, "find_spec", lambda name: name in installed or None)
        monkeypatch.setattr(cuda, "find_driver", lambda: trt.cuda)
        monkeypatch.setattr(tensorrt, "find_driver", lambda: trt.cuda)
        monkeypatch.setattr(tensorrt, "load_binding", lambda name: Binding(trt))
        monkeypatch.setattr(tensorrt, "build_in_child", build)

    return put

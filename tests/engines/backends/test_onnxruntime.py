"""ONNX Runtime's execution providers by the words of --device, on a build that claims to have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import engines
from engines.backends import onnxruntime as backend
from engines.backends import select_backends
from engines.errors import InputError
from engines.options import Options
from engines.parity import pictures
from tests.engines.backends.fake_cuda import FakeCuda

REAL = backend.onnxruntime.InferenceSession


@pytest.fixture
def providers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """Providers that sessions were asked for; they compute on the CPU all the same."""
    asked: list[Any] = []

    class Session:
        def __init__(self, model: Any, settings: Any, providers: list[Any]) -> None:
            asked.append(providers[0])
            self._session = REAL(model, settings, providers=["CPUExecutionProvider"])

        def get_providers(self) -> list[str]:
            return [asked[-1][0], "CPUExecutionProvider"]

        def __getattr__(self, name: str) -> Any:
            return getattr(self._session, name)

    able = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(backend.onnxruntime, "get_available_providers", lambda: able)
    monkeypatch.setattr(backend.onnxruntime, "InferenceSession", Session)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return asked


@pytest.mark.parametrize(
    ("device", "asked", "named"),
    [
        ("cpu", ("CPUExecutionProvider", {}), "CPU, "),
        ("cuda", ("CUDAExecutionProvider", {}), "cuda:0"),
        ("CUDA:1", ("CUDAExecutionProvider", {"device_id": 1}), "cuda:1"),
        ("tensorrt", ("TensorrtExecutionProvider", {}), "tensorrt:0"),
        ("auto", ("CPUExecutionProvider", {}), "CPU, "),
    ],
)
def test_a_device_is_a_provider(device: str, asked: Any, named: str, providers: list[Any]) -> None:
    with engines.load("tiny-yolo", Options(backend="onnxruntime", device=device)) as model:
        assert model.engine.device.startswith(named)
    assert providers == [asked]


def test_fp16_is_the_twin_of_the_model(providers: list[Any]) -> None:
    options = Options(backend="onnxruntime", device="cuda", precision="fp16")
    image = pictures((300, 200), 1)
    with engines.load("tiny-yolo", options) as half, engines.load("tiny-yolo") as exact:
        assert half.engine.precision == "fp16"
        assert len(half.predict(image)[0]) == len(exact.predict(image)[0]) > 0


def test_a_provider_that_did_not_start_is_told(providers: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        backend.onnxruntime,
        "InferenceSession",
        lambda model, settings, providers: REAL(model, settings, providers=["CPUExecutionProvider"]),
    )
    with pytest.raises(InputError, match="CUDAExecutionProvider did not start: its libraries are missing"):
        engines.load("tiny-yolo", Options(backend="onnxruntime", device="cuda"))


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("directml", "runs on cpu, cuda, tensorrt here; directml comes with onnxruntime-directml on Windows"),
        ("cuda:x", "device: 'cuda:x', ONNX Runtime runs on cpu, cuda, tensorrt here"),
        ("npu", "device: 'npu', ONNX Runtime runs on cpu, cuda, tensorrt here$"),
    ],
)
def test_a_provider_that_is_not_there_is_told(device: str, said: str, providers: list[Any]) -> None:
    with pytest.raises(InputError, match=said):
        engines.load("tiny-yolo", Options(backend="onnxruntime", device=device))


@pytest.mark.parametrize(("gpus", "first"), [((), "openvino"), (("Fake T4",), "onnxruntime")])
def test_auto_takes_cuda_before_the_processor(
    gpus: tuple[str, ...], first: str, providers: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from engines import backends
    from engines.backends import cuda

    installed = ("openvino", "onnxruntime")
    monkeypatch.setattr(backends, "find_spec", lambda name: object() if name in installed else None)
    monkeypatch.setattr(cuda, "find_driver", lambda: FakeCuda(*gpus))
    assert select_backends("auto")[0][0] == first
    assert select_backends("auto", "cpu")[0][0] == "openvino"

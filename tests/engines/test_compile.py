"""Compilation: what is proved before an engine is used, and what the cache remembers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines import compile
from engines.backends import Build, select_backends
from engines.engine import TensorSpec
from engines.errors import CancelledError, InputError, WorkError
from engines.options import Options

Save = Callable[..., Path]
BOXES = np.array([[[8, 4, 24, 20], [40, 8, 60, 24]]], np.float32)
SCORES = np.array([[[0.9], [0.8]]], np.float32)


class Fake:
    """An engine of constant outputs that runs bf16 where it may choose, and loses ``loss`` of a score."""

    backend, version, device = "fake", "1", "CPU"
    inputs = (TensorSpec("pixels", (1, 32, 64, 3), "uint8"),)

    def __init__(self, build: Build, loss: float) -> None:
        self.precision = "bf16" if build.precision == "auto" else build.precision
        scores = SCORES[..., 0] - (loss if self.precision == "bf16" else 0)
        found = {"boxes": BOXES, "scores": scores, "classes": np.zeros((1, 2), np.int32)}
        self.requests = (FakeRequest(found),)
        self.closed = False

    def close(self) -> None:
        self.closed = True


class FakeRequest:
    def __init__(self, found: dict[str, np.ndarray]) -> None:
        self.inputs = {"pixels": np.zeros((1, 32, 64, 3), np.uint8)}
        self._found = found

    def start(self, filled: int = 0) -> None: ...

    def wait(self) -> dict[str, np.ndarray]:
        return self._found


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], list[Fake]]:
    """Put fake engines in the backend's place; returns the list of those that get opened."""

    def install(loss: float) -> list[Fake]:
        opened: list[Fake] = []

        def open_engine(build: Build) -> Fake:
            opened.append(Fake(build, loss))
            return opened[-1]

        monkeypatch.setattr(compile, "opener", lambda name: open_engine)
        return opened

    return install


@pytest.fixture
def path(saved: Save, tmp_path: Path) -> Path:
    """A model of a content that no other test has, so that nothing is known of it."""
    return saved({"boxes": BOXES, "scores": SCORES}, metadata={"test": str(tmp_path)})


def test_precision_that_keeps_the_detections_is_used(fakes: Any, path: Path) -> None:
    opened = fakes(0.05)
    compiled = compile.compile_model(path, Options())
    assert compiled.engine.precision == "bf16"
    assert [(engine.precision, engine.closed) for engine in opened] == [("bf16", False), ("fp32", True)]
    assert "precision bf16: native here; against fp32, ok: scores differ by up to 0.050" in compiled.notes[1]


def test_precision_that_changes_the_detections_is_refused_with_the_figures(fakes: Any, path: Path) -> None:
    opened = fakes(0.3)
    compiled = compile.compile_model(path, Options())
    assert compiled.engine.precision == "fp32"
    assert [(engine.precision, engine.closed) for engine in opened] == [
        ("bf16", True),
        ("fp32", True),
        ("fp32", False),
    ]
    assert compiled.notes[1].startswith("precision fp32: bf16 is refused: scores differ by up to 0.300")


def test_precision_that_was_asked_for_is_not_questioned(fakes: Any, path: Path) -> None:
    opened = fakes(0.3)
    assert compile.compile_model(path, Options(precision="bf16")).engine.precision == "bf16"
    assert len(opened) == 1


def test_an_engine_whose_proof_is_broken_off_is_closed(
    fakes: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*what: object) -> None:
        raise KeyboardInterrupt

    opened = fakes(0.05)
    monkeypatch.setattr(compile, "pictures", interrupt)
    with pytest.raises(KeyboardInterrupt):
        compile.compile_model(path, Options())
    assert [engine.closed for engine in opened] == [True]


@pytest.mark.parametrize("fails", [False, True])
def test_the_graphs_of_a_model_for_video_are_opened_alike_or_not_at_all(fails: bool) -> None:
    builds: list[Build] = []
    engine = Fake(Build(Path("key"), "cpu", "auto", 1, 0), 0.0)
    engine.memory = None  # type: ignore[attr-defined]  # it keeps a state

    def open_engine(build: Build) -> Any:
        builds.append(build)
        if fails and build.model.name == "between":
            raise WorkError("too much")
        return engine

    key, between = (Build(Path(name), "cpu", "auto", 1, 0) for name in ("key", "between"))
    made = compile._Made("fake", open_engine, key, between)
    with pytest.raises(WorkError) if fails else nullcontext():
        made.open(precision="fp32", requests=1)
    assert [(build.model.name, build.precision, build.requests) for build in builds] == [
        ("key", "fp32", 1),
        ("between", "fp32", 1),
    ]
    assert engine.closed is fails


@pytest.mark.parametrize(("loss", "precisions"), [(0.05, ["bf16"]), (0.3, ["fp32"])])
def test_a_proof_is_remembered(fakes: Any, loss: float, precisions: list[str], path: Path) -> None:
    fakes(loss)
    first = compile.compile_model(path, Options())
    opened = fakes(loss)
    again = compile.compile_model(path, Options())
    assert [engine.precision for engine in opened] == precisions
    assert again.notes == first.notes


def test_a_proof_holds_for_one_version_only(fakes: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fakes(0.05)
    compile.compile_model(path, Options())
    monkeypatch.setattr(Fake, "version", "2")
    opened = fakes(0.3)
    assert compile.compile_model(path, Options()).engine.precision == "fp32"
    assert len(opened) == 3
    monkeypatch.setattr(Fake, "version", "3")
    opened = fakes(0.05)
    assert compile.compile_model(path, Options()).engine.precision == "bf16", "it was refused by another one"
    assert [engine.closed for engine in opened] == [True, False, True]


def test_the_installed_backend_is_chosen_and_a_missing_one_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from engines import backends
    from engines.backends import cuda

    monkeypatch.setattr(cuda, "find_driver", lambda: None)
    assert [name for name, _ in select_backends("auto")] == ["openvino", "onnxruntime"]
    assert select_backends("auto")[0] == ("openvino", "fastest on a CPU")
    assert select_backends("auto", "npu") == [("openvino", "fastest that is usable here")]
    monkeypatch.setattr(backends, "find_spec", lambda name: None if name == "openvino" else object())
    assert [name for name, _ in select_backends("auto")] == ["onnxruntime"]
    with pytest.raises(InputError, match="backend: openvino: not installed, pip install openvino"):
        select_backends("openvino")
    with pytest.raises(InputError, match="backend: tensorrt: installed, but there is no NVIDIA GPU"):
        select_backends("tensorrt")
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"backend: none for device auto: .*tensorrt_rtx is not installed"):
        select_backends("auto")


@pytest.mark.parametrize(
    ("device", "said"),
    [("tpu", "one of auto, cuda, gpu, cpu"), ("cuda:7", "none for device cuda:7: tensorrt is not installed")],
    ids=["nobody knows it", "nobody who knows it is here"],
)
def test_a_device_that_cannot_be_had_is_told(device: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from engines import backends

    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=said):
        select_backends("auto", device)


def test_what_does_not_open_is_passed_over_and_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(build: Build) -> Fake:
        raise WorkError("the plan is not taken")

    openers = {"fast": refuse, "slow": lambda build: Fake(build, 0.0)}
    monkeypatch.setattr(compile, "select_backends", lambda *_: [("fast", "fastest"), ("slow", "next")])
    monkeypatch.setattr(compile, "opener", openers.__getitem__)
    compiled = compile.compile_model(path, Options())
    assert compiled.notes[0] == "backend slow: next"
    assert compiled.notes[-1] == "backend fast is not used: the plan is not taken"
    monkeypatch.setattr(compile, "select_backends", lambda *_: [("fast", "asked for")])
    with pytest.raises(WorkError, match="the plan is not taken"):
        compile.compile_model(path, Options())


@pytest.mark.parametrize("batch", [1, 2])
def test_a_build_that_was_cancelled_is_the_end(
    batch: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the beginning of another backend's, or of one for pictures one by one."""
    tried: list[str] = []

    def opener(name: str) -> Any:
        def open_engine(build: Build) -> Fake:
            tried.append(name)
            raise CancelledError(f"{name}: the build was cancelled")

        return open_engine

    monkeypatch.setattr(compile, "select_backends", lambda *_: [("fast", "fastest"), ("slow", "next")])
    monkeypatch.setattr(compile, "opener", opener)
    with pytest.raises(WorkError, match="fast: the build was cancelled"):
        compile.compile_model(path, Options(batch=batch))
    assert tried == ["fast"]


def test_what_one_backend_was_refused_another_is_not(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be compiled in fp32 for nothing, which takes TensorRT minutes."""
    opened: list[tuple[str, str]] = []

    def opener(name: str) -> Any:
        def open_engine(build: Build) -> Fake:
            engine = Fake(build, 0.3 if name == "poor" else 0.0)
            engine.backend = name
            opened.append((name, engine.precision))
            return engine

        return open_engine

    monkeypatch.setattr(compile, "select_backends", lambda name, device: [(name, "asked for")])
    monkeypatch.setattr(compile, "opener", opener)
    for backend in ("poor", "good"):
        compile.compile_model(path, Options(backend=backend))
    opened.clear()
    for backend in ("poor", "good"):
        compile.compile_model(path, Options(backend=backend))
    assert opened == [("poor", "fp32"), ("good", "bf16")]


def test_a_graph_that_loads_but_does_not_run_is_refused_at_once(saved: Save, tmp_path: Path) -> None:
    """As many weights as the picture says do not fit, and nobody knows before it runs."""
    from onnx import TensorProto, helper, load, numpy_helper

    model = load(saved({"boxes": BOXES, "scores": SCORES}))
    graph = model.graph
    (last,) = (node for node in graph.node if node.output[0] == "scores")
    last.output[0] = "before"
    graph.initializer.append(numpy_helper.from_array(np.array([7]), "seven"))
    graph.initializer.append(numpy_helper.from_array(np.array(SCORES.shape), "whole"))
    graph.node.extend(
        [
            helper.make_node("ReduceMax", ["images"], ["peak"], keepdims=0),
            helper.make_node("Cast", ["peak"], ["peak int"], to=TensorProto.INT64),
            helper.make_node("Add", ["peak int", "seven"], ["rows"]),
            helper.make_node("ConstantOfShape", ["rows"], ["weights"]),
            helper.make_node("MatMul", ["before", "weights"], ["changed"]),
            helper.make_node("Reshape", ["changed", "whole"], ["scores"]),
        ]
    )
    path = tmp_path / "late.onnx"
    path.write_bytes(model.SerializeToString())
    for backend in ("openvino", "onnxruntime", "auto"):
        with pytest.raises(WorkError, match=r"does not run: \S") as refusal:
            compile.compile_model(path, Options(backend=backend))
        assert "\n" not in str(refusal.value)

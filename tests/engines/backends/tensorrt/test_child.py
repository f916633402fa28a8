"""Plans built in a process of its own by the real TensorRT for RTX: progress, cancel, failures, the cache."""

from __future__ import annotations

import resource
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pytest

from engines import cache
from engines.backends import Build
from engines.backends.tensorrt import compile_plan
from engines.backends.tensorrt.binding import load_binding
from engines.backends.tensorrt.builder import Recipe, build_plan
from engines.backends.tensorrt.child import build_in_child
from engines.compile import prepare
from engines.compose import compose
from engines.errors import InputError, WorkError
from engines.files import locked
from engines.half import halve
from engines.locate import locate
from engines.network import read_network
from engines.options import Options
from engines.resolve import resolve
from engines.shipped import names
from tests.conftest import DATA

CARDS = {"person-reid-0287": "task: embed"}  # where the file itself does not tell what it is
FLOAT_MODELS = sorted(DATA.rglob("models/**/*.onnx")) if DATA.is_dir() else []


@pytest.fixture(autouse=True)
def _real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed (pip install tensorrt-rtx)")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def composed(model: str | Path) -> Path:
    """A composed model in the cache."""
    located = locate(model)
    entry = cache.entry(located, Options())
    network, spec = resolve(read_network(located.model), located)
    entry.store(compose(network, spec, Options()), spec)
    return entry.model


@pytest.fixture
def build() -> Build:
    """How to compile the shipped model."""
    return Build(composed("tiny-yolo"), "auto", "fp16", 1, 0)


def left(folder: Path) -> set[str]:
    """What a build left beside the composed model."""
    return {path.name for path in folder.iterdir()} - {"model.onnx", "spec.json", "stored.json", "lock"}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("model", [*names(), *FLOAT_MODELS], ids=lambda model: Path(model).stem)
def test_every_model_builds(model: str | Path, precision: Literal["fp32", "fp16"], tmp_path: Path) -> None:
    """In this process, which is quicker; the way through the child is that of the other tests."""
    if Path(model).stem in CARDS:
        card = tmp_path / "card.yaml"
        card.write_text(f"model: {model}\n{CARDS[Path(model).stem]}\n")
        model = card
    path = composed(model)
    if precision == "fp16":
        path.write_bytes(halve(onnx.load(str(path)), "fp16").SerializeToString())
    assert len(build_plan(load_binding("tensorrt_rtx"), Recipe(path, precision))) > 100_000


def test_progress_grows_to_the_end(build: Build) -> None:
    seen: list[tuple[float, str]] = []
    compile_plan(replace(build, progress=lambda at, phase: seen.append((at, phase))))
    told = [at for at, _ in seen if at >= 0]
    assert told == sorted(told)
    assert (len(set(told)) > 5, told[-1]) == (True, 1.0)
    assert len({phase for _, phase in seen}) > 3


def test_the_second_call_takes_what_the_first_made(build: Build) -> None:
    first, second = compile_plan(build), compile_plan(build)
    assert (first.fresh, second.fresh) == (True, False)
    assert first.plan == second.plan
    assert left(build.model.parent) == {first.path.name, first.path.with_suffix(".json").name}


def test_a_cancelled_build_ends_soon_and_leaves_nothing(build: Build) -> None:
    asked: list[float] = []

    def cancel(fraction: float, phase: str) -> bool:
        if fraction >= 0.1:
            asked.append(time.monotonic())
        return not asked

    with pytest.raises(WorkError, match="tensorrt_rtx: the build was cancelled"):
        compile_plan(replace(build, progress=cancel))
    assert time.monotonic() - asked[0] < 2
    assert left(build.model.parent) == set()


def test_one_plan_for_one_to_four_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    from engines.backends import tensorrt

    asked: list[Recipe] = []
    real = tensorrt.build_in_child

    def build(backend: str, recipe: Recipe, *rest: Any) -> None:
        asked.append(recipe)
        real(backend, recipe, *rest)

    monkeypatch.setattr(tensorrt, "build_in_child", build)
    prepare("tiny-yolo", Options(backend="tensorrt_rtx", precision="fp16", batch=4))
    ((shapes,),) = [recipe.profiles for recipe in asked]
    assert [shapes.least[0], shapes.usual[0], shapes.most[0]] == [1, 4, 4]


def test_a_build_that_takes_too_long_is_ended(build: Build, tmp_path: Path) -> None:
    with pytest.raises(WorkError, match="the build took more than 0 s"):
        build_in_child("tensorrt_rtx", Recipe(build.model, "fp32"), tmp_path / "plan", limit=0)
    assert not (tmp_path / "plan").exists()


def test_a_process_that_dies_is_told(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(WorkError, match=r"the building process died \(1\)"):
        build_in_child("tensorrt_rtx", Recipe(build.model, "fp32"), tmp_path / "plan")


def test_errors_of_the_child_are_those_of_the_parent(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.onnx"):
        build_in_child("tensorrt_rtx", Recipe(tmp_path / "missing.onnx", "fp32"), tmp_path / "plan")


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file of this process and its children may grow beyond 2 MiB: less than a plan."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_nothing_half_written(build: Build, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("full_disk")
    with pytest.raises(WorkError, match="File too large, the plan is not kept"):
        compile_plan(build)
    assert left(build.model.parent) == set()


def test_one_builds_and_one_waits(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second waits at the lock, and finds what the first has made meanwhile."""
    made = compile_plan(build)
    aside = tmp_path / "aside"
    aside.mkdir()
    for path in (made.path, made.path.with_suffix(".json")):
        path.rename(aside / path.name)
    waiting, found = threading.Event(), []

    def second() -> None:
        told = replace(build, progress=lambda at, phase: "waiting" in phase and waiting.set())
        found.append(compile_plan(told))

    thread = threading.Thread(target=second)
    with locked(build.model.parent):
        thread.start()
        assert waiting.wait(30)
        for path in aside.iterdir():
            path.rename(build.model.parent / path.name)
    thread.join()
    assert [compiled.fresh for compiled in found] == [False]


def test_what_a_killed_build_left_is_cleared(build: Build) -> None:
    (build.model.parent / "making-dead").mkdir()
    compiled = compile_plan(build)
    assert left(build.model.parent) == {compiled.path.name, compiled.path.with_suffix(".json").name}


def test_a_stale_plan_is_made_again_with_a_sentence(build: Build) -> None:
    compiled = compile_plan(build)
    beside = compiled.path.with_suffix(".json")
    beside.write_text(beside.read_text().replace('"version": "1', '"version": "0'))
    notes: list[str] = []
    assert compile_plan(replace(build, tell=notes.append)).fresh
    assert len(notes) == 1
    assert notes[0].startswith(f"compiled again: {compiled.path.name} is of another version: 0")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_quantised_model_is_int8_and_nothing_else(precision: Literal["fp32", "fp16"], build: Build) -> None:
    graph = onnx.load(str(build.model))
    for name, zero in (("step", 0.05), ("zero", 0)):
        kind = np.float32 if name == "step" else np.int8
        graph.graph.initializer.append(onnx.numpy_helper.from_array(np.array(zero, kind), name))
    output = next(node for node in graph.graph.node if node.output[0] == "scores")
    pair = [
        onnx.helper.make_node("QuantizeLinear", [output.input[0], "step", "zero"], ["scores8"]),
        onnx.helper.make_node("DequantizeLinear", ["scores8", "step", "zero"], ["scores again"]),
    ]
    place = list(graph.graph.node).index(output)
    for node in reversed(pair):
        graph.graph.node.insert(place, node)
    output.input[0] = "scores again"
    build.model.write_bytes(graph.SerializeToString())
    assert compile_plan(replace(build, precision="auto")).precision == "int8"
    with pytest.raises(InputError, match=f"precision: '{precision}', the model is quantised"):
        compile_plan(replace(build, precision=precision))


def test_a_model_is_prepared_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from engines import Options, cache, prepare
    from engines.backends import cuda

    monkeypatch.setattr(cuda, "find_driver", lambda: None)
    made = prepare("tiny-yolo", Options(backend="tensorrt_rtx", batch=2))
    assert (made.backend, made.precision, made.batch, made.device) == (
        "tensorrt_rtx",
        "fp16",
        2,
        "every RTX GPU",
    )
    assert made.notes == ("not proved: there is no NVIDIA GPU to run it on",)
    (kept,) = cache.contents()
    assert (kept.path, kept.compiled) == (made.folder, ("tensorrt_rtx fp16",))

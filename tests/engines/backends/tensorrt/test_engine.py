"""The whole way through TensorRT, on a machine with a fake GPU: the same detections as ONNX Runtime's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engines
from engines.backends import tensorrt
from engines.errors import InputError, WorkError
from engines.options import Options
from engines.parity import pictures
from tests.engines.backends.fake_tensorrt import asked

Install = Callable[[Any], None]


@pytest.fixture(autouse=True)
def _fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def plans(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").rglob("*.plan"))


@pytest.mark.parametrize(("batch", "requests"), [(1, 1), (2, 2)], ids=["one at a time", "two batches of two"])
def test_detections_are_those_of_onnx_runtime(trt: Any, install: Install, batch: int, requests: int) -> None:
    install(trt)
    images = [*pictures((300, 200), 3), *pictures((64, 400), 2)]
    options = Options(backend=trt.__name__, precision="fp32", batch=batch, requests=requests)
    with engines.load("tiny-yolo", replace(options, backend="onnxruntime")) as exact:
        expected = exact.predict(images)
    with engines.load("tiny-yolo", options) as model:
        found = model.predict(images)
        assert (model.engine.backend, model.engine.device) == (trt.__name__, "Fake H200")
        assert len(model.engine.requests) == requests
    assert sum(map(len, expected)) > 3
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine.boxes, theirs.boxes, atol=1e-2)
        np.testing.assert_allclose(mine.scores, theirs.scores, atol=1e-4)
    assert trt.cuda.launched > 0, "it ran as a graph"
    assert trt.cuda.left == 0, "everything is freed"


def test_without_graphs_the_same_is_done_call_by_call(trt: Any, install: Install) -> None:
    trt.capturable = False
    install(trt)
    with engines.load("tiny-yolo", Options(backend=trt.__name__)) as model:
        assert len(model.predict(pictures((300, 200), 2))) == 2
        assert any("without CUDA graph: " in note for note in model.notes)
    assert trt.cuda.launched == 0
    assert trt.cuda.left == 0


def test_precision_is_proved_against_the_source_and_then_remembered(trt: Any, install: Install) -> None:
    install(trt)
    with engines.load("tiny-yolo", Options(backend=trt.__name__)) as model:
        assert model.engine.precision == "fp16"
        assert "precision fp16: native here; against fp32, ok" in model.notes[1]
    assert len(trt.built) == 1, "ONNX Runtime was the witness"
    with engines.load("tiny-yolo", Options(backend=trt.__name__)):
        assert len(trt.built) == 1, "the plan is in the cache"


def test_auto_takes_the_gpu_where_there_is_one(trt: Any, install: Install) -> None:
    install(trt)
    with engines.load("tiny-yolo") as model:
        assert model.engine.backend == trt.__name__
        assert model.notes[0] == f"backend {trt.__name__}: fastest that is usable here"
    with engines.load("tiny-yolo", Options(device="cpu")) as model:
        assert model.engine.backend == "openvino"


def test_auto_goes_on_to_the_processor_where_the_gpu_takes_no_plan(
    trt: Any, install: Install, tmp_path: Path
) -> None:
    trt.refuse = lambda plan: True
    install(trt)
    with engines.load("tiny-yolo") as model:
        assert model.engine.backend == "openvino"
        assert f"backend {trt.__name__} is not used: {trt.__name__}: the plan is not taken" in model.notes[-1]
    assert not plans(tmp_path)
    assert trt.cuda.left == 0
    with pytest.raises(WorkError, match="the plan is not taken: Serialization assertion failed"):
        engines.load("tiny-yolo", Options(backend=trt.__name__))


def test_a_plan_that_is_not_taken_any_more_is_made_again_with_a_sentence(
    trt: Any, install: Install, tmp_path: Path
) -> None:
    install(trt)
    engines.load("tiny-yolo", Options(backend=trt.__name__)).close()
    seen: list[bytes] = []
    trt.refuse = lambda plan: not seen and not seen.append(plan)  # the first time only
    with engines.load("tiny-yolo", Options(backend=trt.__name__)) as model:
        assert any("compiled again: " in note and "the plan is not taken" in note for note in model.notes)
    assert len(trt.built) == 2
    assert len(plans(tmp_path)) == 1


@pytest.mark.parametrize("trt", ["1.7.1.116"], indirect=True)
def test_rtx_compiles_for_this_gpu_where_the_plan_for_all_is_not_taken(
    trt: Any, install: Install, tmp_path: Path
) -> None:
    trt.refuse = lambda plan: not asked(plan)["here"]
    install(trt)
    engines.load("tiny-yolo", Options(backend="tensorrt_rtx")).close()
    assert [wish["here"] for wish in trt.built] == [False, True]
    assert [asked(plan.read_bytes())["here"] for plan in plans(tmp_path)] == [True]


@pytest.mark.parametrize("trt", ["1.7.1.116"], indirect=True)
def test_rtx_keeps_the_kernels_that_it_compiled_while_it_ran(
    trt: Any, install: Install, tmp_path: Path
) -> None:
    install(trt)
    engines.load("tiny-yolo", Options(backend="tensorrt_rtx")).close()
    (kernels,) = (tmp_path / "cache").rglob("*.kernels")
    assert kernels.read_bytes() == b"compiled"
    kernels.write_bytes(b"of the first run")
    engines.load("tiny-yolo", Options(backend="tensorrt_rtx")).close()
    assert set(kernels.read_bytes().split()) == {b"compiled", b"of", b"the", b"first", b"run"}


def test_what_was_in_flight_when_it_was_closed_can_be_collected(trt: Any, install: Install) -> None:
    """Without a word to the driver, whose context is gone; closed a second time it frees nothing twice."""
    install(trt)
    model = engines.load("tiny-yolo", Options(backend=trt.__name__))
    held = model.acquire()
    held.add(model.spec.size)[...] = pictures(model.spec.size, 1)[0]
    held.submit()
    model.close()
    assert len(held.collect()[0])
    model.close()
    assert trt.cuda.left == 0


def test_a_model_that_is_not_loaded_holds_no_memory(trt: Any, install: Install) -> None:
    install(trt)
    with pytest.raises(InputError, match="classes: 'cat' is not in tiny-yolo"):
        engines.load("tiny-yolo", Options(backend=trt.__name__, classes=("cat",)))
    assert trt.cuda.left == 0


def test_an_engine_that_fails_its_proof_half_way_holds_no_memory(
    trt: Any, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*what: object) -> None:
        raise WorkError("the device is lost")

    install(trt)
    monkeypatch.setattr("engines.compile._slot_by_slot", lost)
    with engines.load("tiny-yolo", Options(backend=trt.__name__, batch=2)) as model:
        assert model.batch == 1
    assert trt.cuda.left == 0


def test_layers_are_told_on_request(trt: Any, install: Install) -> None:
    install(trt)
    with engines.load("tiny-yolo", Options(backend=trt.__name__)) as model:
        assert isinstance(model.engine, tensorrt.TensorRtEngine)
        assert "boxes" in model.engine.layers()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (Options(device="cuda:3"), "device: cuda:3, this machine has cuda:0"),
        (Options(device="npu"), "device: 'npu', TensorRT runs on cuda"),
        (Options(precision="int8"), "precision: 'int8', the model holds no QuantizeLinear"),
    ],
    ids=["number of a GPU", "kind of device", "int8 without scales"],
)
def test_what_cannot_be_had_is_told(trt: Any, install: Install, options: Options, said: str) -> None:
    install(trt)
    with pytest.raises(InputError, match=said):
        engines.load("tiny-yolo", replace(options, backend=trt.__name__))
    assert trt.cuda.left == 0


def test_few_pictures_do_not_pay_for_a_full_batch(trt: Any, install: Install) -> None:
    """One plan takes one to five; three pictures run as four, two of which count."""
    install(trt)
    seen: list[int] = []
    trt.ran = seen.append
    images = pictures((320, 192), 5)
    options = Options(backend=trt.__name__, precision="fp32", batch=5, requests=1, conf=0.3)
    with engines.load("tiny-yolo", replace(options, backend="onnxruntime", batch=1)) as exact:
        expected = exact.predict(images)
    with engines.load("tiny-yolo", options) as model:
        for count, computed in ((5, 5), (1, 1), (2, 2), (3, 4), (4, 4)):
            model.predict(images[:count])  # the first of its size is recorded
            seen.clear()
            found = model.predict(images[:count])
            assert seen == [computed]
            for mine, theirs in zip(found, expected[:count], strict=True):
                np.testing.assert_allclose(mine.boxes, theirs.boxes, atol=1e-2)
                np.testing.assert_allclose(mine.scores, theirs.scores, atol=1e-4)
    assert len(trt.built) == 1
    assert trt.cuda.left == 0

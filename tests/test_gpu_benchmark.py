"""The benchmark for GPUs, rehearsed on fake ones: every case is built, compared and timed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.gpu import timing
from benchmarks.gpu.__main__ import main, run
from engines.backends.tensorrt.binding import Binding
from engines.backends.tensorrt.builder import Recipe, build_plan
from tests.engines.backends.fake_cuda import FakeCuda
from tests.engines.backends.fake_tensorrt import asked, fake_tensorrt
from tests.two_graphs import write_pair


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cases")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(path / "cache"))
        assert main(["tiny-yolo", "--batch", "1,2", "--prepare", str(path)]) == 0
    return path


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reads these figures."""
    monkeypatch.setattr(timing, "WARM_UP", 0.0)
    monkeypatch.setattr(timing, "LEAST", 3)


def rehearse(trt: Any, folder: Path) -> list[dict[str, Any]]:
    def build(backend: str, recipe: Recipe, plan: Path, progress: Any) -> None:
        plan.write_bytes(build_plan(Binding(trt), recipe, progress))

    rows = run(folder, [Binding(trt)], trt.cuda, seconds=0.01, build=build)
    assert trt.cuda.left == 0, "everything is freed"
    return rows


@pytest.mark.parametrize("version", ["8.5.3.1", "10.16.1", "1.7.1.116"])
def test_every_case_is_built_compared_and_timed(version: str, folder: Path) -> None:
    rows = rehearse(fake_tensorrt(version, FakeCuda("Fake H200")), folder)
    seen = [(row["batch"], row["precision"], row["graph"]) for row in rows]
    assert sorted(seen) == sorted(product((1, 2), ("fp32", "fp16"), (True, False)))
    figures = ("build_s", "plan_mb", "gpu_ms", "latency_ms", "p99_ms", "fps", "whole_fps")
    for row in rows:
        assert row["right"], row["note"]
        assert all(row[name] > 0 for name in figures), row


@pytest.mark.parametrize("version", ["8.5.3.1", "11.4.0", "1.7.1.116"])
def test_both_graphs_of_a_model_for_video_run_on_one_gpu(version: str, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        words = [str(write_pair(tmp_path)), "--batch", "1,2", "--prepare", str(tmp_path / "cases")]
        assert main(words) == 0
    rows = rehearse(fake_tensorrt(version, FakeCuda("Fake H200")), tmp_path / "cases")
    names = {row["model"] for row in rows}
    assert names == {"two key", "two between"}
    assert len(rows) == 16
    for row in rows:
        assert row["right"], row["note"]
        assert all(row[name] > 0 for name in ("build_s", "gpu_ms", "latency_ms", "fps", "whole_fps")), row


def test_what_differs_from_onnx_runtime_is_wrong(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "cases"
    shutil.copytree(folder / "tiny-yolo", other / "tiny-yolo")
    stored = np.load(other / "tiny-yolo" / "expected.npz")
    moved = {name: stored[name] for name in stored.files}
    moved["scores"] = moved["scores"] * np.float32(0.5)
    np.savez(other / "tiny-yolo" / "expected.npz", **moved)
    rows = rehearse(fake_tensorrt("11.4.0", FakeCuda("Fake H200")), other)
    assert {row["right"] for row in rows} == {False}


def test_rtx_is_tried_for_this_gpu_alone_where_it_takes_no_common_plan(folder: Path) -> None:
    trt = fake_tensorrt("1.7.1.116", FakeCuda("Fake H200"))
    trt.refuse = lambda plan: not asked(plan)["here"]
    rows = rehearse(trt, folder)
    assert {row["right"] for row in rows if "not taken" in row["note"]} == {False}
    assert sum(row["right"] for row in rows) == 8


def test_the_gpu_host_needs_numpy_and_tensorrt_alone(folder: Path) -> None:
    absent = ["av", "cv2", "onnx", "onnxruntime", "openvino", "pydantic", "rich", "torch", "typer", "yaml"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent}))\n"
        "from pathlib import Path; from benchmarks.gpu import __main__, timing\n"
        f"print(len(__main__.cases(Path({str(folder)!r}))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("4\n", "")


def test_without_a_gpu_nothing_is_measured(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, [], None, 1.0) == []
    assert "no NVIDIA GPU" in capsys.readouterr().err

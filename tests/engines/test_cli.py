"""The command `engines`, and that what it does is a call of Python."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import engines
from engines.cli import app
from engines.console import run
from tests.two_graphs import write_pair

OUTPUTS = {"boxes": np.zeros((1, 9, 4), np.float32), "scores": np.zeros((1, 9, 80), np.float32)}


def status(*words: str) -> int:
    with pytest.raises(SystemExit) as ending:
        run(app, list(words))
    return int(ending.value.code or 0)


def test_inspect_prints_what_was_understood_and_why(
    saved: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    path = saved(OUTPUTS)
    path.with_suffix(".yaml").write_text("colour: bgr\n")
    assert status("inspect", str(path)) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    assert ["colour", "bgr", "card model.yaml"] in rows
    assert ["scale", "1/255", "default"] in rows
    assert ["task", "detect", "shapes of the outputs (dense)"] in rows
    assert any("scores  1 x 9 x 80  float32" in line for line in lines)


def test_brackets_in_paths_and_names_are_printed_as_they_are(
    saved: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    plain = saved({"boxes": OUTPUTS["boxes"], "scores": OUTPUTS["scores"][..., :2]})
    path = plain.with_name("d[") / "x]" / "[bold]y[red]x.onnx"
    path.parent.mkdir(parents=True)
    plain.rename(path)
    path.with_suffix(".yaml").write_text("classes: ['[/a]', b]\nname: '[/n]'\n")
    assert status("inspect", str(path)) == 0
    assert status("compile", str(path), "--backend", "onnxruntime") == 0
    assert status("bench", str(path), "--backend", "onnxruntime", "--seconds", "0.01") == 0
    assert status("cache", "list") == 0
    printed = capsys.readouterr().out
    assert f"{path}  0.0 MB, opset 17" in printed
    assert "2: [/a], b" in printed
    assert printed.count("[/n]") >= 4


@pytest.mark.parametrize(
    "module", ["engines", "engines.cli", "streamer", "streamer.cli", "trainers", "trainers.cli"]
)
def test_each_room_runs_as_a_module(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=True
    )
    assert "Usage" in done.stdout


def test_inspect_names_both_graphs_of_a_model_for_video(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert status("inspect", str(write_pair(tmp_path))) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    assert ["between", "two.between.onnx", "file two.between.onnx"] in rows
    assert ["state", "level, pair", "file two.between.onnx"] in rows


def test_bench_measures_latency_and_throughput(
    saved: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    words = ["--seconds", "0.05", "--batch", "2,1", "--backend", "onnxruntime", "--json", str(figures)]
    assert status("bench", str(saved(OUTPUTS)), *words) == 0
    seen, other = json.loads(figures.read_text())
    assert (seen["latency"]["requests"], seen["latency"]["batch"], other["latency"]["batch"]) == (1, 2, 1)
    assert seen["throughput"]["requests"] > 1
    for part in seen.values():
        assert (part["backend"], part["precision"]) == ("onnxruntime", "fp32")
        assert part["fps"] == pytest.approx(part["pictures"] / part["seconds"])
        assert 0 < part["median_ms"] <= part["p95_ms"] <= part["p99_ms"]
        assert part["pictures"] >= 20, "ten requests at least"
    assert "throughput" in capsys.readouterr().out


def test_what_is_compiled_is_listed_and_cleared(
    saved: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert status("compile", str(saved(OUTPUTS, "street.onnx")), "--backend", "openvino", "--batch", "2") == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("street: openvino ")
    assert ", batch 2, in " in told[0]
    assert "  backend openvino: asked for" in told
    assert status("cache", "list") == 0
    rows = capsys.readouterr().out.splitlines()
    assert any("street" in row and "openvino" in row for row in rows)
    assert rows[-1].startswith(f"1 in {tmp_path / 'cache'}")
    assert status("cache", "clear") == 0
    assert status("cache", "list") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("0 in ")


MISTAKES = {
    "missing file": (["inspect", "nowhere.onnx"], "nowhere.onnx: no such file"),
    "precision": (["bench", "tiny-yolo", "--precision", "fp31"], "precision: 'fp31'"),
    "backend": (["compile", "tiny-yolo", "--backend", "tensorflow"], "one of auto, tensorrt, tensorrt_rtx"),
    "nothing to save": (
        ["compile", "tiny-yolo", "--save", "twin.onnx"],
        "--save: it is for the int8 model of --calibrate",
    ),
    "no time": (["bench", "tiny-yolo", "--seconds", "0"], "seconds: 0, more than 0 is right"),
    "no number of seconds": (
        ["bench", "tiny-yolo", "--seconds", "nan"],
        "seconds: nan, more than 0 is right",
    ),
    "seconds without an end": (["bench", "tiny-yolo", "--seconds", "inf"], "seconds: inf, more than 0 is"),
    "a number that is no decimal one": (["bench", "tiny-yolo", "--batch", "²"], "--batch: '²', a number, or"),
    "no pictures": (
        ["compare", "tiny-yolo", "tiny-yolo", "--on", ".", "--pictures", "0"],
        "pictures: 0, 1 or more is right",
    ),
    "less than none": (
        ["compare", "tiny-yolo", "tiny-yolo", "--on", ".", "--pictures", "-3"],
        "pictures: -3, 1 or more is right",
    ),
    "figures that cannot be written": (
        ["bench", "tiny-yolo", "--json", "nowhere/x.json"],
        "--json: nowhere/x.json: no folder nowhere",
    ),
    "an evaluation that cannot be written": (
        ["evaluate", "tiny-yolo", "--coco", "no", "--images", "no", "--save", "nowhere/x.json"],
        "--save: nowhere/x.json: no folder nowhere, a file that can be written is right",
    ),
    "layers that cannot be written": (
        ["compile", "tiny-yolo", "--inspect", "nowhere/x.json"],
        "layers: nowhere/x.json: no folder nowhere",
    ),
}


@pytest.mark.parametrize(("words", "said"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_end_with_one_sentence_and_2(
    words: list[str],
    said: str,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert status(*words) == 2
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_the_face_of_the_package_is_real() -> None:
    for name in engines.__all__:
        assert getattr(engines, name) is getattr(import_module(f"engines.{engines._HOMES[name]}"), name)
    assert sorted(engines.__all__, key=str.lower) == sorted(engines._HOMES, key=str.lower)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        engines.nothing  # noqa: B018


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, engines, engines.cli; print([n for n in %r if n in sys.modules])"
    heavy = ["numpy", "cv2", "onnx", "onnxruntime", "openvino", "pydantic", "yaml"]
    seen = subprocess.run([sys.executable, "-c", code % heavy], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "[]"


def test_compile_writes_what_became_of_each_layer(
    saved: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, told = saved(OUTPUTS), tmp_path / "layers.json"
    assert status("compile", str(path), "--backend", "openvino", "--inspect", str(told)) == 0
    layers = json.loads(told.read_text())["Layers"]
    assert {"Input", "Output"} <= {layer["layerType"] for layer in layers}
    assert all(layer["name"] and layer["runtimePrecision"] for layer in layers)
    assert status("compile", str(path), "--backend", "onnxruntime", "--inspect", str(told)) == 2
    assert "layers: onnxruntime does not tell of them" in capsys.readouterr().err

"""Bench: its figures fit together, whichever threads the backend uses."""

import json

import pytest

from streamer.bench import measure
from streamer.figures import compare_with, read_fps, save_figures
from streamer.settings import gather


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_all_but_the_engine_is_what_the_stages_threads_use(backend, tmp_path):
    settings = gather(["synthetic:?size=320x180"], "tiny-yolo", ["null:"], backend=backend, loop=True)
    figures = measure(settings, 1.0)
    stages = sum(stage.cpu_ms for stage in figures.stages.values())
    assert figures.engine["backend"] == backend
    assert {"decode", "submit", "collect"} <= figures.stages.keys()
    assert 0.9 * stages < figures.overhead_cpu_ms < 1.2 * stages + 0.5
    assert figures.cpu_ms - figures.overhead_cpu_ms > 0.5 * figures.engine_alone_cpu_ms
    assert figures.drops == 0

    save_figures(figures, tmp_path / "a.json")
    kept = json.loads((tmp_path / "a.json").read_text())
    assert kept["ratio"] == pytest.approx(kept["fps"] / kept["engine_alone_fps"])
    assert compare_with(figures, tmp_path / "a.json", read_fps(tmp_path / "a.json"), 1.0)
    assert not compare_with(figures, tmp_path / "a.json", kept["fps"], 1.01)

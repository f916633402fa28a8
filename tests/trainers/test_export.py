"""The exported file: what torch says, in one file that describes itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import engines
from engines.errors import WorkError
from trainers import checkpoints
from trainers import export as exporter
from trainers.config import Config
from trainers.evaluate import predictor
from trainers.export import export

SIZE = (96, 64)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with random weights and random statistics of its norms, as a checkpoint."""
    torch.manual_seed(4)
    settings = {"widths": (8, 8, 16, 16, 24), "depths": (1, 1, 1, 1), "neck": 16}
    config = Config.model_validate(
        {"name": "little", "size": SIZE, "model": settings, "description": "a test", "licence": "MIT"}
    )
    net = checkpoints.build(config, 3)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.6, 1.4)
    for head in net.heads:  # scores all over 0..1
        torch.nn.init.normal_(head.score[1].weight, std=0.8)
        torch.nn.init.zeros_(head.score[1].bias)
    return saved(config, ("person", "car", "ball"), net.state_dict(), tmp_path_factory.mktemp("export"))


def saved(config: Config, classes: tuple[str, ...], state: dict[str, torch.Tensor], folder: Path) -> Path:
    path = folder / "last.pt"
    checkpoint = checkpoints.Checkpoint(
        config=config.model_dump(mode="json"),
        classes=classes,
        step=0,
        best=-1.0,
        model=state,
        average=state,
        optimizer={},
        rng=torch.get_rng_state(),
    )
    checkpoints.save(checkpoint, path)
    return path


@pytest.mark.parametrize(("half", "pixels", "score"), [(False, 1e-2, 1e-4), (True, 1.0, 2e-2)])
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_file_says_what_torch_says_for_any_batch(
    checkpoint: Path, tmp_path: Path, half: bool, pixels: float, score: float, batch: int
) -> None:
    path = export(checkpoint, tmp_path / "a.onnx", half=half)
    net, _ = checkpoints.network(checkpoints.load(checkpoint))
    images = torch.rand(batch, 3, SIZE[1], SIZE[0], generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        output = net(images)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    boxes, scores = session.run(["boxes", "scores"], {"images": images.numpy()})
    assert np.abs(boxes - output.boxes.numpy()).max() < pixels
    assert np.abs(scores - output.logits.sigmoid().numpy()).max() < score
    assert scores.max() > 0.2  # there is something to compare


def test_the_file_describes_itself(checkpoint: Path, tmp_path: Path) -> None:
    model = onnx.load(str(export(checkpoint, tmp_path / "a.onnx")))
    said = {entry.key: entry.value for entry in model.metadata_props}
    spec = json.loads(said["streamer"])
    assert spec["name"] == "little"
    assert spec["layout"] == "dense"
    assert spec["size"] == list(SIZE)
    assert spec["classes"] == ["person", "car", "ball"]
    assert said["license"] == "MIT"
    assert [(i.name) for i in model.graph.input] == ["images"]
    assert [o.name for o in model.graph.output] == ["boxes", "scores"]
    assert model.opset_import[0].version == 17


def test_a_top_down_file_finds_its_person_however_faint(tmp_path: Path) -> None:
    settings = {"arch": "pose_topdown", "widths": (8, 8, 16, 16, 24), "depths": (1, 1, 1, 1), "neck": 16}
    config = Config.model_validate({"name": "joints", "size": SIZE, "model": settings})
    state = checkpoints.build(config, 1).state_dict()
    state["final_layer.weight"].zero_()
    state["final_layer.bias"].fill_(0.1)
    path = export(saved(config, ("person",), state, tmp_path), tmp_path / "a.onnx")
    with engines.load(path, engines.Options(backend="onnxruntime")) as model:
        assert (model.spec.layout, model.spec.conf, model.spec.iou) == ("heatmaps", 0.0, 1.0)
        (found,) = model.predict([np.zeros((90, 160, 3), np.uint8)])
    assert found.scores == pytest.approx([0.1], abs=1e-3)


def test_half_weights_halve_the_file(checkpoint: Path, tmp_path: Path) -> None:
    whole = export(checkpoint, tmp_path / "a.onnx", half=False).stat().st_size
    half = export(checkpoint, tmp_path / "b.onnx").stat().st_size
    assert half < 0.75 * whole


def test_the_engine_finds_what_torch_finds(checkpoint: Path, tmp_path: Path) -> None:
    path = export(checkpoint, tmp_path / "a.onnx", half=False)
    net, config = checkpoints.network(checkpoints.load(checkpoint))
    picture = np.random.default_rng(1).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    options = engines.Options(
        backend="onnxruntime", precision="fp32", conf=0.3, iou=0.5, max_det=100, labels="all"
    )
    model = engines.load(path, options)
    (found,) = model.predict([picture])
    model.close()
    (expected,) = predictor(net, config.size, conf=0.3, iou=0.5)([picture])
    assert len(expected) > 3
    assert len(found) == len(expected)
    assert np.array_equal(found.classes, expected.classes)
    assert np.abs(found.scores - expected.scores).max() < 1e-3
    assert np.abs(found.boxes - expected.boxes).max() < 0.1


def test_a_file_that_differs_from_torch_is_not_written(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "_PIXELS", -1.0)
    with pytest.raises(WorkError, match="differs from torch by"):
        export(checkpoint, tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_a_place_that_takes_no_file_is_one_sentence(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkError, match=r"file/a.onnx: cannot be written"):
        export(checkpoint, tmp_path / "file" / "a.onnx")

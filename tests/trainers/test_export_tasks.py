"""Files of networks with masks, keypoints and state say what torch says, on every backend."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import engines
from engines.masks import bitmap
from engines.spec import ModelSpec
from trainers import models
from trainers.config import Network
from trainers.evaluate import predictor
from trainers.export import write
from trainers.export_video import write_video

SIZE = (96, 64)
CLASSES = ("person", "car", "ball")
LITTLE = {"widths": (8, 8, 16, 16, 24), "depths": (1, 1, 1, 1), "neck": 16, "prototypes": 4}


def random(arch: str) -> torch.nn.Module:
    """A network whose random weights score here and there."""
    torch.manual_seed(5)
    net = models.build(3, Network(arch=arch, **LITTLE))
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.6, 1.4)
    heads = [head.score[1] for head in net.heads] if arch == "pose" else [net.prediction_layers[0].conf_layer]
    for head in heads:
        torch.nn.init.normal_(head.weight, std=4.0)
        torch.nn.init.zeros_(head.bias)
    return net.eval()


def spec(net: torch.nn.Module) -> ModelSpec:
    joints = tuple(f"joint{number}" for number in range(17)) if net.task == "pose" else ()
    return ModelSpec("little", net.task, "dense", CLASSES, SIZE, keypoints=joints)


def paired(found: engines.Detections, expected: engines.Detections) -> engines.Detections:
    """Return the found rows that are the expected ones: near-equal scores may change places."""
    a, b = (np.column_stack([d.boxes, 100 * d.scores, 1000 * d.classes]) for d in (found, expected))
    far = np.abs(b[:, None] - a[None]).max(axis=2)
    assert far.min(axis=1).max() < 0.1  # pixels, hundredths
    return found[far.argmin(axis=1)]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize(("arch", "conf"), [("yolact", 0.97), ("yolactedge_video", 0.93), ("pose", 0.78)])
def test_the_engine_finds_what_torch_finds(
    arch: str, conf: float, batch: int, backend: str, tmp_path: Path
) -> None:
    net = random(arch)
    path = write(net, spec(net), tmp_path / "a.onnx", half=False, words={})
    pictures = [
        np.random.default_rng(seed).integers(0, 256, (64, 96, 3), dtype=np.uint8) for seed in range(batch)
    ]
    options = engines.Options(
        backend=backend, precision="fp32", batch=batch, conf=conf, iou=0.95, max_det=100, labels="all"
    )
    with engines.load(path, options) as model:
        got = model.predict(pictures)
    for some, whole in zip(got, predictor(net, SIZE, conf=conf, iou=0.95)(pictures), strict=True):
        expected = whole[whole.scores > conf + 0.01]  # nearer to the threshold rounding decides
        assert 3 < len(expected) <= len(some) < 100
        found = paired(some, expected)
        if arch == "pose":
            inside = np.clip(expected.keypoints[..., :2], 0, SIZE)
            assert np.abs(found.keypoints[..., :2] - inside).max() < 0.1
            assert np.abs(found.keypoints[..., 2] - expected.keypoints[..., 2]).max() < 1e-3
        else:
            assert len(found.masks) == len(expected.masks)
            for row, box in enumerate(found.boxes):
                ours, torchs = (bitmap(d.masks, row, box, SIZE)[2] for d in (found, expected))
                assert np.mean(ours != torchs) < 0.01


def test_key_and_between_files_together_are_the_video_model(tmp_path: Path) -> None:
    net = random("yolactedge_video")
    key, between = write_video(net, spec(net), tmp_path / "a.onnx")
    first, second = torch.rand(2, 1, 3, SIZE[1], SIZE[0], generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        image = net.decode(net(first))
        _, state = net.key(first)
        expected = net.decode(net.between(second, state))
    provider = ["CPUExecutionProvider"]
    a, b = (onnxruntime.InferenceSession(path, providers=provider) for path in (key, between))
    assert [part.name for part in b.get_inputs()] == ["images", "p4", "p5", "lateral"]
    got = dict(
        zip([part.name for part in a.get_outputs()], a.run(None, {"images": first.numpy()}), strict=True)
    )
    for name, part in image.items():  # with a key frame every frame it is the image model
        assert np.abs(got[name] - part.numpy()).max() <= 1e-4 * max(part.abs().max(), 1)
    kept = {name: got[name] for name in ("p4", "p5", "lateral")}
    later = b.run(list(expected), {"images": second.numpy(), **kept})
    for mine, part in zip(later, expected.values(), strict=True):
        assert np.abs(mine - part.numpy()).max() <= 1e-4 * max(part.abs().max(), 1)
    assert "GridSample" in {node.op_type for node in onnx.load(str(between)).graph.node}
    assert "GridSample" not in {node.op_type for node in onnx.load(str(key)).graph.node}

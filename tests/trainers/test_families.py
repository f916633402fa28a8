"""Every family of boxes learns eight pictures by heart; its file says on both runtimes what torch says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from torch import nn

from engines.spec import ModelSpec
from trainers.config import Loss, Network
from trainers.data.batch import Sample, collate
from trainers.evaluate import measure, predictor
from trainers.export import write
from trainers.models import build, prepare
from trainers.models.yolox import Size, YoloX

CLASSES = ("red", "green", "blue")
SMALL: dict[str, Any] = {"widths": (8, 8, 16, 16, 16), "depths": (1, 1, 1, 1), "neck": 16}
FAMILIES = {  # steps, rate, weight of the boxes
    "yolox": (140, 8e-3, 5.0),
    "ssd_small": (80, 6e-3, 1.0),
    "retinanet_small": (80, 6e-3, 1.0),
}


def family(name: str) -> Any:
    torch.manual_seed(0)
    if name == "yolox":  # the official sizes are too large to learn in seconds
        return YoloX(3, Size(0.33, 0.125))
    return build(3, Network(arch=name, **SMALL))


def coloured(seed: int) -> Sample:
    """A noisy picture with a red, a green and a blue rectangle, one class each."""
    rng = np.random.default_rng(seed)
    image = rng.integers(60, 120, (64, 96, 3), dtype=np.uint8)
    boxes = []
    for kind in range(3):
        w, h = int(rng.integers(14, 28)), int(rng.integers(14, 40))
        x, y = 2 + kind * 32 + int(rng.integers(0, 30 - w)), int(rng.integers(0, 64 - h))
        image[y : y + h, x : x + w] = np.eye(3, dtype=np.uint8)[kind] * 200 + 40
        boxes.append([x, y, x + w, y + h])
    return Sample(image, np.array(boxes, np.float32), np.arange(3))


@pytest.mark.parametrize("name", FAMILIES)
def test_eight_pictures_are_learnt_by_heart(name: str) -> None:
    steps, rate, weight = FAMILIES[name]
    net, samples = family(name), [coloured(seed) for seed in range(8)]
    batch = collate(samples)
    images = prepare(batch.images, net.input)
    optimizer = torch.optim.AdamW(net.parameters())
    net.train()
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * min(1, (step + 1) / 10, (steps - step) / (steps / 2))
        terms = net.loss(net(images), batch, Loss(boxes=weight))
        optimizer.zero_grad()
        sum(terms.values()).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimizer.step()
    assert measure(predictor(net, (96, 64)), samples, CLASSES).ap50 > 0.9


@pytest.mark.parametrize("name", FAMILIES)
def test_the_file_says_what_torch_says_on_both_runtimes(name: str, tmp_path: Path) -> None:
    net = family(name)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.6, 1.4)
    spec = ModelSpec(name=name, task="detect", layout="dense", classes=CLASSES, size=(96, 64))
    path = write(net.eval(), spec, tmp_path / "a.onnx", half=False, words={})
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for count in (1, 4):
        images = prepare(torch.rand(count, 3, 64, 96, generator=torch.Generator().manual_seed(2)), net.input)
        with torch.no_grad():
            expected = net.decode(net(images))
        ort = dict(
            zip(
                ("boxes", "scores"), session.run(["boxes", "scores"], {"images": images.numpy()}), strict=True
            )
        )
        answer = compiled(images.numpy())
        for part in ("boxes", "scores"):
            wanted = expected[part].numpy()
            assert wanted.shape[0] == count
            assert np.ptp(wanted) > 0
            for got in (ort[part], answer[part]):
                assert np.abs(got - wanted).max() <= 1e-4 * max(np.abs(wanted).max(), 1)

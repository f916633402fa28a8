"""Every family learns eight pictures by heart; its file says on both runtimes what torch says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from torch import nn

from engines.detections import Masks
from engines.spec import ModelSpec
from trainers.config import Loss, Network
from trainers.data.batch import Sample, collate
from trainers.evaluate import measure, predictor
from trainers.export import OUTPUTS, write
from trainers.models import build, prepare
from trainers.models.yolox import Size, YoloX

CLASSES = ("red", "green", "blue")
SMALL: dict[str, Any] = {"widths": (8, 8, 16, 16, 16), "depths": (1, 1, 1, 1), "neck": 16, "prototypes": 8}
FAMILIES = {  # steps, rate, weight of the boxes
    "yolo": (110, 6e-3, 5.0),
    "yolox": (100, 8e-3, 5.0),
    "ssd_small": (80, 6e-3, 1.0),
    "retinanet_small": (80, 6e-3, 1.0),
    "yolact": (160, 6e-3, 1.0),
    "yolactedge": (160, 6e-3, 1.0),
    "pose": (200, 8e-3, 5.0),
}
JOINTS = np.stack(np.meshgrid(np.linspace(0.1, 0.9, 5), np.linspace(0.1, 0.9, 4)), 2).reshape(-1, 2)[:17]


def family(name: str) -> Any:
    torch.manual_seed(0)
    if name == "yolox":  # the official sizes are too large to learn in seconds
        return YoloX(3, Size(0.33, 0.125))
    return build(3, Network(arch=name, **SMALL))


def coloured(seed: int) -> Sample:
    """A noisy picture with a red rectangle that has keypoints, a green disc and a blue triangle."""
    rng = np.random.default_rng(seed)
    image = rng.integers(60, 120, (64, 96, 3), dtype=np.uint8)
    boxes, grids = [], []
    keypoints = np.zeros((3, 17, 3), np.float32)
    for kind in range(3):
        w, h = int(rng.integers(16, 28)), int(rng.integers(18, 40))
        x, y = 2 + kind * 32 + int(rng.integers(0, 30 - w)), int(rng.integers(0, 64 - h))
        down, across = np.mgrid[:h, :w]
        across, down = (across + 0.5) / w, (down + 0.5) / h
        shape = (
            np.ones((h, w), bool),
            np.hypot(across - 0.5, down - 0.5) < 0.5,
            np.abs(across - 0.5) < down / 2,
        )[kind]
        image[y : y + h, x : x + w][shape] = np.eye(3, dtype=np.uint8)[kind] * 200 + 40
        boxes.append([x, y, x + w, y + h])
        grids.append(np.where(shape, np.float32(1), np.float32(-1)))
        if kind == 0:
            keypoints[0] = np.column_stack([JOINTS * (w, h) + (x, y), np.full(17, 2)])
    sides = np.array(boxes, np.float32)
    return Sample(image, sides, np.arange(3), Masks(tuple(grids), sides.copy()), keypoints)


@pytest.mark.parametrize("name", FAMILIES)
def test_eight_pictures_are_learnt_by_heart(name: str) -> None:
    steps, rate, weight = FAMILIES[name]
    net, samples = family(name), [coloured(seed) for seed in range(8)]
    if net.task != "segment":
        samples = [replace(sample, masks=Masks()) for sample in samples]
    if net.task != "pose":
        samples = [replace(sample, keypoints=np.zeros((0, 0, 3), np.float32)) for sample in samples]
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
    report = measure(predictor(net, (96, 64)), samples, CLASSES)
    assert report.ap50 > 0.9
    assert list(report.parts) == {"segment": ["masks"], "pose": ["keypoints"]}.get(net.task, [])
    assert all(ap50 > 0.9 for _, ap50 in report.parts.values())


@pytest.mark.parametrize("name", FAMILIES)
def test_the_file_says_what_torch_says_on_both_runtimes(name: str, tmp_path: Path) -> None:
    net = family(name)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.6, 1.4)
    joints = tuple(f"joint{number}" for number in range(17)) if net.task == "pose" else ()
    spec = ModelSpec(
        name=name, task=net.task, layout="dense", classes=CLASSES, size=(96, 64), keypoints=joints
    )
    path = write(net.eval(), spec, tmp_path / "a.onnx", half=False, words={})
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for count in (1, 4):
        images = prepare(torch.rand(count, 3, 64, 96, generator=torch.Generator().manual_seed(2)), net.input)
        with torch.no_grad():
            expected = net.decode(net(images))
        names = list(OUTPUTS[net.task])
        ort = dict(zip(names, session.run(names, {"images": images.numpy()}), strict=True))
        answer = compiled(images.numpy())
        for part in names:
            wanted = expected[part].numpy()
            assert wanted.shape[0] == count
            assert np.ptp(wanted) > 0
            for got in (ort[part], answer[part]):
                assert np.abs(got - wanted).max() <= 1e-4 * max(np.abs(wanted).max(), 1)

"""Every family learns eight pictures by heart; its file says on both runtimes what torch says."""

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
from tests.trainers.shapes import CLASSES, coloured, of_task
from trainers.config import Loss, Network
from trainers.data.batch import collate
from trainers.evaluate import measure, predictor
from trainers.export import OUTPUTS, write
from trainers.models import build, prepare
from trainers.models.yolox import Size, YoloX

SMALL: dict[str, Any] = {"widths": (8, 8, 16, 16, 16), "depths": (1, 1, 1, 1), "neck": 16, "prototypes": 8}
FAMILIES = {  # pictures, steps, rate, weight of the boxes
    "yolo": (4, 80, 6e-3, 5.0),
    "yolox": (8, 100, 8e-3, 5.0),
    "ssd_small": (4, 70, 6e-3, 1.0),
    "retinanet_small": (4, 70, 6e-3, 1.0),
    "yolact": (4, 120, 6e-3, 1.0),
    "yolactedge": (4, 120, 6e-3, 1.0),
    "pose": (4, 140, 8e-3, 5.0),
}


def family(name: str) -> Any:
    torch.manual_seed(0)
    if name == "yolox":  # the official sizes are too large to learn in seconds
        return YoloX(3, Size(0.33, 0.125))
    return build(3, Network(arch=name, **SMALL))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_few_pictures_are_learnt_by_heart(name: str) -> None:
    pictures, steps, rate, weight = FAMILIES[name]
    net = family(name)
    samples = [of_task(coloured(seed), net.task) for seed in range(pictures)]
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


@pytest.mark.parametrize("size", [(320, 192), (300, 300), (100, 132)])
def test_the_small_ssds_boxes_are_spread_over_the_whole_input(size: tuple[int, int]) -> None:
    grids = [(-(-size[1] // stride), -(-size[0] // stride)) for stride in (8, 16, 32, 64)]
    boxes = build(1, Network(arch="ssd_small")).lay(grids, size)
    start = 0
    for rows, columns in grids:
        level = boxes[start : start + rows * columns * 8]
        low, high = (level[:8, :2] + level[:8, 2:]) / 2, (level[-8:, :2] + level[-8:, 2:]) / 2
        assert torch.allclose(low + high, torch.tensor(size).float())
        start += len(level)

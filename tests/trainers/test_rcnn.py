"""Two-stage models: torchvision's answers and names with fixed shapes, learnt by heart, alike in files."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import heatmaps_to_keypoints
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign, batched_nms

import engines
from engines.spec import ModelSpec
from tests.trainers.shapes import CLASSES, coloured, of_task
from trainers.config import Loss, Network
from trainers.data.batch import collate
from trainers.evaluate import measure, predictor
from trainers.export import OUTPUTS, write
from trainers.models import Input, build
from trainers.models.pose_topdown import gaussians
from trainers.models.rcnn import Rcnn, _points, greedy
from trainers.models.small import Small

SIZE = (96, 64)
WIDTH = 16
TASKS = ("detect", "segment", "pose")


class Backbone(nn.Module):
    """Three levels of our small backbone."""

    out_channels = WIDTH

    def __init__(self) -> None:
        super().__init__()
        self.body = Small(Network(widths=(8, 8, 16, 16, 16), depths=(1, 1, 1, 1)))
        self.fpn = FeaturePyramidNetwork([16, 16, 16], WIDTH)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return self.fpn(OrderedDict((str(n), part) for n, part in enumerate(self.body(images))))


def little(task: str) -> Rcnn:
    """A small model of that task."""
    torch.manual_seed(0)
    names = ["0", "1", "2"]
    how: dict[str, Any] = {
        "rpn_anchor_generator": AnchorGenerator(((12.0,), (24.0,), (48.0,)), ((0.5, 1.0, 2.0),) * 3),
        "box_roi_pool": MultiScaleRoIAlign(names, 7, 2),
        "box_head": detection.faster_rcnn.TwoMLPHead(WIDTH * 49, 64),
        "box_predictor": detection.faster_rcnn.FastRCNNPredictor(64, 4),
        "rpn_pre_nms_top_n_train": 100,
        "rpn_post_nms_top_n_train": 60,
        "box_batch_size_per_image": 48,
    }
    make: Any = detection.FasterRCNN
    if task == "segment":
        make = detection.MaskRCNN
        how["mask_roi_pool"] = MultiScaleRoIAlign(names, 14, 2)
        how["mask_head"] = detection.mask_rcnn.MaskRCNNHeads(WIDTH, (WIDTH, WIDTH), 1)
        how["mask_predictor"] = detection.mask_rcnn.MaskRCNNPredictor(WIDTH, WIDTH, 4)
    if task == "pose":
        make = detection.KeypointRCNN
        how["keypoint_roi_pool"] = MultiScaleRoIAlign(names, 14, 2)
        how["keypoint_head"] = detection.keypoint_rcnn.KeypointRCNNHeads(WIDTH, (WIDTH, WIDTH))
        how["keypoint_predictor"] = detection.keypoint_rcnn.KeypointRCNNPredictor(WIDTH, 17)
    return Rcnn(make(Backbone(), **how), task, (8, 16, 32), [(12.0,), (24.0,), (48.0,)], Input())


def lively(net: Rcnn) -> Rcnn:
    """Random norms, and scores far apart."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.6, 1.4)
    nn.init.normal_(net.rpn.head.cls_logits.weight, std=1.0)
    nn.init.normal_(net.rpn.head.bbox_pred.weight, std=0.1)
    nn.init.normal_(net.roi_heads.box_predictor.cls_score.weight, std=1.0)
    return net.eval()


@pytest.mark.parametrize("kinds", [False, True])
def test_greedy_suppression_is_torchvisions(kinds: bool) -> None:
    generator = torch.Generator().manual_seed(4)
    start = torch.rand(2, 300, 2, generator=generator) * 60
    boxes = torch.cat([start, start + 5 + torch.rand(2, 300, 2, generator=generator) * 30], 2)
    scores = torch.rand(2, 300, generator=generator).sort(1, descending=True).values
    groups = torch.randint(0, 3 if kinds else 1, (2, 300), generator=generator)
    kept = greedy(boxes, 0.5, groups if kinds else None)
    for row in range(2):
        expected = batched_nms(boxes[row], scores[row], groups[row], 0.5)
        assert 20 < len(expected) < 280
        assert kept[row].nonzero()[:, 0].tolist() == sorted(expected.tolist())


@pytest.mark.parametrize("task", TASKS)
def test_what_is_found_is_what_torchvision_finds(task: str) -> None:
    net = lively(little(task))
    images = torch.rand(2, 3, SIZE[1], SIZE[0], generator=torch.Generator().manual_seed(1))
    shapes = [(SIZE[1], SIZE[0])] * 2
    with torch.no_grad():
        output = net(images)
        found = net.decode(output)
        proposals, _ = net.rpn(ImageList(images, shapes), output.features)
        theirs, _ = net.roi_heads(output.features, proposals, shapes)
    for row, expected in enumerate(theirs):
        count = len(expected["boxes"])
        assert count > 5
        scores, kinds = found["scores"][row].max(1)
        assert scores[:count].numpy() == pytest.approx(expected["scores"].numpy(), abs=1e-4)
        assert (kinds[:count] + 1).tolist() == expected["labels"].tolist()
        assert (found["boxes"][row, :count] - expected["boxes"]).abs().max() < 1e-2
        if task == "segment":
            assert found["prototypes"].shape == (2, found["boxes"].shape[1], 16, 24)
            assert torch.equal(found["coefficients"][row], torch.eye(found["boxes"].shape[1]))


def test_keypoints_are_where_torchvision_finds_them() -> None:
    generator = torch.Generator().manual_seed(3)
    start = torch.rand(6, 2, generator=generator) * 50
    boxes = torch.cat([start, start + 60 + torch.rand(6, 2, generator=generator) * 90], 1)
    points = torch.cat([torch.rand(6, 17, 2, generator=generator) * 46 + 5, torch.ones(6, 17, 1)], 2)
    maps = 9 * gaussians(points - 0.5, (56, 56), 1.0, 2.0)
    expected, _ = heatmaps_to_keypoints(maps, boxes)
    found = _points(maps, boxes[None])[0]
    cells = (boxes[:, None, 2:] - boxes[:, None, :2]) / 56
    assert ((found[..., :2] - expected[..., :2]).abs() / cells).max() < 0.7
    assert torch.equal(found[..., 2], maps.flatten(2).amax(2).sigmoid())


@pytest.mark.parametrize("task", TASKS)
def test_four_pictures_are_learnt_by_heart(task: str) -> None:
    net, samples, steps = little(task), [of_task(coloured(seed), task) for seed in range(4)], 140
    batch = collate(samples)
    optimizer = torch.optim.AdamW(net.parameters())
    net.train()
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 4e-3 * min(1, (step + 1) / 10, (steps - step) / (steps / 2))
        terms = net.loss(net(batch.images), batch, Loss(boxes=1.0))
        optimizer.zero_grad()
        sum(terms.values()).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 2.0)  # larger steps unlearn
        optimizer.step()
    report = measure(predictor(net, SIZE), samples, CLASSES)
    assert report.ap50 > 0.9
    assert all(ap50 > 0.9 for _, ap50 in report.parts.values())
    assert bool(report.parts) == (task != "detect")


@pytest.mark.parametrize("task", TASKS)
def test_the_file_says_what_torch_says_on_both_runtimes(task: str, tmp_path: Path) -> None:
    net = lively(little(task))
    joints = tuple(f"joint{number}" for number in range(17)) if task == "pose" else ()
    spec = ModelSpec("little", net.task, "dense", CLASSES, SIZE, keypoints=joints)
    path = write(net, spec, tmp_path / "a.onnx", words={})
    operators = {node.op_type for node in onnx.load(str(path)).graph.node}
    assert not operators & {"NonMaxSuppression", "NonZero", "Loop", "If"}  # no shape depends on the data
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    names = list(OUTPUTS[net.task])
    for count in (1, 4):
        images = torch.rand(count, 3, SIZE[1], SIZE[0], generator=torch.Generator().manual_seed(2))
        with torch.no_grad():
            expected = net.decode(net(images))
        ort = dict(zip(names, session.run(names, {"images": images.numpy()}), strict=True))
        answer = compiled(images.numpy())
        for part in names:
            wanted = expected[part].numpy()
            assert wanted.shape[0] == count
            for got in (ort[part], answer[part]):
                # equal scores may change places among the last rows
                assert np.abs(got - wanted)[:, :5].max() <= 2e-4 * max(np.abs(wanted).max(), 1)
    with engines.load(path, engines.Options(backend="onnxruntime", precision="fp32", conf=0.2)) as model:
        picture = np.random.default_rng(2).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
        (found,) = model.predict([picture])
    assert len(found) > 1
    assert len(found.masks) == (len(found) if task == "segment" else 0)


@pytest.mark.parametrize(
    ("name", "make", "parameters"),
    [
        ("fasterrcnn_resnet50_fpn", detection.FasterRCNN_ResNet50_FPN_Weights, 41_755_286),
        ("maskrcnn_resnet50_fpn", detection.MaskRCNN_ResNet50_FPN_Weights, 44_401_393),
        ("keypointrcnn_resnet50_fpn", detection.KeypointRCNN_ResNet50_FPN_Weights, 59_137_258),
    ],
)
def test_names_shapes_and_numbers_are_torchvisions(name: str, make: Any, parameters: int) -> None:
    meta = make.COCO_V1.meta
    assert meta["num_params"] == parameters
    with torch.device("meta"):
        net = build(len(meta["categories"]) - 1, Network(arch=name))
        theirs = getattr(detection, name)(weights=None, weights_backbone=None).state_dict()
    state = net.state_dict()
    plain = {key: value for key, value in theirs.items() if not key.endswith("num_batches_tracked")}
    assert {key: value.shape for key, value in state.items()} == {k: v.shape for k, v in plain.items()}
    assert sum(p.numel() for p in net.parameters()) == parameters

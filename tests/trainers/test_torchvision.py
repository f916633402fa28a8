"""SSD, SSDlite and RetinaNet say what torchvision's say, with one set of random weights, losses included."""

from __future__ import annotations

import functools
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection._utils import BoxCoder, Matcher, SSDMatcher, overwrite_eps
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import (
    FrozenBatchNorm2d,
    box_iou,
    generalized_box_iou,
    sigmoid_focal_loss,
)
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from trainers import anchors
from trainers.config import Loss, Network
from trainers.data.batch import Sample, collate
from trainers.matching import giou, iou, match
from trainers.models import build, prepare
from trainers.models.retinanet import focal

SEED = 5


def _retinanet(**_: object) -> Any:
    """Version 1 as its checkpoint has it: frozen norms without epsilon."""
    backbone = resnet_fpn_backbone(
        backbone_name="resnet50",
        weights=None,
        norm_layer=FrozenBatchNorm2d,
        trainable_layers=5,
        returned_layers=[2, 3, 4],
        extra_blocks=LastLevelP6P7(256, 256),
    )
    net = detection.RetinaNet(backbone, 91)
    overwrite_eps(net, 0.0)
    return net


THEIRS: dict[str, tuple[Any, int, tuple[int, int], int]] = {  # maker, parameters, size, anchors
    "ssd300_vgg16": (detection.ssd300_vgg16, 35_641_826, (300, 300), 8732),
    "ssdlite320_mobilenet_v3_large": (detection.ssdlite320_mobilenet_v3_large, 3_440_060, (320, 320), 3234),
    "retinanet_resnet50_fpn": (_retinanet, 34_014_999, (160, 128), 3852),
    "retinanet_resnet50_fpn_v2": (detection.retinanet_resnet50_fpn_v2, 38_198_935, (160, 128), 3852),
}


@functools.cache
def pair(name: str) -> tuple[Any, Any]:
    """Theirs and ours with the same random weights."""
    torch.manual_seed(SEED)
    # VGG's classifier, which no detector keeps, takes 20 s to draw
    with mock.patch.object(nn.init, "normal_"), mock.patch.object(nn.Linear, "reset_parameters"):
        theirs = THEIRS[name][0](weights=None, weights_backbone=None)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    ours = build(90, Network(arch=name))
    ours.load_state_dict(theirs.state_dict())  # strict: every name and shape
    return theirs, ours


def pictures(name: str) -> tuple[Tensor, list[dict[str, Tensor]]]:
    """Two noisy pictures; their objects, of which the second picture has fewer."""
    width, height = THEIRS[name][2]
    generator = torch.Generator().manual_seed(SEED)
    targets = []
    for count in (4, 1):
        corner = torch.rand(count, 2, generator=generator) * torch.tensor([width, height]) * 0.6
        extent = torch.rand(count, 2, generator=generator) * 60 + 8
        labels = torch.randint(1, 91, (count,), generator=generator)
        targets.append({"boxes": torch.cat([corner, corner + extent], 1), "labels": labels})
    return torch.rand(2, 3, height, width, generator=generator), targets


@pytest.mark.parametrize("name", THEIRS)
def test_raw_outputs_anchors_and_losses_are_torchvisions(name: str) -> None:
    theirs, ours = pair(name)
    assert sum(parameter.numel() for parameter in ours.parameters()) == THEIRS[name][1]
    images, targets = pictures(name)
    prepared = prepare(images, ours.input)
    mean, std = (
        torch.tensor(v).view(1, 3, 1, 1) for v in (theirs.transform.image_mean, theirs.transform.image_std)
    )
    assert torch.allclose(prepared, (images - mean) / std, atol=1e-4)
    samples = [
        Sample(picture.permute(1, 2, 0).mul(255).byte().numpy(), t["boxes"].numpy(), t["labels"].numpy() - 1)
        for picture, t in zip(images, targets, strict=True)
    ]
    batch = collate(samples)
    moods = any(isinstance(module, nn.BatchNorm2d) for module in ours.modules())
    for training in (False, True) if moods else (True,):
        theirs.train(training), ours.train(training)
        with torch.no_grad():
            features = list(theirs.backbone(prepared).values())
            raw = theirs.head(features)
            mine = ours(prepared)
            listed = detection.image_list.ImageList(prepared, [tuple(prepared.shape[2:])] * 2)
            boxes = theirs.anchor_generator(listed, features)[0]
            expected = _losses(theirs, raw, targets, boxes)
            terms = ours.loss(mine, batch, Loss(classes=1.0, boxes=1.0))
        assert mine.anchors.shape == (THEIRS[name][3], 4)
        assert (mine.anchors - boxes).abs().max() < 1e-3
        assert (mine.offsets - raw["bbox_regression"]).abs().max() < 1e-4
        assert (mine.logits - raw["cls_logits"]).abs().max() < 1e-4
        assert terms["classes"].item() == pytest.approx(expected["classification"], rel=1e-4)
        assert terms["boxes"].item() == pytest.approx(expected["bbox_regression"], rel=1e-4)


def _losses(
    theirs: Any, raw: dict[str, Tensor], targets: list[dict[str, Tensor]], boxes: Tensor
) -> dict[str, float]:
    """Their losses, without the part that resizes pictures."""
    matched = [theirs.proposal_matcher(box_iou(target["boxes"], boxes)) for target in targets]
    judge = theirs.head if isinstance(theirs, detection.RetinaNet) else theirs
    losses = judge.compute_loss(targets, raw, [boxes] * len(targets), matched)
    return {key: value.item() for key, value in losses.items()}


@pytest.mark.parametrize("name", ["ssdlite320_mobilenet_v3_large", "retinanet_resnet50_fpn_v2"])
def test_a_picture_without_objects_has_a_loss_without_boxes(name: str) -> None:
    ours = pair(name)[1]
    images, _ = pictures(name)
    sample = Sample(
        (images[0] * 255).byte().permute(1, 2, 0).numpy(),
        torch.zeros(0, 4).numpy(),
        torch.zeros(0).long().numpy(),
    )
    terms = ours.loss(ours.eval()(prepare(images[:1], ours.input)), collate([sample]), Loss())
    assert terms["boxes"].item() == 0
    assert terms["classes"].isfinite()


def boxes(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 100
    return torch.cat([corner, corner + torch.rand(count, 2, generator=generator) * 50 + 1], 1)


@pytest.mark.parametrize("seed", range(5))
def test_iou_and_giou_are_torchvisions(seed: int) -> None:
    a, b = boxes(30, seed), boxes(40, seed + 100)
    assert torch.allclose(iou(a[:, None], b[None]), box_iou(a, b), atol=1e-5)
    assert torch.allclose(giou(a[:, None], b[None]), generalized_box_iou(a, b), atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_matching_is_torchvisions(seed: int) -> None:
    overlap = box_iou(boxes(12, seed), boxes(200, seed + 100))
    overlap[3] = overlap[7]  # ties
    assert torch.equal(match(overlap, 0.5, 0.4, "ties"), Matcher(0.5, 0.4, True)(overlap))
    assert torch.equal(match(overlap, 0.5, 0.5, "best"), SSDMatcher(0.5)(overlap))


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)])
def test_offsets_are_torchvisions_and_decode_to_the_box(weights: anchors.Weights) -> None:
    truth, places = boxes(50, 1), boxes(50, 2)
    theirs = BoxCoder(weights)
    offsets = anchors.encode(truth, places, weights)
    assert torch.allclose(offsets, theirs.encode_single(truth, places), atol=1e-5)
    assert torch.allclose(anchors.decode(offsets, places, weights), truth, atol=1e-3)
    wild = torch.randn(50, 4) * 20
    assert torch.allclose(
        anchors.decode(wild, places, weights), theirs.decode_single(wild, places), rtol=1e-4
    )


def test_focal_loss_is_torchvisions() -> None:
    logits, target = torch.randn(200, 4) * 4, (torch.rand(200, 4) < 0.2).float()
    assert torch.allclose(focal(logits, target), sigmoid_focal_loss(logits, target), atol=1e-6)

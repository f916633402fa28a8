"""Top-down pose: the published network, heatmaps and their peaks, crops that lead back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from engines.cascade import parts
from engines.errors import InputError
from engines.spec import ModelSpec
from trainers.augment import fit
from trainers.checkpoints import fill
from trainers.config import Augment, Config, Data, Loss, Network
from trainers.data.batch import Sample, collate
from trainers.data.crops import people
from trainers.data.dataset import check
from trainers.data.scenes import SEEDS, render_scenes
from trainers.evaluate import measure, predictor
from trainers.models import prepare
from trainers.models.pose_topdown import (
    Heatmaps,
    SimpleBaseline,
    Small,
    build,
    gaussians,
    heatmap_loss,
    peaks,
)


def test_the_network_is_simple_baselines() -> None:
    with torch.device("meta"):
        net = SimpleBaseline()
        maps = net(torch.zeros(1, 3, 256, 192))
    assert maps.shape == (1, 17, 64, 48)
    assert sum(p.numel() for p in net.parameters()) == 33_999_697  # "34.0 M" in the paper
    heads = {name for name in net.state_dict() if "deconv" in name and name.endswith("weight")}
    assert heads == {f"deconv_layers.{number}.weight" for number in (0, 1, 3, 4, 6, 7)}
    assert {"conv1.weight", "layer4.2.bn3.running_var", "final_layer.bias"} <= net.state_dict().keys()


@pytest.mark.parametrize("stride", [2.0, 4.0])
def test_peaks_of_gaussians_are_the_keypoints(stride: float) -> None:
    rng = torch.Generator().manual_seed(1)
    points = torch.rand(20, 17, 3, generator=rng) * torch.tensor([36.0, 52, 0]) + torch.tensor([4.0, 4, 2])
    maps = gaussians(points, (int(48 / stride), int(64 / stride)), stride, 1.0)
    found = peaks(maps, stride)
    assert (found[..., :2] - points[..., :2]).abs().max() <= 0.25 * stride + 1e-4
    assert (found[..., 2] > 0.7).all()


@pytest.mark.parametrize("cell", [(0, 0), (5, 0), (11, 7), (0, 15), (11, 15)])
def test_a_peak_at_the_edge_of_a_map_stays_on_its_cell(cell: tuple[int, int]) -> None:
    maps = gaussians(torch.tensor([[[*cell, 2.0]]]), (12, 16), 1.0, 1.0)
    assert peaks(maps, 1.0)[0, 0].tolist() == [*cell, 1.0]


def test_a_gaussian_is_one_at_its_keypoint_and_falls_by_its_sigma() -> None:
    maps = gaussians(torch.tensor([[[8.0, 12.0, 2]]]), (12, 16), 2.0, 2.0)
    assert maps[0, 0, 6, 4] == 1
    assert maps[0, 0, 6, 6].item() == pytest.approx(np.exp(-0.5))
    assert maps[0, 0, 8, 6].item() == pytest.approx(np.exp(-1.0))


def test_keypoints_that_are_not_labelled_teach_nothing() -> None:
    points = torch.tensor([[[9.0, 13.0, 2], [0, 0, 0]]])
    maps = gaussians(points, (12, 16), 2.0, 1.0)
    maps[:, 1] = 5.0
    assert heatmap_loss(maps, points, 2.0, 1.0) == 0
    assert heatmap_loss(maps + 1, points, 2.0, 1.0).item() == pytest.approx(0.25)


def test_each_person_becomes_a_picture_with_its_own_keypoints() -> None:
    image = np.zeros((120, 160, 3), np.uint8)
    image[58:62, 68:72] = 255
    boxes = np.array([[60, 40, 80, 80], [10, 10, 30, 20], [90, 20, 110, 60]], np.float32)
    points = np.zeros((3, 17, 3), np.float32)
    points[0, :5] = 70, 60, 2  # the second is too small, of the third nothing is known
    points[1, :5] = 20, 15, 2
    (one,) = people([Sample(image, boxes, np.zeros(3, np.int64), keypoints=points)], (48, 64))
    assert one.image.shape == (64, 48, 3)
    rows, columns = np.nonzero(one.image[..., 0] > 200)
    assert [columns.mean() + 0.5, rows.mean() + 0.5] == pytest.approx(
        one.keypoints[0, 0, :2].tolist(), abs=0.5
    )
    assert (one.keypoints[0, 5:] == 0).all()
    assert one.boxes.shape == (1, 4)


def test_eight_people_are_learnt_by_heart() -> None:
    size = (64, 96)
    samples = people(render_scenes(24, SEEDS["train"], 640, task="pose"), size, 8)
    torch.manual_seed(0)
    net = build(1, Network(arch="pose_topdown"))
    batch = collate(samples)
    assert len(batch.images) == 8
    images = prepare(batch.images, net.input)
    optimizer = torch.optim.AdamW(net.parameters())
    net.train()
    steps = 180
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 3e-3 * min(1, (step + 1) / 10, (steps - step) / (steps / 2))
        terms = net.loss(net(images), batch, Loss())
        optimizer.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()
    assert measure(predictor(net, size), samples, ("person",)).parts["keypoints"][1] > 0.9


def test_the_small_networks_maps_know_the_whole_person() -> None:
    net = Small(Network(arch="pose_topdown")).eval()
    crop = torch.rand(1, 3, 128, 96, requires_grad=True)
    net(crop)[0, 15, 28, 6].backward()  # a left ankle at the lower edge
    assert crop.grad is not None
    assert (crop.grad[0].abs().sum(0) > 0).all()


def test_a_checkpoint_of_an_earlier_network_is_refused_in_one_sentence() -> None:
    config = Config(name="joints", model=Network(arch="pose_topdown"))
    weights = Small(config.model).state_dict()
    fill(Small(config.model), weights, config)
    weights["stem.0.conv.weight"] = weights.pop("final_layer.bias")
    with pytest.raises(
        InputError, match=r"not those of pose_topdown in this version: final_layer\.bias, stem"
    ):
        fill(Small(config.model), weights, config)
    weights["final_layer.bias"] = torch.zeros(3)
    del weights["stem.0.conv.weight"]
    with pytest.raises(InputError, match="in this version; start"):
        fill(Small(config.model), weights, config)


def test_a_batch_in_which_nobody_is_left_teaches_nothing() -> None:
    nobody = Sample(np.zeros((64, 64, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    batch = collate([replace(nobody, keypoints=np.zeros((0, 17, 3), np.float32))])
    maps = torch.ones(1, 17, 16, 16, requires_grad=True)
    (term,) = Small(Network(arch="pose_topdown")).loss(maps, batch, Loss()).values()
    term.backward()
    assert term == 0


@pytest.mark.parametrize("family", [SimpleBaseline, Small])
def test_a_person_at_the_edge_is_laid_into_the_input_as_a_cascade_does(family: type[Heatmaps]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    box, points = np.array([[0, 10, 30, 110]], np.float32), np.full((1, 17, 3), 20, np.float32)
    person = Sample(image, box, np.zeros(1, np.int64), keypoints=points, areas=np.array([900], np.float32))
    (crop,) = people([person], (48, 64))
    spec = ModelSpec("a", "pose", "heatmaps", ("person",), (48, 64))
    left, top, right, bottom = parts(box, (160, 120), spec)[0]
    cut = Sample(np.ascontiguousarray(image[top:bottom, left:right]), box[:0], np.zeros(0, np.int64))
    assert np.array_equal(crop.image, fit(cut, (48, 64), family.input.resize).image)
    grown = (crop.boxes[0, 2:] - crop.boxes[0, :2]) / (box[0, 2:] - box[0, :2])
    assert crop.areas == pytest.approx(900 * grown.prod(), rel=1e-4)


@pytest.mark.parametrize("name", ["mosaic", "mixup"])
def test_several_people_in_one_picture_are_refused(name: str) -> None:
    config = Config(name="a", model=Network(arch="pose_topdown"), data=Data(people=True))
    check(config, Small(config.model))
    mixed = config.model_copy(update={"augment": Augment(**{name: 0.5})})
    with pytest.raises(InputError, match=rf"augment\.{name}: 0\.5, 0 is right for pose_topdown: it sees one"):
        check(mixed, Small(config.model))

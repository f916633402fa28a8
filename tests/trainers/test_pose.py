"""YOLO-pose: the OKS loss against COCO's own measure, and what it gives out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pycocotools.cocoeval import Params

from trainers import models
from trainers.augment import fit
from trainers.config import Loss, Network
from trainers.data.batch import collate
from trainers.data.scenes import render_scenes
from trainers.models.pose import SIGMAS, follow, oks

LITTLE = Network(arch="pose", widths=(8, 8, 16, 16, 24), depths=(1, 1, 1, 1), neck=16)


def test_sigmas_are_cocos() -> None:
    assert pytest.approx(Params("keypoints").kpt_oks_sigmas) == SIGMAS


def test_oks_is_cocos() -> None:
    """The formula of pycocotools' computeOks, written out with numpy."""
    rng = np.random.default_rng(3)
    truth, found = rng.uniform(0, 90, (5, 17, 2)), rng.uniform(-9, 9, (5, 17, 2))
    area = rng.uniform(300, 3000, 5)
    variance = (2 * np.array(SIGMAS)) ** 2
    expected = np.exp(-(found**2).sum(2) / variance / area[:, None] / 2)
    got = oks(torch.tensor(truth + found), torch.tensor(truth), torch.tensor(area))
    assert np.allclose(got.numpy(), expected, atol=1e-5)


def test_only_people_and_labelled_points_teach_keypoints() -> None:
    torch.manual_seed(1)
    net = models.build(3, LITTLE)
    samples = [fit(s, (96, 64)) for s in render_scenes(4, 50, 96, fixed=(96, 64), task="pose")]
    batch = collate(samples)
    output = net(batch.images)
    terms = net.loss(output, batch, Loss())
    assert terms["keypoints"] > 0
    moved = batch.keypoints.clone()
    moved[..., :2] += 7.0 * (moved[..., 2:] == 0)  # coordinates of what is not labelled mean nothing
    again = net.loss(output, batch._replace(keypoints=moved), Loss())
    assert {k: v.item() for k, v in again.items()} == {k: v.item() for k, v in terms.items()}
    none = net.loss(output, batch._replace(keypoints=torch.zeros_like(moved)), Loss())
    assert none["keypoints"] == none["seen"] == 0
    assert none["boxes"] == terms["boxes"]


def test_what_has_no_joints_learns_that_none_are_there() -> None:
    torch.manual_seed(1)
    net = models.build(3, LITTLE)
    samples = [fit(s, (96, 64)) for s in render_scenes(8, 50, 96, fixed=(96, 64), task="pose")]
    batch = collate(samples)
    output = net(batch.images)
    output.seen.retain_grad()
    net.loss(output, batch, Loss())["seen"].backward(retain_graph=True)
    found = net.assigned(output.found, batch, Loss())[1]
    picture, cell = (found.positive & (found.quality > 1e-6)).nonzero(as_tuple=True)
    points = batch.keypoints[picture, found.owner[picture, cell]]
    bare = ~(points[..., 2] > 0).any(1)
    assert bare.any()
    assert (output.seen.grad[picture, cell][bare] > 0).all()  # their logits go down


def test_decoding_gives_what_the_dense_layout_reads() -> None:
    net = models.build(3, LITTLE).eval()
    with torch.no_grad():
        found = net.decode(net(torch.rand(2, 3, 64, 96)))
    cells = 8 * 12 + 4 * 6 + 2 * 3
    assert {name: tuple(part.shape) for name, part in found.items()} == {
        "boxes": (2, cells, 4),
        "scores": (2, cells, 3),
        "keypoints": (2, cells, 17, 3),
    }
    assert (found["keypoints"][..., 2] > 0).all()
    assert (found["keypoints"][..., 2] < 1).all()


def test_fields_lead_to_their_own_keypoints() -> None:
    joints = len(SIGMAS)
    goals = torch.rand(2, joints, 2) * torch.tensor([90.0, 60.0])
    ys, xs = torch.meshgrid(torch.arange(16) * 4 + 2.0, torch.arange(24) * 4 + 2.0, indexing="ij")
    ways = goals[..., None, None] - torch.stack([xs, ys])  # (B, J, 2, h, w): from the middle of each cell
    starts = 4 + torch.rand(2, 5, joints, 2) * torch.tensor([86.0, 54.0])
    found = follow(ways.flatten(1, 2), starts)
    assert torch.allclose(found, goals[:, None].expand_as(found), atol=1e-3)

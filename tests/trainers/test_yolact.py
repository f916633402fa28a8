"""YOLACT and YolactEdge: the official names and numbers, priors, matching, and losses by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from trainers import models
from trainers.config import Network
from trainers.data.batch import Batch
from trainers.models.yolact import SQUARE, Anchors, Output, priors
from trainers.models.yolact_loss import decode, encode, match, yolact_loss
from trainers.models.yolactedge import State, YolactEdgeVideo, official, warp

NAMES = Path(__file__).parents[3] / "shared" / "notes" / "state_dicts"
OFFICIAL = [  # arch, classes, parameters, tensors, list of names
    ("yolact_resnet50", 80, 31_164_943, 354, "yolact_r50"),
    ("yolact_resnet101", 80, 50_157_071, 660, "yolact_r101"),
    ("yolactedge_resnet50", 80, 31_164_943, 354, "yolactedge_r50"),
    ("yolactedge_resnet101", 80, 50_157_071, 660, "yolactedge_r101"),
    ("yolactedge_mobilenetv2", 80, 9_028_815, 348, "yolactedge_mobilenetv2"),
    ("yolactedge_video_resnet50", 40, 35_389_247, 391, "yolactedge_video_r50"),
    ("yolactedge_video_resnet101", 40, 54_381_375, 697, "yolactedge_video_r101"),
]
LITTLE = {"widths": (8, 8, 16, 16, 24), "depths": (1, 1, 1, 1), "neck": 16, "prototypes": 4}


def little(arch: str = "yolactedge_video") -> YolactEdgeVideo:
    """A small network with random weights, no flow of which is nothing."""
    torch.manual_seed(2)
    net = models.build(3, Network(arch=arch, **LITTLE))
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return net.eval()


@pytest.mark.parametrize(("arch", "classes", "parameters", "tensors", "names"), OFFICIAL)
def test_networks_have_the_official_names_shapes_and_sizes(
    arch: str, classes: int, parameters: int, tensors: int, names: str
) -> None:
    with torch.device("meta"):
        net = models.build(classes, Network(arch=arch))
    state = net.state_dict()
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert len(state) == tensors
    listed = NAMES / f"{names}.txt"
    if listed.exists():
        ours = {f"{name} {list(value.shape)}" for name, value in state.items()}
        assert ours == set(listed.read_text().splitlines())


def test_an_image_models_weights_fit_the_video_model() -> None:
    with torch.device("meta"):
        image = models.build(40, Network(arch="yolact_resnet50")).state_dict()
        video = models.build(40, Network(arch="yolactedge_video_resnet50")).state_dict()
    file = {**image, "backbone.layer1.0.conv1.weight": image["backbone.layers.0.0.conv1.weight"]}
    named = official(file)
    assert named.keys() <= video.keys()
    assert all(named[name].shape == video[name].shape for name in named)
    left = {name.split(".")[0] for name in video.keys() - named.keys()}
    assert left == {"spa", "flow_net", "flow_net_pre_convs"}
    assert official(video).keys() == video.keys()


def test_priors_are_the_papers_at_550() -> None:
    shapes = ((69, 69), (35, 35), (18, 18), (9, 9), (5, 5))
    places = priors(shapes, (550, 550), SQUARE)
    assert places.shape == (19_248, 4)
    assert torch.equal(places[:, 2], places[:, 3])
    assert places[0].tolist() == pytest.approx([0.5 / 69, 0.5 / 69, 24 / 550, 24 / 550])
    assert places[4, 2:].tolist() == pytest.approx([24 * 0.5**0.5 / 550] * 2)
    assert places[-1].tolist() == pytest.approx([0.9, 0.9] + [384 * 2**0.5 / 550] * 2)


def test_priors_that_are_not_square_keep_their_area_in_pixels() -> None:
    places = priors(((2, 3),), (96, 64), Anchors((32.0,), square=False)) * torch.tensor([96, 64, 96, 64])
    assert torch.allclose(places[:, 2] * places[:, 3], torch.tensor(1024.0))
    assert (places[:3, 2] / places[:3, 3]).tolist() == pytest.approx([1, 0.5, 2])
    assert places[::3, :2].tolist() == [[x, y] for y in (16, 48) for x in (16, 48, 80)]


def test_offsets_decode_to_the_boxes_they_were_made_of() -> None:
    rng = torch.Generator().manual_seed(0)
    low = torch.rand(50, 2, generator=rng) * 0.6
    boxes = torch.cat([low, low + 0.05 + 0.3 * torch.rand(50, 2, generator=rng)], 1)
    places = torch.rand(50, 4, generator=rng) * 0.5 + 0.1
    assert torch.allclose(decode(encode(boxes, places), places), boxes, atol=1e-6)
    still = decode(torch.zeros(50, 4), places)
    assert torch.allclose(still[:, 2:] - still[:, :2], places[:, 2:], atol=1e-6)


@pytest.mark.parametrize(
    ("truth", "label", "owner"),
    [
        pytest.param([[0.1, 0.1, 0.3, 0.3]], [2, 0, 0], [0, 0, 0], id="exact"),
        pytest.param([[0.1, 0.1, 0.22, 0.3]], [2, 0, 0], [0, 0, 0], id="iou-of-.6-learns"),
        pytest.param([[0.1, 0.1, 0.3, 0.3], [0.1, 0.1, 0.19, 0.3]], [2, 2, 0], [0, 1, 0], id="least-of-.45"),
        pytest.param([[0.45, 0.45, 0.47, 0.47]], [0, 2, 0], [0, 0, 0], id="forced-though-small"),
    ],
)
def test_objects_take_priors_by_overlap(truth: list[list[float]], label: list[int], owner: list[int]) -> None:
    places = torch.tensor([[0.2, 0.2, 0.2, 0.2], [0.45, 0.45, 0.5, 0.5], [0.9, 0.9, 0.2, 0.2]])
    found = match(torch.tensor(truth), torch.ones(len(truth), dtype=torch.long), places)
    assert found.label.tolist() == label
    assert found.owner[found.label > 0].tolist() == [o for o, k in zip(owner, label, strict=True) if k > 0]


def test_priors_between_the_thresholds_learn_nothing() -> None:
    places = torch.tensor([[0.2, 0.2, 0.2, 0.2], [0.2, 0.245, 0.2, 0.11], [0.2, 0.27, 0.2, 0.06]])
    found = match(torch.tensor([[0.1, 0.1, 0.3, 0.3]]), torch.zeros(1, dtype=torch.long), places)
    assert found.label.tolist() == [1, 1, 0]
    places[1, 3] = 0.09  # IoU .45
    found = match(torch.tensor([[0.1, 0.1, 0.3, 0.3]]), torch.zeros(1, dtype=torch.long), places)
    assert found.label.tolist() == [1, -1, 0]


def one_object(prototype: float) -> tuple[Output, Batch]:
    """One prior exactly on one object, the upper left quarter of a picture of 8x8 with prototypes of 4x4."""
    places = torch.tensor([[0.25, 0.25, 0.5, 0.5], [0.75, 0.75, 0.5, 0.5]])
    conf = torch.zeros(1, 2, 3)
    coefficients = torch.ones(1, 2, 1)
    prototypes = torch.full((1, 1, 4, 4), prototype)
    output = Output(
        torch.zeros(1, 2, 4), conf, coefficients, prototypes, torch.zeros(1, 2, 2, 2), places, (8, 8)
    )
    masks = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    masks[..., :4, :4] = 1
    batch = Batch(
        torch.zeros(1, 3, 8, 8),
        torch.tensor([[[0.0, 0, 4, 4]]]),
        torch.zeros(1, 1, dtype=torch.long),
        torch.ones(1, 1, dtype=torch.bool),
        masks,
        torch.zeros(1, 1, 0, 3),
    )
    return output, batch


def test_losses_are_the_papers_on_a_case_by_hand() -> None:
    output, batch = one_object(2.0)
    terms = yolact_loss(output, batch)
    assert terms["boxes"].item() == 0
    assert terms["classes"].item() == pytest.approx(2 * np.log(3))  # the positive and the one negative
    # the box is 2x2 cells, looked at 3x3: four inside, five beside; divided by its area
    right, wrong = np.log1p(np.exp(-2)), np.log1p(np.exp(2))
    assert terms["masks"].item() == pytest.approx(6.125 * (4 * right + 5 * wrong) / 4, rel=1e-5)
    assert terms["semantic"].item() == pytest.approx(2 * np.log(2), rel=1e-5)


def test_boxes_off_by_some_cost_smooth_l1() -> None:
    output, batch = one_object(2.0)
    loc = output.loc.clone()
    loc[0, 0] = torch.tensor([0.5, -2.0, 0, 0])
    terms = yolact_loss(output._replace(loc=loc), batch)
    assert terms["boxes"].item() == pytest.approx(1.5 * (0.125 + 1.5))


def test_three_hardest_backgrounds_are_learnt_for_a_positive() -> None:
    output, batch = one_object(2.0)
    away = torch.tensor([[0.8, 0.8, 0.1, 0.1]]).repeat(6, 1)
    places = torch.cat([output.priors[:1], away])
    conf = torch.zeros(1, 7, 3)
    conf[0, 1:, 1] = torch.tensor([5.0, -5, 4, -5, -5, 3])
    conf[0, 2, 0] = 9  # surely background
    output = output._replace(
        loc=torch.zeros(1, 7, 4), conf=conf, coefficients=torch.ones(1, 7, 1), priors=places
    )
    target = torch.tensor([1, 0, 0, 0])
    expected = F.cross_entropy(conf[0, [0, 1, 3, 6]], target, reduction="sum")
    assert yolact_loss(output, batch)["classes"].item() == pytest.approx(expected.item())


def test_a_picture_without_objects_teaches_only_an_empty_map() -> None:
    output, batch = one_object(2.0)
    terms = yolact_loss(output, batch._replace(real=torch.zeros(1, 1, dtype=torch.bool)))
    assert {name: value.item() > 0 for name, value in terms.items()} == {
        "boxes": False,
        "classes": False,
        "masks": False,
        "semantic": True,
    }


def test_a_key_frame_is_the_image_model() -> None:
    net = little()
    images = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        image, (key, state) = net(images), net.key(images)
    assert all(torch.equal(a, b) for a, b in zip(image[:4], key[:4], strict=True))
    assert [tuple(part.shape) for part in state] == [(2, 16, 4, 6), (2, 16, 2, 3), (2, 16, 8, 12)]


def test_no_flow_keeps_the_key_frames_levels() -> None:
    net = little()
    for mover in (net.flow_net.pred1, net.flow_net.pred2, net.flow_net.pred3):
        for layer in (mover.conv, mover.scale, mover.bias):
            torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(mover.bias.bias)
    for refine in net.spa.refine_convs:
        torch.nn.init.zeros_(refine[0].weight)
        torch.nn.init.zeros_(refine[0].bias)
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        key, state = net.key(images)
        between = net.between(images, state)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(key[:4], between[:4], strict=True))


@pytest.mark.parametrize(
    ("shift", "moved"),
    [
        pytest.param((0, 0), lambda x: x, id="still"),
        pytest.param((2, 0), lambda x: F.pad(x[..., 2:], (0, 2)), id="from-two-cells-to-the-right"),
        pytest.param((0, -1), lambda x: F.pad(x[..., :-1, :], (0, 0, 1, 0)), id="from-one-cell-above"),
    ],
)
def test_warping_samples_where_the_flow_points(
    shift: tuple[int, int], moved: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    x = torch.rand(1, 3, 5, 7)
    flow = torch.zeros(1, 2, 5, 7)
    flow[:, 0], flow[:, 1] = shift[0] * 8 * 2 / 6, shift[1] * 8 * 2 / 4
    assert torch.allclose(warp(x, flow), moved(x), atol=1e-5)


def test_small_prototypes_see_the_pixels_of_their_own_picture() -> None:
    net = little("yolactedge")
    level, images = torch.rand(1, LITTLE["neck"], 8, 12), torch.rand(1, 3, 64, 96)
    other = images.clone()
    other[..., :32, :48] = 0
    with torch.no_grad():
        here, there = net.proto_net(level, images), net.proto_net(level, other)
    assert here.shape[2:] == (32, 48)
    assert not torch.allclose(here[..., :12, :20], there[..., :12, :20], atol=1e-4)
    assert torch.equal(here[..., 24:, 32:], there[..., 24:, 32:])


def test_decoding_gives_what_the_dense_layout_reads() -> None:
    net = little("yolact")
    images = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        raw = net(images)
        found = net.decode(raw)
    count = 6 * (8 * 12 + 4 * 6 + 2 * 3 + 1 * 2 + 1)
    assert {name: tuple(part.shape) for name, part in found.items()} == {
        "boxes": (2, count, 4),
        "scores": (2, count, 3),
        "coefficients": (2, count, 4),
        "prototypes": (2, 4, 32, 48),
    }
    assert (found["scores"].sum(2) < 1).all()
    assert (found["prototypes"] >= 0).all()
    centre = (found["boxes"][0, 0, :2] + found["boxes"][0, 0, 2:]) / 2
    across = raw.loc[0, 0, :2] * 0.1 * torch.tensor([16.0, 16.0])
    assert torch.allclose(centre, torch.tensor([4.0, 4.0]) + across, atol=1e-4)


def test_every_weight_of_the_image_model_counts() -> None:
    net = little("yolactedge").train()
    output = net(torch.rand(2, 3, 64, 96))
    sum(part.square().sum() for part in output[:5]).backward()
    idle = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_the_state_is_of_the_key_frame() -> None:
    net = little()
    first, second = torch.rand(1, 3, 64, 96), torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        _, state = net.key(first)
        kept = State(*(part.clone() for part in state))
        net.between(second, state)
    assert all(torch.equal(a, b) for a, b in zip(state, kept, strict=True))

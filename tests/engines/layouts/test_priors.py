"""Offsets from priors: SSD, RetinaNet, UltraFace, RetinaFace, YOLACT; priors by hand, or of torchvision."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log
from typing import Any

import numpy as np
import pytest

from engines.layouts import priors
from engines.masks import bitmap

Run = Callable[..., Any]
Same = Callable[..., None]


def offsets(box: list[float], prior: Any, variances: tuple[float, float]) -> list[float]:
    """A box in the code of its prior (cx, cy, w, h)."""
    x1, y1, x2, y2 = box
    cx, cy, w, h = map(float, prior)
    return [
        ((x1 + x2) / 2 - cx) / w / variances[0],
        ((y1 + y2) / 2 - cy) / h / variances[0],
        log((x2 - x1) / w) / variances[1],
        log((y2 - y1) / h) / variances[1],
    ]


def test_ultraface(run: Run, same: Same) -> None:
    """The prior of side 16 in cell (10, 5) of 40x30, and of side 64 in cell (3, 2) of 10x8."""
    small, large = 3 * (5 * 40 + 10) + 1, 3 * 40 * 30 + 2 * 20 * 15 + 2 * (2 * 10 + 3) + 0
    prior = {small: (10.5 * 8, 5.5 * 8, 16, 16), large: (3.5 * 32, 2.5 * 30, 64, 64)}
    faces = {small: ([80.0, 40, 92, 54], 0.95, 0), large: ([90.0, 40, 150, 120], 0.8, 0)}
    table, scores = np.zeros((1, 4420, 4), np.float32), np.zeros((1, 4420, 2), np.float32)
    scores[..., 0] = 1
    for place, (box, score, _) in faces.items():
        table[0, place] = offsets(box, prior[place], (0.1, 0.2))
        scores[0, place] = 1 - score, score
    spec, found = run({"scores": scores, "boxes": table}, (320, 240))
    assert (spec.layout, spec.classes, spec.mean, spec.std) == (
        "ultraface",
        ("face",),
        (127,) * 3,
        (128,) * 3,
    )
    same(found, [faces[small], faces[large]], 0.05)
    shares = np.zeros_like(table)
    shares[0, small] = np.array(faces[small][0]) / [320, 240, 320, 240]
    spec, found = run({"scores": scores, "boxes": shares}, (320, 240), decoded=True, conf=0.9)
    assert spec.layout == "ultraface-decoded"
    same(found, [faces[small]])


def test_retinaface(run: Run, same: Same) -> None:
    """The prior of side 32 at column 5, row 3 of the finest grid, with five landmarks."""
    size, place = (128, 96), 2 * (3 * 16 + 5) + 1
    prior = (5.5 * 8, 3.5 * 8, 32, 32)
    count = 2 * (16 * 12 + 8 * 6 + 4 * 3)
    loc, conf, marks = (np.zeros((1, count, width), np.float32) for width in (4, 2, 10))
    face = ([30.0, 14, 60, 50], 0.9, 0)
    points = np.array([[38, 25], [52, 25], [45, 32], [39, 40], [51, 40]], np.float32)
    loc[0, place] = offsets(face[0], prior, (0.1, 0.2))
    conf[0, place] = 0.1, 0.9
    marks[0, place] = ((points - prior[:2]) / 32 / 0.1).ravel()
    spec, found = run({"bbox": loc, "confidence": conf, "landmark": marks}, size)
    assert (spec.layout, spec.keypoints[2], spec.colour) == ("retinaface", "nose", "bgr")
    same(found, [face])
    np.testing.assert_allclose(found.keypoints[0, :, :2], points, atol=0.01)
    assert (found.keypoints[0, :, 2] == 1).all()


@pytest.mark.parametrize("planes_first", [False, True])
@pytest.mark.parametrize("named", [True, False])
def test_yolact(named: bool, planes_first: bool, run: Run, same: Same) -> None:
    """Grids of 138 pixels are 18, 9, 5, 3, 2 cells; the third prior is 24 * sqrt(2) wide and high."""
    size, count = (138, 138), 3 * (18**2 + 9**2 + 5**2 + 3**2 + 2**2)
    place = 3 * (6 * 18 + 4) + 2
    step, side = 138 / 18, 24 * 2**0.5
    cat = ([20.0, 30, 60, 75], 0.9, 15)
    loc, conf, mask = (np.zeros((1, count, width), np.float32) for width in (4, 81, 32))
    conf[..., 0] = 1
    loc[0, place] = offsets(cat[0], (4.5 * step, 6.5 * step, side, side), (0.1, 0.2))
    conf[0, place, [0, 16]] = 0.1, 0.9
    mask[0, place, 3] = -1
    proto = np.zeros((1, 35, 35, 32), np.float32)
    proto[0, :, :, 3] = np.where(np.arange(35) < 10, -1, 1)  # columns left of 40 pixels
    if planes_first:
        proto = proto.transpose(0, 3, 1, 2)
    names = ("loc", "conf", "mask", "proto") if named else ("831", "832", "833", "834")
    spec, found = run(dict(zip(names, (loc, conf, mask, proto), strict=True)), size)
    assert (spec.layout, spec.task, spec.resize) == ("yolact", "segment", "stretch")
    same(found, [cat])
    left, _, pixels = bitmap(found.masks, 0, found.boxes[0], size)
    assert pixels[:, : 37 - left].all()
    assert not pixels[:, 42 - left :].any()


def test_torchvision_ssd(run: Run, same: Same) -> None:
    """The second box of cell (4, 7) of the 19 x 19 grid: the square between .15 and .33 of the input."""
    place = 4 * 38 * 38 + 6 * (7 * 19 + 4) + 1
    side = 300 * (0.15 * 0.33) ** 0.5
    cat = ([50.0, 90, 110, 160], 0.9, 16)
    boxes, logits = np.zeros((1, 8732, 4), np.float32), np.zeros((1, 8732, 91), np.float32)
    logits[..., 0] = 12
    boxes[0, place] = offsets(cat[0], (4.5 * 16, 7.5 * 16, side, side), (0.1, 0.2))
    logits[0, place, 0] = 0
    logits[0, place, 17] = log(0.9 * (89 + exp(0)) / 0.1)  # its share of the softmax is .9
    spec, found = run({"bbox_regression": boxes, "cls_logits": logits}, (300, 300))
    assert (spec.layout, spec.resize, spec.std[0]) == ("torchvision-ssd", "stretch", 1 / 255)
    assert spec.classes[16] == "cat"
    same(found, [cat], 0.05)


def test_torchvision_retinanet(run: Run, same: Same) -> None:
    """The square anchor of 64 at cell (2, 1) of P4, which stands on the cell's corner."""
    size, place = (128, 96), 9 * (16 * 12) + 9 * (1 * 8 + 2) + 3
    count = 9 * (16 * 12 + 8 * 6 + 4 * 3 + 2 * 2 + 1)
    cat = ([10.0, 5, 60, 70], 0.9, 16)
    boxes, logits = np.zeros((1, count, 4), np.float32), np.full((1, count, 91), -9, np.float32)
    boxes[0, place] = offsets(cat[0], (2 * 16, 1 * 16, 64, 64), (1, 1))
    boxes[0, 0, 2:] = 99  # grows beyond all numbers, and is bounded
    logits[0, place, 17], logits[0, 0, 17] = log(9), log(4)
    spec, found = run({"bbox_regression": boxes, "cls_logits": logits}, size)
    assert spec.layout == "torchvision-retinanet"
    same(found, [cat, ([0, 0, 128, 96], 0.8, 16)])


def _torchvision(kind: str) -> tuple[Any, tuple[int, int], list[tuple[int, int]]]:
    anchors = pytest.importorskip("torchvision.models.detection.anchor_utils")
    if kind == "retinanet":
        sides = [[x, int(x * 2 ** (1 / 3)), int(x * 2 ** (2 / 3))] for x in (32, 64, 128, 256, 512)]
        made = anchors.AnchorGenerator(sides, ((0.5, 1.0, 2.0),) * 5)
        return made, (224, 160), [(20, 28), (10, 14), (5, 7), (3, 4), (2, 2)]
    if kind == "ssd300":
        made = anchors.DefaultBoxGenerator(
            [[2], [2, 3], [2, 3], [2, 3], [2], [2]],
            scales=[0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05],
            steps=[8, 16, 32, 64, 100, 300],
        )
        return made, (300, 300), [(side, side) for side in (38, 19, 10, 5, 3, 1)]
    made = anchors.DefaultBoxGenerator([[2, 3]] * 6, min_ratio=0.2, max_ratio=0.95)
    return made, (320, 320), [(side, side) for side in (20, 10, 5, 3, 2, 1)]


@pytest.mark.parametrize("kind", ["ssd300", "ssdlite", "retinanet"])
def test_priors_are_those_of_torchvision(kind: str) -> None:
    generator, size, grids = _torchvision(kind)
    torch = pytest.importorskip("torch")
    images = pytest.importorskip("torchvision.models.detection.image_list").ImageList(
        torch.zeros(1, 3, size[1], size[0]), [(size[1], size[0])]
    )
    (theirs,) = generator(images, [torch.zeros(1, 1, *grid) for grid in grids])
    corners = theirs.numpy()
    expected = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], 1)
    np.testing.assert_allclose(getattr(priors, kind)(size), expected, atol=1e-3)

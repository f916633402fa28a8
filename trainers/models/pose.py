"""YOLO-pose: the small YOLO, and in every cell the keypoints of the person it finds.

Single-stage pose with the OKS loss of Maji et al. 2022: a keypoint's error weighs by the size of the person
and by how exactly people mark that keypoint, as in COCO's measure. OKS is flat far from the truth: a nose
that is off by a tenth of a person learns nothing. So the plain distance is learnt beside it.

A cell in the middle of a person knows a nose or a wrist to some pixels only. So the place where it says that
one lies is asked once more: fields at a quarter of the picture's sides tell the way from there to it (the
short-range offsets of PersonLab, Papandreou et al. 2018).
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.config import Loss, Network
from trainers.data.batch import Batch
from trainers.matching import Assignment
from trainers.models.yolo import STRIDES, Conv, Output, Yolo, cells, doubled

__all__ = ["SIGMAS", "Fields", "Pose", "PoseOutput", "build", "follow", "oks"]

# COCO's spread of each of its 17 keypoints, as a share of a person's size (cocodataset.org, keypoints eval)
SIGMAS = (
    *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072),
    *(0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
)
_AREA = 0.53  # share of a person's box that the person fills, on average
_POINTS, _FAR, _SEEN = 12.0, 4.0, 1.0  # weights of the terms


class PoseOutput(NamedTuple):
    """What the network says of a batch; N cells, J keypoints."""

    found: Output
    coarse: Tensor  # (B, N, J, 2) x, y in input pixels, as the cell says
    keypoints: Tensor  # (B, N, J, 2) after the fields were read there
    seen: Tensor  # (B, N, J) logits of being in the picture


def build(classes: int, network: Network) -> Pose:
    """Make the network of a configuration."""
    return Pose(classes, network.widths, network.depths, network.neck)


class Pose(Yolo):
    """The detector with keypoints. Input (B, 3, H, W) RGB 0..1, sides multiples of 32."""

    task = "pose"

    def __init__(
        self,
        classes: int,
        widths: tuple[int, int, int, int, int] = (16, 24, 48, 80, 112),
        depths: tuple[int, int, int, int] = (1, 2, 2, 1),
        neck: int = 48,
    ) -> None:
        super().__init__(classes, widths, depths, neck)
        self.joints = nn.ModuleList(
            nn.Sequential(Conv(neck, neck, 3), Conv(neck, neck, 3), nn.Conv2d(neck, 3 * len(SIGMAS), 1))
            for _ in STRIDES
        )
        self.fields = Fields(neck)

    def forward(self, images: Tensor) -> PoseOutput:
        features = self.pyramid(images)
        parts = [
            _exact(head, x).flatten(2).transpose(1, 2).unflatten(2, (len(SIGMAS), 3))
            for head, x in zip(self.joints, features, strict=True)
        ]
        raw = torch.cat(parts, 1)
        points, strides = cells(tuple((int(x.shape[2]), int(x.shape[3])) for x in features), images.device)
        coarse = raw[..., :2] * (2 * strides[:, None]) + points[:, None]
        keypoints = follow(self.fields(features[0], images), coarse.detach())
        return PoseOutput(self.read(features), coarse, keypoints, raw[..., 2])

    def decode(self, output: PoseOutput) -> dict[str, Tensor]:  # type: ignore[override]
        """Return ``boxes``, ``scores`` and ``keypoints`` (B, N, J, 3): x, y and 0..1."""
        keypoints = torch.cat([output.keypoints, output.seen.sigmoid()[..., None]], 3)
        return super().decode(output.found) | {"keypoints": keypoints}

    def loss(self, output: PoseOutput, batch: Batch, weights: Loss) -> dict[str, Tensor]:  # type: ignore[override]
        """Return the detector's terms, ``coarse`` and ``keypoints`` (1 - OKS, and distance), ``seen``.

        Only cells whose object has keypoints learn them, each as much as its soft target; all learn whether
        there are any.
        """
        terms, found = self.assigned(output.found, batch, weights)
        return terms | _terms(output, batch, found)


class Fields(nn.Module):
    """For every keypoint a field at a quarter of the picture's sides: the way from each place to it.

    The finest grid tells what is where, the picture itself, seen through two convolutions, exactly where.
    """

    stride = 4
    _WIDTH = 32

    def __init__(self, width: int) -> None:
        super().__init__()
        self.look = nn.Sequential(Conv(3, self._WIDTH // 2, 3, 2), Conv(self._WIDTH // 2, self._WIDTH, 3, 2))
        self.enter = Conv(width, self._WIDTH)
        self.merge = nn.Sequential(Conv(self._WIDTH, self._WIDTH, 3), Conv(self._WIDTH, self._WIDTH, 3))
        self.leave = nn.Conv2d(self._WIDTH, 2 * len(SIGMAS), 1)

    def forward(self, level: Tensor, images: Tensor) -> Tensor:
        """Return (B, 2 J, H/4, W/4): of each keypoint x, y in input pixels."""
        x = self.merge(doubled(self.enter(level)) + self.look(images))
        with torch.autocast(x.device.type, enabled=False):
            return cast("Tensor", self.stride * self.leave(x.float()))


def follow(fields: Tensor, points: Tensor) -> Tensor:
    """Move keypoints (B, N, J, 2), in input pixels, by what their fields (B, 2 J, H/4, W/4) say there."""
    joints, count = len(SIGMAS), points.shape[1]
    height, width = (int(side) for side in fields.shape[2:])
    sides = torch.tensor([width, height], dtype=points.dtype, device=points.device) * Fields.stride
    at = points.transpose(1, 2).reshape(-1, count, 1, 2) / sides * 2 - 1
    ways = F.grid_sample(fields.reshape(-1, 2, height, width), at, padding_mode="border", align_corners=False)
    return points + ways.reshape(-1, joints, 2, count).permute(0, 3, 1, 2)


def oks(points: Tensor, truth: Tensor, area: Tensor) -> Tensor:
    """Return how like keypoints (..., J, 2) are to the truth's, each 0..1: exp(-d^2 / (2 area (2 sigma)^2)).

    area (...,) is the object's in square pixels. COCO's measure is the mean over labelled keypoints.
    """
    sigma = torch.tensor(SIGMAS, device=points.device, dtype=points.dtype)
    distance = (points - truth).square().sum(-1)
    return torch.exp(-distance / (2 * area[..., None] * (2 * sigma).square() + 1e-9))


def _exact(head: nn.Module, x: Tensor) -> Tensor:
    """Run a branch, its last layer in full precision: half would move keypoints by a pixel."""
    *before, last = cast("nn.Sequential", head)
    for layer in before:
        x = layer(x)
    with torch.autocast(x.device.type, enabled=False):
        return cast("Tensor", last(x.float()))


def _terms(output: PoseOutput, batch: Batch, found: Assignment) -> dict[str, Tensor]:
    picture, cell = found.positive.nonzero(as_tuple=True)
    row = found.owner[picture, cell]
    truth = batch.keypoints[picture, row]
    seen = _presence(output.seen[picture, cell], truth, found.quality[picture, cell])
    person = (truth[..., 2] > 0).any(1)
    picture, cell, row, truth = picture[person], cell[person], row[person], truth[person]
    labelled = (truth[..., 2] > 0).float()
    box = batch.boxes[picture, row]
    area = (box[:, 2:] - box[:, :2]).prod(1) * _AREA
    quality = found.quality[picture, cell]
    total = quality.sum().clamp(min=1.0)
    terms = {}
    for name, found_at in (("coarse", output.coarse), ("keypoints", output.keypoints)):
        at = found_at[picture, cell]
        away = (at - truth[..., :2]).abs().sum(-1) / area.sqrt()[:, None]
        error = (_POINTS * (1 - oks(at, truth[..., :2], area)) + _FAR * away) * labelled
        error = error.sum(1) / labelled.sum(1).clamp(min=1)
        terms[name] = cast("Tensor", (error * quality).sum()) / total
    return terms | {"seen": _SEEN * seen}


def _presence(logits: Tensor, truth: Tensor, quality: Tensor) -> Tensor:
    """Cross-entropy of which keypoints are there: of a car none is, so that none is drawn on it."""
    if not truth[..., 2].any():
        return logits.sum() * 0
    each = F.binary_cross_entropy_with_logits(logits, (truth[..., 2] > 0).float(), reduction="none").mean(1)
    return cast("Tensor", (each * quality).sum()) / quality.sum().clamp(min=1.0)

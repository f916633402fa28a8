"""Reading: from an engine's output tensors to Detections of each picture, in its own pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.detections import EMPTY, Detections, Masks
from engines.errors import InputError
from engines.letterbox import Placement
from engines.options import Options, chosen_classes
from engines.spec import ModelSpec
from engines.suppress import mask_nms
from engines.survivors import Survivors

__all__ = ["Reading"]

Tensors = dict[str, NDArray[Any]]

_BESIDE = ("keypoints", "coefficients")  # what a candidate has besides its box and score


class Reading:
    """What a model's user wants of its candidates: thresholds, classes, suppression, a limit.

    A candidate whose score, box, keypoints or mask are not all finite numbers is dropped whole and counted:
    where a network has overflowed, the rest of what it says there is no more to be trusted. Raises InputError
    for suppression by masks where the model gives none.
    """

    def __init__(self, spec: ModelSpec, options: Options) -> None:
        self.spec = spec
        self._conf = np.float32(spec.conf if options.conf == -1 else options.conf)
        if options.nms == "mask" and spec.task != "segment":
            raise InputError(f"nms: mask, but {spec.name} gives no masks (task {spec.task}), greedy is right")
        iou = spec.iou if options.iou == -1 else options.iou
        self._survivors = Survivors(options.nms, iou, options.class_agnostic, float(self._conf))
        self._max_det = options.max_det
        self.invalid = 0  # candidates that were not finite numbers, and were dropped
        wanted = chosen_classes(options.classes, spec)
        self._keep = np.array([number in wanted for number in range(len(spec.classes))])
        self._all = bool(self._keep.all())

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is looked for below
    def batch(self, tensors: Tensors, laid: Sequence[Placement]) -> list[Detections]:
        """Threshold, suppress and map: the first pictures of a batch, one for each placement.

        Of each one boxes (K,4), scores (K,) best first, classes (K,) and what its task has besides.
        """
        filled = len(laid)
        scores, boxes = tensors["scores"][:filled], tensors["boxes"][:filled]
        # A sum is finite only if all of it is, and costs less than a look at each number.
        sound = math.isfinite(np.add.reduce(scores, axis=None) + np.add.reduce(boxes, axis=None))
        counts = np.add.reduce(scores >= self._conf, axis=1).tolist()
        most = max(counts, default=0)
        for name in _BESIDE:
            if sound and name in tensors:
                sound = math.isfinite(np.add.reduce(tensors[name][:filled, :most], axis=None))
        results = []
        for slot, (placement, count) in enumerate(zip(laid, counts, strict=True)):
            picture = {name: values[slot] for name, values in tensors.items()}
            if not sound:
                picture = self._finite(picture)
                count = int(np.count_nonzero(picture["scores"] >= self._conf))
            results.append(self._picture(picture, count, placement) if count else self._nothing())
        return results

    def _picture(self, tensors: Tensors, count: int, placement: Placement) -> Detections:
        """One picture's detections out of its first `count` candidates, those of enough score."""
        rows, sure = self._chosen(
            tensors["boxes"][:count], tensors["scores"][:count], tensors["classes"][:count]
        )
        inside = tensors["boxes"][rows]
        corners = placement.to_source(inside.reshape(-1, 2, 2))
        np.maximum(corners, 0, out=corners)
        np.minimum(corners, placement.source, out=corners)
        seen = corners[:, 1] > corners[:, 0]
        if not seen.all():
            there = seen.all(axis=1)
            rows, sure, inside, corners = rows[there], sure[there], inside[there], corners[there]
        if self._survivors.kind != "mask":
            most = self._max_det
            rows, sure, inside, corners = rows[:most], sure[:most], inside[:most], corners[:most]
        found = Detections(
            corners.reshape(-1, 4),
            sure,
            tensors["classes"][rows],
            np.full(len(rows), -1, np.int64),
            _keypoints(tensors, rows, placement),
            _masks(tensors, rows, inside, self.spec, placement),
        )
        found = self._with_whole_masks(found)
        return self._by_masks(found, placement.source) if self._survivors.kind == "mask" else found

    def _chosen(
        self, boxes: NDArray[np.float32], scores: NDArray[np.float32], classes: NDArray[np.int32]
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """The rows of wanted classes that no better one suppresses, best first, and their scores."""
        if self._all:
            kept, sure = self._survivors.rows(boxes, scores, classes)
        else:
            known = np.flatnonzero((classes >= 0) & (classes < len(self._keep)))
            wanted = known[self._keep[classes[known]]]
            kept, sure = self._survivors.rows(boxes[wanted], scores[wanted], classes[wanted])
            kept = wanted[kept]
        return kept, sure

    def _with_whole_masks(self, found: Detections) -> Detections:
        """Those whose masks are numbers: prototypes may be none in some places, where others have no part."""
        whole = [math.isfinite(np.add.reduce(grid, axis=None)) for grid in found.masks.grids]
        if all(whole):
            return found
        self.invalid += whole.count(False)
        return found[np.array(whole)]

    def _by_masks(self, found: Detections, size: tuple[int, int]) -> Detections:
        compared = found
        if self._survivors.agnostic:
            compared = replace(found, classes=np.zeros_like(found.classes))
        return found[mask_nms(compared, self._survivors.iou, size)[: self._max_det]]

    def _finite(self, tensors: Tensors) -> Tensors:
        """The candidates that are numbers, best first again: sorting knows no order for others."""
        sound = np.isfinite(tensors["scores"]) & np.isfinite(tensors["boxes"]).all(axis=1)
        for name in _BESIDE:
            if name in tensors:
                sound &= np.isfinite(tensors[name]).reshape(len(sound), -1).all(axis=1)
        self.invalid += int(np.count_nonzero(~sound))
        rows = np.flatnonzero(sound)
        rows = rows[np.argsort(-tensors["scores"][rows], kind="stable")]
        return {name: values if name == "prototypes" else values[rows] for name, values in tensors.items()}

    def _nothing(self) -> Detections:
        joints = len(self.spec.keypoints)
        return replace(EMPTY, keypoints=np.zeros((0, joints, 3), np.float32)) if joints else EMPTY


def _keypoints(tensors: Tensors, rows: NDArray[np.intp], placement: Placement) -> NDArray[np.float32]:
    if "keypoints" not in tensors:
        return np.zeros((len(rows), 0, 3), np.float32)
    points: NDArray[np.float32] = tensors["keypoints"][rows]
    inside = placement.to_source(points[..., :2])
    points[..., :2] = np.clip(inside, 0, np.array(placement.source, np.float32))
    return points


def _masks(
    tensors: Tensors,
    rows: NDArray[np.intp],
    boxes: NDArray[np.float32],
    spec: ModelSpec,
    placement: Placement,
) -> Masks:
    """Combine prototypes where each box (input pixels) lies, and one cell around it for the interpolation."""
    if "prototypes" not in tensors:
        return Masks()
    prototypes = tensors["prototypes"]
    depth, height, width = prototypes.shape
    cell = np.array([spec.size[0] / width, spec.size[1] / height] * 2, np.float32)
    limit = np.array([width, height])
    cells = np.clip(boxes / cell, 0, np.tile(limit, 2))  # first: what is far outside fits no whole number
    low = np.clip(cells[:, :2].astype(np.intp) - 1, 0, limit - 1)
    high = np.clip(np.ceil(cells[:, 2:]).astype(np.intp) + 1, low + 1, limit)
    grids = []
    for weights, (x1, y1), (x2, y2) in zip(tensors["coefficients"][rows], low, high, strict=True):
        part = prototypes[:, y1:y2, x1:x2]
        grids.append((weights @ part.reshape(depth, -1)).reshape(part.shape[1:]))
    regions = np.concatenate([low, high], 1).astype(np.float32) * cell
    return Masks(tuple(grids), placement.to_source(regions.reshape(-1, 2, 2)).reshape(-1, 4))

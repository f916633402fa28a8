"""Comparison: two models, or one model run in two ways, on the same pictures, detection by detection."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.detections import Detections
from engines.errors import InputError
from engines.masks import bitmap
from engines.model import Model, load
from engines.options import Options
from engines.pictures import Picture, read_pictures
from engines.spec import ModelSpec
from engines.suppress import iou_matrix

__all__ = ["Comparison", "compare_models"]

_MATCH = 0.5  # IoU from which two detections of one class are of one object
_MARGIN = 0.1  # above the threshold: a detection nearer to it may be missing in the other without a meaning


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was seen over some pictures: means and worst of the matched pairs, 1 or 0 where there is none."""

    pictures: int
    matched: int  # pairs of detections
    only_a: int  # clear detections without a partner
    only_b: int
    iou: tuple[float, float]  # of the boxes of a pair: mean, least
    score: tuple[float, float]  # difference: mean, most
    mask_iou: tuple[float, float]  # mean, least
    keypoints: tuple[float, float]  # distance over the root of the box's area: mean, most

    @property
    def verdict(self) -> str:
        """ "same" (one arithmetic), "close" (a user would not tell), or "different"."""
        lost = (self.only_a + self.only_b) / max(self.matched, 1)
        if not lost and self.iou[1] > 0.99 and self.score[1] < 1e-3 and self.mask_iou[1] > 0.98:
            return "same"
        near = self.iou[0] > 0.95 and self.score[0] < 0.03 and self.mask_iou[0] > 0.9
        return "close" if near and lost <= 0.02 and self.keypoints[0] < 0.02 else "different"


def compare_models(
    a: str | Path, b: str | Path, data: Path, options: tuple[Options, Options], limit: int = 50
) -> Comparison:
    """Run both on at most ``limit`` pictures of a folder, a picture or a video, and match their detections.

    Classes are compared by name. Raises InputError where the models share no class or cannot be compared.
    """
    seen = read_pictures(data, limit)
    with load(a, options[0]) as one, load(b, options[1]) as other:
        if one.spec.task == "embed" or other.spec.task == "embed":
            raise InputError("compare: a model that gives embeddings, two that give detections are needed")
        if not set(one.spec.classes) & set(other.spec.classes):
            raise InputError(f"compare: {one.spec.name} and {other.spec.name} have no class in common")
        pairs = [_pair(one, other, picture) for _, picture in seen]
        clear = max(_threshold(one, options[0]), _threshold(other, options[1])) + _MARGIN
        return _summary(pairs, (one.spec, other.spec), clear)


Pair = tuple[Detections, Detections, tuple[int, int]]  # of a, of b, size of the picture


def _pair(one: Model, other: Model, picture: Picture) -> Pair:
    (mine,), (theirs,) = one.predict([picture]), other.predict([picture])
    return mine, theirs, (picture.shape[1], picture.shape[0])


def _threshold(model: Model, options: Options) -> float:
    return model.spec.conf if options.conf == -1 else options.conf


def _summary(pairs: list[Pair], specs: tuple[ModelSpec, ModelSpec], clear: float) -> Comparison:
    ious, scores, masks, points = [], [], [], []
    only = [0, 0]
    for mine, theirs, size in pairs:
        rows, columns, overlaps = _match(mine, theirs, specs)
        ious += overlaps
        scores += np.abs(mine.scores[rows] - theirs.scores[columns]).tolist()
        for number, (found, matched) in enumerate(((mine, rows), (theirs, columns))):
            alone = np.setdiff1d(np.arange(len(found)), matched)
            only[number] += int((found.scores[alone] >= clear).sum())
        for row, column in zip(rows, columns, strict=True):
            if len(mine.masks) and len(theirs.masks):
                masks.append(_mask_iou((mine, row), (theirs, column), size))
            if mine.keypoints.shape[1] and mine.keypoints.shape[1:] == theirs.keypoints.shape[1:]:
                points.append(_keypoint_distance(mine, theirs, row, column))
    return Comparison(
        len(pairs),
        len(ious),
        only[0],
        only[1],
        _spread(ious, 1.0, min),
        _spread(scores, 0.0, max),
        _spread(masks, 1.0, min),
        _spread(points, 0.0, max),
    )


def _match(
    mine: Detections, theirs: Detections, specs: tuple[ModelSpec, ModelSpec]
) -> tuple[list[int], list[int], list[float]]:
    """Rows of both that are of one object, best overlap first, each used once."""
    if not len(mine) or not len(theirs):
        return [], [], []
    overlaps = iou_matrix(mine.boxes, theirs.boxes)
    names = [_names(found, spec) for found, spec in zip((mine, theirs), specs, strict=True)]
    overlaps[names[0][:, None] != names[1][None, :]] = 0
    rows: list[int] = []
    columns: list[int] = []
    found: list[float] = []
    while (best := float(overlaps.max())) >= _MATCH:
        row, column = (int(place) for place in np.unravel_index(int(overlaps.argmax()), overlaps.shape))
        rows.append(row)
        columns.append(column)
        found.append(best)
        overlaps[row], overlaps[:, column] = 0, 0
    return rows, columns, found


def _names(found: Detections, spec: ModelSpec) -> NDArray[np.object_]:
    """Of the class of each detection; its number where the model's card names fewer."""
    known = dict(enumerate(spec.classes))
    return np.array([known.get(label, str(label)) for label in found.classes.tolist()], object)


def _mask_iou(one: tuple[Detections, int], other: tuple[Detections, int], size: tuple[int, int]) -> float:
    grids = [_full(found, row, size) for found, row in (one, other)]
    union = int((grids[0] | grids[1]).sum())
    return int((grids[0] & grids[1]).sum()) / union if union else 1.0


def _full(found: Detections, row: int, size: tuple[int, int]) -> NDArray[np.bool_]:
    left, top, pixels = bitmap(found.masks, row, found.boxes[row], size)
    whole = np.zeros((size[1], size[0]), bool)
    whole[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return whole


def _keypoint_distance(mine: Detections, theirs: Detections, row: int, column: int) -> float:
    """Mean over the joints that either sees, in shares of the root of the box's area."""
    a, b = mine.keypoints[row], theirs.keypoints[column]
    seen = np.maximum(a[:, 2], b[:, 2]) > 0.5
    x1, y1, x2, y2 = mine.boxes[row]
    unit = float(np.sqrt(max((x2 - x1) * (y2 - y1), 1)))
    return float(np.hypot(*(a - b)[seen, :2].T).mean()) / unit if seen.any() else 0.0


def _spread(values: list[float], nothing: float, worst: object) -> tuple[float, float]:
    if not values:
        return nothing, nothing
    return float(np.mean(values)), float(min(values) if worst is min else max(values))


def rows(comparison: Comparison) -> Iterable[tuple[str, str, str]]:
    """The figures as lines of a table: what, mean, worst."""
    for name, (mean, worst) in (
        ("box IoU", comparison.iou),
        ("score difference", comparison.score),
        ("mask IoU", comparison.mask_iou),
        ("keypoint distance / box", comparison.keypoints),
    ):
        yield name, f"{mean:.4f}", f"{worst:.4f}"

"""Suppression of one picture's candidates: which of the boxes that overlap stay; the same under ties.

Rows whose box or score is not finite are never kept. Boxes without area overlap nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engines.detections import Detections
from engines.errors import InputError

__all__ = ["diou_matrix", "diou_nms", "fast_nms", "fuse", "iou_matrix", "mask_nms", "nms", "soft_nms"]

Boxes = NDArray[np.float32]
Overlap = Callable[[Boxes, Boxes], Boxes]  # (N,4), (M,4) -> (N,M)

_BY_HAND = 12  # up to this many rows plain numbers are faster than arrays
_ONE_MATRIX = 512  # above this many rows the classes are suppressed one after the other
_ROWS = 512  # of a large matrix that exist at a time
_FEW = 64  # rows of which the overlaps are computed at a time
_TINY = 1e-9


def nms(
    boxes: Boxes,
    scores: NDArray[np.float32],
    classes: NDArray[np.integer],
    iou: float,
    *,
    class_agnostic: bool = False,
) -> NDArray[np.intp]:
    """Return the indices kept by greedy NMS, best score first; of equal scores the lower index wins.

    boxes (N,4) xyxy in any one unit, scores (N,), classes (N,). A box goes when its IoU with a better kept
    box of its class (of any class if ``class_agnostic``) is above ``iou``. Classes are compared as numbers,
    never by offsetting boxes, so coordinates keep their precision.
    """
    if len(boxes) <= _BY_HAND:
        labels = [0] * len(boxes) if class_agnostic else classes.tolist()
        return np.array(_walk(boxes.tolist(), scores.tolist(), labels, iou), np.intp)
    return _suppress(boxes, scores, np.zeros_like(classes) if class_agnostic else classes, iou, iou_matrix)


def diou_nms(
    boxes: Boxes, scores: NDArray[np.float32], classes: NDArray[np.integer], iou: float
) -> NDArray[np.intp]:
    """Return what greedy NMS per class keeps by DIoU (Zheng et al. 2020): IoU less the centres' distance.

    Arguments as `nms`; two things that stand behind one another stay two where their centres are apart.
    """
    return _suppress(boxes, scores, classes, iou, diou_matrix)


def fast_nms(
    boxes: Boxes, scores: NDArray[np.float32], classes: NDArray[np.integer], iou: float
) -> NDArray[np.intp]:
    """Return what Fast NMS (Bolya et al. 2019) keeps: what no better box of its class overlaps.

    Arguments as `nms`. Unlike there, what is itself suppressed suppresses too, so a little less is kept.
    """
    order = _ranked(boxes, scores)
    ranked, labels = boxes[order], classes[order]
    keep = np.ones(len(order), np.bool_)
    for begin in range(0, len(order), _ROWS):
        part = slice(begin, begin + _ROWS)
        over = (iou_matrix(ranked, ranked[part]) > iou) & (labels[:, None] == labels[part])
        better = np.arange(len(order))[:, None] < np.arange(begin, begin + over.shape[1])
        keep[part] = ~(over & better).any(axis=0)
    return order[keep]


def soft_nms(
    boxes: Boxes,
    scores: NDArray[np.float32],
    classes: NDArray[np.integer],
    *,
    decay: Literal["linear", "gaussian"] = "gaussian",
    iou: float = 0.3,
    sigma: float = 0.5,
    least: float = 0.001,
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return the indices kept by Soft-NMS (Bodla et al. 2017) and their new scores, best first.

    Each box taken lowers the scores of its class's others: linear by ``1 - IoU`` where that is above ``iou``,
    gaussian by ``exp(-IoU^2 / sigma)`` everywhere. What falls under ``least`` goes.
    """
    order = _ranked(boxes, scores)
    ranked, labels, left = boxes[order], classes[order], scores[order].astype(np.float32)
    kept, final = [], []
    while len(left) and left.max() >= least:
        best = int(left.argmax())  # the first of equals: the lower index
        kept.append(order[best])
        final.append(left[best])
        overlap = np.where(labels == labels[best], iou_matrix(ranked[best : best + 1], ranked)[0], 0)
        if decay == "linear":
            left = np.where(overlap > iou, left * (1 - overlap), left)
        else:
            left = left * np.exp(-(overlap**2) / sigma)
        rest = left >= least
        rest[best] = False
        order, ranked, labels, left = order[rest], ranked[rest], labels[rest], left[rest]
    return np.array(kept, np.intp), np.array(final, np.float32)


def mask_nms(found: Detections, iou: float, size: tuple[int, int]) -> NDArray[np.intp]:
    """Return the indices kept by greedy NMS per class on the masks' own IoU, best score first.

    size is the picture's (width, height): masks are compared pixel by pixel, inside their boxes.
    """
    from engines.masks import bitmap

    order = _ranked(found.boxes, found.scores)
    pictures = [bitmap(found.masks, row, found.boxes[row], size) for row in order.tolist()]
    touching = iou_matrix(found.boxes[order], found.boxes[order]) > 0
    same = found.classes[order][:, None] == found.classes[order]
    alive, kept = np.ones(len(order), np.bool_), []
    for row in range(len(order)):
        if not alive[row]:
            continue
        kept.append(row)
        for other in np.flatnonzero(alive & touching[row] & same[row]).tolist():
            if other > row and _bitmap_iou(pictures[row], pictures[other]) > iou:
                alive[other] = False
    return order[kept]


def fuse(models: Sequence[Detections], *, iou: float = 0.55, weights: Sequence[float] = ()) -> Detections:
    """Return what several models found in one picture as one: weighted box fusion (Solovyev et al. 2021).

    Boxes of a class that overlap by more than ``iou`` become their mean, weighted by score times the model's
    weight; its score is their mean, less where not every model saw it. Best first; no masks, no keypoints.

    Raises InputError for no models, or another number of weights.
    """
    if not isinstance(models, Sequence) or not models:
        raise InputError("fuse: a list of what each model found is right, with one model at least")
    shares = np.array(weights or [1.0] * len(models))
    if len(shares) != len(models):
        raise InputError(f"fuse: {len(models)} models but {len(shares)} weights")
    found = [one[_ranked(one.boxes, one.scores)] for one in models]
    boxes = np.concatenate([one.boxes for one in found])
    classes = np.concatenate([one.classes for one in found])
    worth = np.concatenate([one.scores * share for one, share in zip(found, shares, strict=True)])
    groups: list[list[int]] = []
    fused = np.zeros((0, 4), np.float32)
    labels = np.zeros(0, np.int32)
    for row in np.argsort(-worth, kind="stable").tolist():
        overlap = np.where(labels == classes[row], iou_matrix(boxes[row : row + 1], fused)[0], 0)
        at = int(overlap.argmax()) if len(fused) else -1
        if at < 0 or overlap[at] <= iou:
            groups.append([row])
            fused, labels = np.append(fused, boxes[row : row + 1], axis=0), np.append(labels, classes[row])
            continue
        groups[at].append(row)
        if worth[groups[at]].any():  # of those that are worth nothing the first one stays
            fused[at] = np.average(boxes[groups[at]], axis=0, weights=worth[groups[at]])
    scores = np.array([worth[g].mean() * min(len(g), len(models)) / shares.sum() for g in groups])
    best = np.argsort(-scores, kind="stable")
    return Detections.of(fused[best], scores[best], labels[best])


def iou_matrix(a: Boxes, b: Boxes) -> Boxes:
    """Return the intersection over union (N,M) of xyxy boxes (N,4) and (M,4); boxes without area give 0."""
    ax1, ay1, ax2, ay2 = np.ascontiguousarray(a.T)[:, :, None]
    bx1, by1, bx2, by2 = np.ascontiguousarray(b.T)[:, None, :]
    inter: Boxes = np.minimum(ax2, bx2)
    other = np.maximum(ax1, bx1)  # from here in place: memory is what it costs
    inter -= other
    np.maximum(inter, 0, out=inter)
    height = np.minimum(ay2, by2)
    height -= np.maximum(ay1, by1, out=other)
    np.maximum(height, 0, out=height)
    inter *= height
    union = np.add((ax2 - ax1) * (ay2 - ay1), (bx2 - bx1) * (by2 - by1), out=other)
    union -= inter
    inter /= np.maximum(union, _TINY, out=union)
    return inter


def diou_matrix(a: Boxes, b: Boxes) -> Boxes:
    """Return DIoU (N,M), -1..1: IoU less the squared distance of centres over that of the hull's corners."""
    ax1, ay1, ax2, ay2 = a.T[:, :, None]
    bx1, by1, bx2, by2 = b.T[:, None, :]
    away: Boxes = (ax1 + ax2 - bx1 - bx2) ** 2 + (ay1 + ay2 - by1 - by2) ** 2
    hull = (np.maximum(ax2, bx2) - np.minimum(ax1, bx1)) ** 2
    hull += (np.maximum(ay2, by2) - np.minimum(ay1, by1)) ** 2
    away /= np.maximum(4 * hull, _TINY)
    away -= iou_matrix(a, b)
    return np.negative(away, out=away)


def _ranked(boxes: Boxes, scores: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the rows that are finite, best score first, of equals the lower index."""
    order = np.argsort(-scores, kind="stable")
    sound = np.isfinite(boxes).all(axis=1) & np.isfinite(scores)
    return order[np.take(sound, order)]


def _walk(boxes: list[list[float]], scores: list[float], labels: list[int], limit: float) -> list[int]:
    """Greedy NMS of a few rows, as `nms`: each one against those that are kept before it."""
    kept: list[int] = []
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in boxes]
    for row in sorted(range(len(boxes)), key=scores.__getitem__, reverse=True):
        x1, y1, x2, y2 = boxes[row]
        if not math.isfinite(x1 + y1 + x2 + y2 + scores[row]):
            continue
        for other in kept:
            if labels[other] != labels[row]:
                continue
            a1, b1, a2, b2 = boxes[other]
            inter = max(min(x2, a2) - max(x1, a1), 0.0) * max(min(y2, b2) - max(y1, b1), 0.0)
            if inter / max(areas[row] + areas[other] - inter, _TINY) > limit:
                break
        else:
            kept.append(row)
    return kept


def _suppress(
    boxes: Boxes, scores: NDArray[np.float32], labels: NDArray[np.integer], limit: float, overlap: Overlap
) -> NDArray[np.intp]:
    order = _ranked(boxes, scores)
    ranked, labels = np.ascontiguousarray(boxes[order]), labels[order]
    if len(order) <= _ONE_MATRIX:
        return order[_greedy(_later(ranked, labels, limit, overlap))]
    kept = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        kept.append(rows[_greedy(_later(ranked[rows], labels[rows], limit, overlap))])
    return order[np.sort(np.concatenate(kept))]


def _later(boxes: Boxes, labels: NDArray[np.integer], limit: float, overlap: Overlap) -> NDArray[np.bool_]:
    """Which rows (N,N) overlap a later one of their class; a few at a time, which stay in the cache."""
    found = np.zeros((len(boxes), len(boxes)), bool)
    for at in range(0, len(boxes), _FEW):
        part = found[at : at + _FEW, at:]
        np.greater(overlap(boxes[at : at + _FEW], boxes[at:]), limit, out=part)
        part &= labels[at : at + _FEW, None] == labels[at:]
    np.fill_diagonal(found, False)
    return found


def _greedy(overlaps: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Walk rows from best to worst; a kept row kills what it overlaps. An integer holds a row."""
    count = len(overlaps)
    packed = np.packbits(overlaps, axis=1, bitorder="little")
    width, raw = packed.shape[1], packed.tobytes()
    dead = 0
    for row in np.flatnonzero(packed.any(axis=1)).tolist():  # most overlap nothing
        if not dead >> row & 1:
            dead |= int.from_bytes(raw[row * width : (row + 1) * width], "little")
    bits = np.frombuffer(dead.to_bytes(width, "little"), np.uint8)
    return np.flatnonzero(np.unpackbits(bits, count=count, bitorder="little") == 0)


def _bitmap_iou(one: tuple[int, int, NDArray[np.uint8]], other: tuple[int, int, NDArray[np.uint8]]) -> float:
    """Return the IoU of two masks, each (left, top, pixels)."""
    left, top = max(one[0], other[0]), max(one[1], other[1])
    right = min(one[0] + one[2].shape[1], other[0] + other[2].shape[1])
    bottom = min(one[1] + one[2].shape[0], other[1] + other[2].shape[0])
    shared = 0
    if left < right and top < bottom:
        first, second = (
            picture[top - y : bottom - y, left - x : right - x] for x, y, picture in (one, other)
        )
        shared = int(np.count_nonzero(first & second))
    union = int(np.count_nonzero(one[2])) + int(np.count_nonzero(other[2])) - shared
    return shared / union if union else 0.0

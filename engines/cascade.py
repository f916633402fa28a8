"""Cascade: a second model on the parts of the picture that the first has found, and both results as one.

What the second model gives decides how they are joined: joints of one person become the keypoints of its
row, a vector its embedding, a class of the whole part its class, and things found in it rows of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from engines.detections import Detections, Masks
from engines.errors import InputError
from engines.spec import ModelSpec
from engines.suppress import nms

if TYPE_CHECKING:
    from engines.model import Model

__all__ = ["Role", "joined", "parts", "predict", "role", "together"]

Role = Literal["joints", "embedding", "class", "things"]
Rects = NDArray[np.intp]  # (N, 4) x1 y1 x2 y2 in whole pixels

_ONE_PERSON = ("heatmaps", "simcc")  # layouts whose picture is one person
_AROUND = 1.25  # of a person's box, that top-down estimators are trained with


def role(second: ModelSpec) -> Role:
    """Return how a second model's results are joined to the first's. InputError for one that gives masks."""
    if second.task == "embed":
        return "embedding"
    if second.task == "classify":
        return "class"
    if second.task == "segment":
        raise InputError(
            f"then: {second.name} gives masks, a model that gives boxes, joints, a class or a vector is right"
        )
    return "joints" if second.layout in _ONE_PERSON else "things"


def together(first: ModelSpec, second: ModelSpec) -> ModelSpec:
    """Return what the two give as one: the second's classes come after the first's, but for names known."""
    kind = role(second)
    names = (*first.classes, *(name for name in second.classes if name not in first.classes))
    if kind == "embedding" or kind == "joints":
        names = first.classes
    if second.keypoints and first.keypoints and kind == "things" and first.keypoints != second.keypoints:
        raise InputError(f"then: {first.name} and {second.name} both give keypoints, and not the same")
    points = second if second.keypoints else first
    return replace(first, classes=names, keypoints=points.keypoints, skeleton=points.skeleton)


def parts(boxes: NDArray[np.float32], size: tuple[int, int], second: ModelSpec, margin: float = 0.0) -> Rects:
    """Return what of a picture of ``size`` (width, height) the second model is to see for each box (N,4).

    The box ``margin`` times as large, 0 for what suits the model; in the proportions of the input for one
    person's joints, and where things would otherwise be stretched. It ends with the picture, begins at even
    pixels, as chroma does, and is never empty.
    """
    one_person = second.layout in _ONE_PERSON
    grown = margin or (_AROUND if one_person else 1.0)
    centre = (boxes[:, :2].astype(np.float64) + boxes[:, 2:]) / 2
    half = (boxes[:, 2:].astype(np.float64) - boxes[:, :2]) / 2 * grown
    if one_person or (second.resize == "stretch" and role(second) == "things"):
        width, height = second.size
        half[:, 0], half[:, 1] = (
            np.maximum(half[:, 0], half[:, 1] * width / height),
            np.maximum(half[:, 1], half[:, 0] * height / width),
        )
    limit = np.array(size)
    low = np.clip(np.floor(centre - half), 0, np.maximum(limit - 2, 0)).astype(np.intp) // 2 * 2
    high = np.minimum(np.maximum(np.ceil(centre + half).astype(np.intp), low + 2), limit)
    rects: Rects = np.concatenate([low, high + (high % 2) * (high < limit)], axis=1)
    return rects


def joined(
    found: Detections,
    rows: NDArray[np.intp],
    rects: Rects,
    given: Sequence[Detections] | NDArray[np.float32],
    specs: tuple[ModelSpec, ModelSpec],
) -> Detections:
    """Return the first model's detections with what the second gave for each of ``rows``.

    ``given`` has one entry for each row, in pixels of its rectangle, or is their vectors (len(rows), D).
    specs: of the first and the second. Rows keep their places; rows of their own come after them.
    """
    first, second = specs
    if isinstance(given, np.ndarray):
        vectors = np.zeros((len(found), given.shape[1]), np.float32)
        vectors[rows] = given
        return replace(found, embeddings=vectors)
    kind = role(second)
    names = together(first, second).classes
    if kind == "joints":
        points = np.zeros((len(found), len(second.keypoints), 3), np.float32)
        for row, rect, one in zip(rows.tolist(), rects, given, strict=True):
            if len(one):
                points[row] = one.keypoints[0]
                points[row, :, :2] += rect[:2]
        return replace(found, keypoints=points)
    ids = np.array([names.index(name) for name in second.classes], np.int32)
    if kind == "class":
        classes = found.classes.copy()
        for row, one in zip(rows.tolist(), given, strict=True):
            if len(one):
                classes[row] = ids[one.classes[0]]
        return replace(found, classes=classes)
    return _more(found, [_moved(one, rect, ids) for one, rect in zip(given, rects, strict=True)], specs)


def predict(
    models: tuple[Model, Model], picture: NDArray[np.uint8], classes: Sequence[int] = (), margin: float = 0.0
) -> Detections:
    """Run two models on one RGB picture (H, W, 3): the second on the parts where the first finds something.

    classes: of the first model, whose boxes the second is to see, () = all.
    """
    one, other = models
    (found,) = one.predict([picture])
    chosen = np.isin(found.classes, classes) if len(classes) else np.ones(len(found), np.bool_)
    rows = np.flatnonzero(chosen)
    rects = parts(found.boxes[rows], (picture.shape[1], picture.shape[0]), other.spec, margin)
    cut = [np.ascontiguousarray(picture[y1:y2, x1:x2]) for x1, y1, x2, y2 in rects.tolist()]
    given = other.embed(cut) if role(other.spec) == "embedding" else other.predict(cut)
    return joined(found, rows, rects, given, (one.spec, other.spec))


def _moved(one: Detections, rect: NDArray[np.intp], ids: NDArray[np.int32]) -> Detections:
    """What was found in a part, in pixels of the picture and classes of both models."""
    corner = rect[:2].astype(np.float32)
    points = one.keypoints.copy()
    points[..., :2] += corner
    return replace(one, boxes=one.boxes + np.tile(corner, 2), classes=ids[one.classes], keypoints=points)


def _more(found: Detections, extra: Sequence[Detections], specs: tuple[ModelSpec, ModelSpec]) -> Detections:
    """Append what was found in parts, once where parts overlap; who has no joints or mask gets blank ones."""
    joints = max(len(spec.keypoints) for spec in specs)
    all_ = [found, *extra]
    boxes = np.concatenate([one.boxes for one in all_])
    scores = np.concatenate([one.scores for one in all_])
    classes = np.concatenate([one.classes for one in all_])
    new = np.arange(len(found), len(boxes))
    kept = new[nms(boxes[new], scores[new], classes[new], min(specs[1].iou, 0.5))]
    rows = np.concatenate([np.arange(len(found)), kept])
    points = np.concatenate([_with_joints(one.keypoints, joints) for one in all_])[rows]
    masks = found.masks
    if len(masks):
        masks = Masks(
            (*masks.grids, *([np.ones((1, 1), np.float32)] * len(kept))),
            np.concatenate([masks.regions, boxes[kept]]),
        )
    vectors = found.embeddings
    if vectors.shape[1]:
        vectors = np.concatenate([vectors, np.zeros((len(kept), vectors.shape[1]), np.float32)])
    return Detections.of(
        boxes[rows], scores[rows], classes[rows], keypoints=points, masks=masks, embeddings=vectors
    )


def _with_joints(points: NDArray[np.float32], joints: int) -> NDArray[np.float32]:
    return points if points.shape[1] == joints else np.zeros((len(points), joints, 3), np.float32)

"""Parity: whether two engines of one model, or two places in one batch, say the same of the same pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from engines.detections import Masks
from engines.engine import Engine, StateEngine, StateRequest
from engines.masks import bitmap
from engines.suppress import iou_matrix

__all__ = ["Difference", "Pair", "compare", "outputs", "pictures"]

Tensors = dict[str, NDArray[Any]]  # of one picture
Rows = NDArray[np.intp]

_RANKS = 20  # best candidates of each picture that are compared
_STEP = (2, 4)  # rows and columns by which a picture moves until the next
_CLEAR = 0.1  # score from which a candidate must be found again
_SEEN = 0.5  # visibility from which a joint must be


@dataclass(frozen=True, slots=True)
class Difference:
    """The worst that was seen over some pictures."""

    score: float  # between candidates of equal rank; of embeddings 1 less their cosine; inf = not finite
    iou: float  # of a clear candidate with the nearest of the other engine; 1 = the same box
    masks: float = 1.0  # IoU of the masks of a picture's clear candidates, all together
    keypoints: float = 0.0  # mean distance of the joints seen in a picture, over their boxes' diagonals

    @property
    def none(self) -> bool:
        """Whether both ran the same arithmetic."""
        return self.score <= 0.01 and self.iou >= 0.98 and self.masks >= 0.95 and self.keypoints <= 0.02

    @property
    def small(self) -> bool:
        """Whether a user would call the detections the same.

        Measured in bfloat16 against fp32 on scenes: YOLOv8n, its segmenter and YOLO11n-pose differ by .02 to
        .04 and keep their average precision; YOLOX-nano differs by .23, loses one per cent of it, and is
        refused. Masks and joints of the shipped models: at least .99, and at most .013.
        """
        return self.score <= 0.1 and self.iou >= 0.8 and self.masks >= 0.8 and self.keypoints <= 0.1

    def __str__(self) -> str:
        said = f"scores differ by up to {self.score:.3f}, boxes overlap by at least {self.iou:.2f}"
        if self.masks < 1:
            said += f", masks by {self.masks:.2f}"
        if self.keypoints > 0:
            said += f", joints are {self.keypoints:.3f} of a box apart"
        return said


def compare(reference: Sequence[Tensors], other: Sequence[Tensors], size: tuple[int, int]) -> Difference:
    """Compare the candidates of the same pictures, before suppression; size is the input's (width, height).

    Near equals may swap ranks, so scores are compared rank by rank, and all else with the nearest box. The
    edge of a mask and a faint joint are rounding's: masks and joints of a picture are judged together.
    """
    seen = [_difference(mine, theirs, size) for mine, theirs in zip(reference, other, strict=True)]
    return Difference(
        max(one.score for one in seen),
        min(one.iou for one in seen),
        min(one.masks for one in seen),
        max(one.keypoints for one in seen),
    )


def _difference(mine: Tensors, theirs: Tensors, size: tuple[int, int]) -> Difference:
    """What differs in one picture."""
    if not all(np.isfinite(values).all() for values in (*mine.values(), *theirs.values())):
        return Difference(np.inf, 0.0)
    if "embeddings" in mine:
        return Difference(max(1 - float(mine["embeddings"] @ theirs["embeddings"]), 0.0), 1.0)
    score = float(np.abs(mine["scores"] - theirs["scores"])[:_RANKS].max())
    clear = np.flatnonzero(mine["scores"][:_RANKS] >= _CLEAR)
    if not len(clear):
        return Difference(score, 1.0)
    overlaps = iou_matrix(mine["boxes"][clear], theirs["boxes"])
    iou, near = float(overlaps.max(axis=1).min()), overlaps.argmax(axis=1)
    masks = _overlap(mine, theirs, (clear, near), size) if "prototypes" in mine else 1.0
    keypoints = _distance(mine, theirs, (clear, near)) if "keypoints" in mine else 0.0
    return Difference(score, iou, masks, keypoints)


def _overlap(mine: Tensors, theirs: Tensors, rows: tuple[Rows, Rows], size: tuple[int, int]) -> float:
    """IoU of the masks of both together, each pair inside the box of mine."""
    both = [_mixed(tensors, part, size) for tensors, part in zip((mine, theirs), rows, strict=True)]
    shared = covered = 0
    for row, box in enumerate(mine["boxes"][rows[0]]):
        one, other = (bitmap(masks, row, box, size)[2] for masks in both)
        shared += int(np.count_nonzero(one & other))
        covered += int(np.count_nonzero(one | other))
    return shared / covered if covered else 1.0


def _mixed(tensors: Tensors, rows: Rows, size: tuple[int, int]) -> Masks:
    """The masks of some rows, over the whole input."""
    grids = np.tensordot(tensors["coefficients"][rows], tensors["prototypes"], 1)
    return Masks(tuple(grids), np.tile(np.array([0, 0, *size], np.float32), (len(rows), 1)))


def _distance(mine: Tensors, theirs: Tensors, rows: tuple[Rows, Rows]) -> float:
    """Mean distance of the joints that mine sees, over their boxes' diagonals; at most 1 for each."""
    one, other, boxes = mine["keypoints"][rows[0]], theirs["keypoints"][rows[1]], mine["boxes"][rows[0]]
    unit = np.maximum(np.linalg.norm(boxes[:, 2:] - boxes[:, :2], axis=1), 1)
    away = np.linalg.norm((one - other)[..., :2], axis=2) / unit[:, None]
    seen = one[..., 2] >= _SEEN
    return float(np.minimum(away[seen], 1).mean()) if seen.any() else 0.0


def outputs(engine: Engine, images: Sequence[NDArray[np.uint8]]) -> list[Tensors]:
    """Run pictures of the engine's input size, batch after batch, and copy what comes out, one by one."""
    request = engine.requests[0]
    (pixels,) = request.inputs.values()
    found: list[Tensors] = []
    for start in range(0, len(images), len(pixels)):
        part = images[start : start + len(pixels)]
        pixels[: len(part)] = np.stack(part)
        request.start(len(part))
        results = request.wait()
        found += [
            {name: values[slot].copy() for name, values in results.items()} for slot in range(len(part))
        ]
    return found


@dataclass(frozen=True, slots=True)
class Pair:
    """The engines of one model: one, or of a model for video that of key frames and that of others."""

    key: Engine
    between: StateEngine | None = None

    def outputs(self, images: Sequence[NDArray[np.uint8]]) -> list[Tensors]:
        """Run pictures as `outputs` does; then each one moved a little, as the frame after it."""
        found = outputs(self.key, images)
        if self.between is None:
            return found
        batch = self.between.inputs[0].shape[0]
        key, later = self.key.requests[0], cast("StateRequest", self.between.requests[0])
        rooms = [self.between.memory() for _ in range(batch)]
        for row, room in enumerate(rooms):
            cast("StateRequest", key).bind(row, room)
            later.bind(row, room)
        for start in range(0, len(images), batch):
            part = images[start : start + batch]
            outputs(self.key, part)
            found += outputs(self.between, [np.roll(image, _STEP, (0, 1)) for image in part])
        return found

    def close(self) -> None:
        """Free what both hold."""
        self.key.close()
        if self.between is not None:
            self.between.close()


def pictures(size: tuple[int, int], count: int) -> list[NDArray[np.uint8]]:
    """Rendered scenes of ``size`` (width, height), no two alike."""
    import cv2

    from engines.scenes import Scene

    rendered = (max(size[0], 64), max(size[1], 64))  # no scene is smaller
    scenes = [Scene(size=rendered, seed=seed) for seed in range(count)]
    return [np.asarray(cv2.resize(scene.render(10)[0], size), np.uint8) for scene in scenes]

"""Parity: whether two engines of one model, or two places in one batch, say the same of the same pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from engines.engine import Engine, StateEngine, StateRequest
from engines.suppress import iou_matrix

__all__ = ["Difference", "Pair", "compare", "outputs", "pictures"]

Tensors = dict[str, NDArray[Any]]  # of one picture

_RANKS = 20  # best candidates of each picture that are compared
_STEP = (2, 4)  # rows and columns by which a picture moves until the next
_CLEAR = 0.1  # score from which a candidate must be found again


@dataclass(frozen=True, slots=True)
class Difference:
    """The worst that was seen over some pictures."""

    score: float  # between candidates of equal rank; of embeddings 1 less their cosine
    iou: float  # of a clear candidate with the nearest of the other engine; 1 = the same box

    @property
    def none(self) -> bool:
        """Whether both ran the same arithmetic."""
        return self.score <= 0.01 and self.iou >= 0.98

    @property
    def small(self) -> bool:
        """Whether a user would call the detections the same.

        Measured in bfloat16 against fp32 on scenes: YOLOv8n, its segmenter and YOLO11n-pose differ by .02 to
        .04 and keep their average precision; YOLOX-nano differs by .23, loses one per cent of it, and is
        refused.
        """
        return self.score <= 0.1 and self.iou >= 0.8

    def __str__(self) -> str:
        return f"scores differ by up to {self.score:.3f}, boxes overlap by at least {self.iou:.2f}"


def compare(reference: Sequence[Tensors], other: Sequence[Tensors]) -> Difference:
    """Compare the candidates of the same pictures, before suppression.

    Near equals may swap ranks, so scores are compared rank by rank, and boxes with the nearest box.
    """
    score, iou = 0.0, 1.0
    for mine, theirs in zip(reference, other, strict=True):
        if "embeddings" in mine:
            score = max(score, 1 - float(mine["embeddings"] @ theirs["embeddings"]))
            continue
        score = max(score, float(np.abs(mine["scores"] - theirs["scores"])[:_RANKS].max()))
        clear = mine["scores"][:_RANKS] >= _CLEAR
        if clear.any():
            overlaps = iou_matrix(mine["boxes"][:_RANKS][clear], theirs["boxes"])
            iou = min(iou, float(overlaps.max(axis=1).min()))
    return Difference(score, iou)


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

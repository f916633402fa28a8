"""Survivors: which candidates of a picture stay, by the kind of suppression that was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engines.suppress import diou_nms, fast_nms, nms, soft_nms

__all__ = ["Suppression", "Survivors"]

Suppression = Literal["greedy", "soft", "soft-linear", "diou", "fast", "mask"]
Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Survivors:
    """A kind of suppression and its limits. "mask" keeps all here: masks are compared once they are made."""

    kind: Suppression
    iou: float  # overlap above which the weaker of two goes
    agnostic: bool  # whatever their classes
    least: float  # score under which nothing stays, for the kinds that lower scores

    def rows(
        self, boxes: NDArray[np.float32], scores: Scores, classes: NDArray[np.int32]
    ) -> tuple[NDArray[np.intp], Scores]:
        """Return the rows that stay, best first, and their scores; boxes (N,4), scores and classes (N,)."""
        if self.kind == "greedy":
            rows = nms(boxes, scores, classes, self.iou, class_agnostic=self.agnostic)
            return rows, scores[rows]
        labels = np.zeros_like(classes) if self.agnostic else classes
        if self.kind in ("soft", "soft-linear"):
            decay: Literal["gaussian", "linear"] = "gaussian" if self.kind == "soft" else "linear"
            return soft_nms(boxes, scores, labels, decay=decay, iou=self.iou, least=self.least)
        if self.kind == "mask":
            rows = np.arange(len(boxes))
        else:
            rows = (diou_nms if self.kind == "diou" else fast_nms)(boxes, scores, labels, self.iou)
        return rows, scores[rows]

"""How good frames between key frames are: against the whole network, and against doing nothing at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.detections import Detections
from trainers.data.clips import Clip
from trainers.data.scenes import CLASSES
from trainers.evaluate import Report, measure, predictor
from trainers.models.yolactedge import State, YolactEdgeVideo

__all__ = ["WAYS", "Way", "measure_clips"]

Way = Literal["key", "between", "copy"]
WAYS: tuple[Way, ...] = ("key", "between", "copy")


def measure_clips(net: YolactEdgeVideo, size: tuple[int, int], clips: Sequence[Clip], way: Way) -> Report:
    """Measure all frames of the clips but the first.

    ``key``: each is a key frame, run through the whole network. ``between``: it borrows from the clip's first
    frame. ``copy``: it shows what was found in the first frame, where it was found.
    """
    frames = [frame for clip in clips for frame in clip[1:]]
    found = iter([detections for clip in clips for detections in _found(net, size, clip, way)])

    def answer(images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        return [next(found) for _ in images]

    return measure(answer, frames, CLASSES)


def _found(net: YolactEdgeVideo, size: tuple[int, int], clip: Clip, way: Way) -> list[Detections]:
    first, *later = (frame.image for frame in clip)
    through = _Through(net)
    predict = predictor(through, size)
    if way == "key":
        return predict(later)
    found = predict([first])
    if way == "copy":
        return found * len(later)
    through.between = True
    return predict(later)


class _Through(torch.nn.Module):
    """The video model as a network of pictures: key frames, or frames between after the last key frame."""

    def __init__(self, net: YolactEdgeVideo) -> None:
        super().__init__()
        self.net, self.input = net, net.input
        self.between = False
        self._state: State | None = None

    def forward(self, images: Tensor) -> Any:
        if self.between and self._state is not None:
            return self.net.between(images, self._state)
        output, self._state = self.net.key(images)
        return output

    def decode(self, output: Any) -> dict[str, Tensor]:
        return self.net.decode(output)

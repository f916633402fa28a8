"""How good frames between key frames are: against the whole network, and against doing nothing at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

__all__ = ["WAYS", "Look", "Way", "by_torch", "measure_clips"]

Way = Literal["key", "between", "copy"]
WAYS: tuple[Way, ...] = ("key", "between", "copy")

Look = Callable[[NDArray[np.uint8], bool], Detections]  # an RGB picture, whether it is a key frame


def measure_clips(look: Look, clips: Sequence[Clip], way: Way) -> Report:
    """Measure all frames of the clips but the first.

    ``key``: each is a key frame, run through the whole network. ``between``: it borrows from the clip's first
    frame. ``copy``: it shows what was found in the first frame, where it was found.
    """
    frames = [frame for clip in clips for frame in clip[1:]]
    found = iter([detections for clip in clips for detections in _found(look, clip, way)])

    def answer(images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        return [next(found) for _ in images]

    return measure(answer, frames, CLASSES)


def by_torch(net: YolactEdgeVideo, size: tuple[int, int]) -> Look:
    """Return a function that runs the network in torch, slow and simple."""
    through = _Through(net)
    predict = predictor(through, size)

    def look(image: NDArray[np.uint8], key: bool) -> Detections:
        through.between = not key
        return predict([image])[0]

    return look


def _found(look: Look, clip: Clip, way: Way) -> list[Detections]:
    first, *later = (frame.image for frame in clip)
    if way == "key":
        return [look(image, True) for image in later]
    found = look(first, True)
    return [found] * len(later) if way == "copy" else [look(image, False) for image in later]


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

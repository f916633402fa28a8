"""ModelSpec: everything the runtime needs to know of a model, wherever it was learnt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["ModelSpec", "Resize", "Task"]

Task = Literal["detect", "segment", "pose", "classify", "embed"]
Resize = Literal["letterbox", "letterbox-topleft", "stretch"]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a model takes and gives. The network sees ``(pixel * scale - mean) / std``, channel by channel."""

    name: str
    task: Task
    layout: str  # key of engines.layouts.LAYOUTS: what the network's raw outputs mean
    classes: tuple[str, ...]
    size: tuple[int, int]  # width, height of the input picture in pixels
    resize: Resize = "letterbox"
    pad: int = 114  # grey level around a letterboxed picture
    colour: Literal["rgb", "bgr"] = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)  # in the network's colour order
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    conf: float = 0.25  # default score threshold
    iou: float = 0.45  # default NMS threshold
    keypoints: tuple[str, ...] = ()  # names, in order
    skeleton: tuple[tuple[int, int], ...] = ()  # pairs of keypoint indices, 0-based
    between: str = ""  # file for frames between key frames, beside the one of key frames; "" = there is none
    state: tuple[str, ...] = ()  # tensors that a key frame leaves for the frames until the next
    notes: tuple[str, ...] = ()  # what was assumed, and which outputs are left, one sentence each
    reasons: tuple[str, ...] = ()  # how each fact was learnt, for `engines inspect`

"""What a network's raw outputs mean: one table of families.

Each family is a module with two functions: one that tells from names and shapes whether outputs are its own,
one that appends their decoding to a graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from math import ceil
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from engines.network import Network
    from engines.nodes import Nodes
    from engines.spec import ModelSpec

__all__ = [
    "LAYOUTS",
    "Candidates",
    "Decoder",
    "Embedding",
    "Raw",
    "Recogniser",
    "UnsureError",
    "cells",
    "decoder",
    "grids",
    "recogniser",
]

LAYOUTS = {  # name -> (module of this package, what its two functions are called after their verb)
    "dense": ("dense", ""),
    "ultralytics": ("ultralytics", ""),
    "ultralytics-end2end": ("detections", "_ultralytics"),
    "ultralytics-rtdetr": ("detr", "_ultralytics"),
    "yolov5": ("yolov5", ""),
    "yolov7-end2end": ("detections", "_yolov7"),
    "counted": ("counted", ""),
    "tensorflow": ("counted", "_tensorflow"),
    "yolo-nas-flat": ("detections", "_yolonas"),
    "yolox": ("yolox", ""),
    "yolox-decoded": ("yolox", "_decoded"),
    "nanodet": ("nanodet", ""),
    "nanodet-plus": ("nanodet", "_plus"),
    "ultraface": ("ssd", "_ultraface"),
    "ultraface-decoded": ("ssd", "_decoded"),
    "torchvision-ssd": ("ssd", "_torchvision"),
    "torchvision-retinanet": ("retinanet", ""),
    "torchvision": ("torchvision", ""),
    "retinaface": ("retinaface", ""),
    "detectionoutput": ("detections", "_detectionoutput"),
    "yolact": ("yolact", ""),
    "detr": ("detr", ""),
    "detr-softmax": ("detr", "_softmax"),
    "rf-detr": ("detr", "_rfdetr"),
    "rtdetr": ("detections", "_rtdetr"),
    "mmdet": ("detections", "_mmdet"),
    "rtmo": ("detections", "_rtmo"),
    "heatmaps": ("topdown", "_heatmaps"),
    "simcc": ("topdown", "_simcc"),
    "embedding": ("embedding", ""),
    "classifier": ("classifier", ""),
}

# Fields of ModelSpec that the family implies, given those already known; None where the outputs are not its
# own. Raises `UnsureError` where they could be.
Recogniser = Callable[["Network", Mapping[str, Any]], "dict[str, Any] | None"]
Decoder = Callable[["Nodes", "ModelSpec", Mapping[str, "Raw"]], "Candidates | Embedding"]


class UnsureError(Exception):
    """The outputs fit this family and another, and nothing in the file tells which: why, for people."""


@dataclass(frozen=True, slots=True)
class Raw:
    """One output of the network as its file has it."""

    tensor: str  # its name in the graph being composed
    shape: tuple[int, ...]  # the first axis is the batch; 0 is an axis of open length
    dtype: str = "float32"  # as the file has it; in the graph being composed it is float32


@dataclass(frozen=True, slots=True)
class Candidates:
    """N scored places of a network, decoded only where selection wants them.

    `pick` takes an index (B, K) and gives tensors: boxes (B,K,4) xyxy input pixels, probabilities (B,K,C) in
    any unit that keeps their order, and for their tasks keypoints (B,K,J,3) or coefficients (B,K,P).
    """

    count: int  # N
    classes: int  # C
    best: str  # tensor (B, N): the score of each place's best class
    every: Callable[[], str] = field(repr=False)  # appends the scores of all classes: (B, N, C)
    pick: Callable[[str], dict[str, str]] = field(repr=False)
    prototypes: str = ""  # tensor (B, P, h, w)
    labelled: bool = False  # each place has one class only: `pick` gives classes (B,K), not probabilities


@dataclass(frozen=True, slots=True)
class Embedding:
    """What a network gives that compares pictures: one vector of length one for each."""

    tensor: str  # (B, D)
    width: int  # D


def recogniser(name: str) -> Recogniser:
    """Return the function that knows the outputs of one family; ``name`` is a key of `LAYOUTS`."""
    return cast("Recogniser", _load(name, "recognise"))


def decoder(name: str) -> Decoder:
    """Return the function that decodes the outputs of one family; ``name`` is a key of `LAYOUTS`."""
    return cast("Decoder", _load(name, "decode"))


def cells(size: tuple[int, int], strides: tuple[int, ...] = (8, 16, 32)) -> int:
    """How many cells the grids of an input of ``size`` (width, height) have together."""
    return sum(ceil(size[0] / stride) * ceil(size[1] / stride) for stride in strides)


def grids(size: tuple[int, int], strides: tuple[int, ...] = (8, 16, 32)) -> NDArray[np.float32]:
    """Column, row and stride (N, 3) of each cell, grid after grid, row after row."""
    levels = []
    for stride in strides:
        rows, columns = np.mgrid[: ceil(size[1] / stride), : ceil(size[0] / stride)].reshape(2, -1)
        levels.append(np.stack([columns, rows, np.full_like(rows, stride)], 1))
    return np.concatenate(levels).astype(np.float32)


def _load(name: str, verb: str) -> object:
    module, ending = LAYOUTS[name]
    return getattr(import_module(f"engines.layouts.{module}"), verb + ending)

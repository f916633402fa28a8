"""What a network's raw outputs mean: one table of families.

Each family is a module with two functions: one that tells from names and shapes whether outputs are its own,
one that appends their decoding to a graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from engines.network import Network
    from engines.nodes import Nodes
    from engines.spec import ModelSpec

__all__ = ["LAYOUTS", "Candidates", "Decoder", "Raw", "Recogniser", "cells", "decoder", "recogniser"]

LAYOUTS = {
    "dense": ("engines.layouts.dense:recognise", "engines.layouts.dense:decode"),
    "ultralytics": ("engines.layouts.ultralytics:recognise", "engines.layouts.ultralytics:decode"),
    "yolox": ("engines.layouts.yolox:recognise", "engines.layouts.yolox:decode"),
}

# Fields of ModelSpec that the family implies, given those already known; None where the outputs are not its
# own.
Recogniser = Callable[["Network", Mapping[str, Any]], "dict[str, Any] | None"]
Decoder = Callable[["Nodes", "ModelSpec", Mapping[str, "Raw"]], "Candidates"]


@dataclass(frozen=True, slots=True)
class Raw:
    """One output of the network as its file has it."""

    tensor: str  # its name in the graph being composed
    shape: tuple[int, ...]  # the first axis is the batch


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


def recogniser(name: str) -> Recogniser:
    """Return the function that knows the outputs of one family; ``name`` is a key of `LAYOUTS`."""
    return cast("Recogniser", _load(LAYOUTS[name][0]))


def decoder(name: str) -> Decoder:
    """Return the function that decodes the outputs of one family; ``name`` is a key of `LAYOUTS`."""
    return cast("Decoder", _load(LAYOUTS[name][1]))


def cells(size: tuple[int, int], strides: tuple[int, ...] = (8, 16, 32)) -> int:
    """How many cells the grids of an input of ``size`` (width, height) have together."""
    return sum((size[0] // stride) * (size[1] // stride) for stride in strides)


def _load(path: str) -> object:
    module, function = path.split(":")
    return getattr(import_module(module), function)

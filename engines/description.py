"""Description: what a model is understood to be, without compiling it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engines.engine import TensorSpec
from engines.locate import locate
from engines.spec import ModelSpec

__all__ = ["Description", "describe", "nms_iou"]


@dataclass(frozen=True, slots=True)
class Description:
    """One model file and the spec that was resolved for it."""

    path: Path
    megabytes: float
    opset: int
    input: TensorSpec  # as the file has it; an open axis is 0
    outputs: tuple[TensorSpec, ...]
    spec: ModelSpec  # its `reasons` say how each fact was learnt


def describe(model: str | Path) -> Description:
    """Understand a model: a path (.onnx or a .yaml card) or a shipped name; InputError as of `load`."""
    from engines.network import read_network
    from engines.resolve import resolve

    located = locate(model)
    network = read_network(located.model)
    _, spec = resolve(network, located)
    size = sum(path.stat().st_size for path in located.sources)
    return Description(located.model, size / 1e6, network.opset, network.input, network.outputs, spec)


def nms_iou(model: str | Path, iou: float) -> float:
    """Return the NMS threshold ``iou``, or 1 for a model whose boxes need no NMS; InputError as of `load`."""
    return 1.0 if describe(model).spec.iou == 1 else iou

"""Engines: a self-describing ONNX model in, detections out, on whatever this machine can run it with.

    import engines
    model = engines.load("yolov8n.onnx")
    found = model.predict([picture])  # (H, W, 3) uint8 RGB

Names load their modules when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engines.bench import Measurement, measure
    from engines.compile import Prepared, prepare
    from engines.description import Description, describe
    from engines.detections import EMPTY, Detections, Masks
    from engines.errors import InputError, WorkError
    from engines.exchange import to_coco, to_supervision
    from engines.model import Batch, Model, load
    from engines.options import Options
    from engines.shipped import models
    from engines.spec import ModelSpec
    from engines.suppress import fuse

__all__ = [
    "EMPTY",
    "Batch",
    "Description",
    "Detections",
    "InputError",
    "Masks",
    "Measurement",
    "Model",
    "ModelSpec",
    "Options",
    "Prepared",
    "WorkError",
    "describe",
    "fuse",
    "load",
    "measure",
    "models",
    "prepare",
    "to_coco",
    "to_supervision",
]

_HOMES = {
    "EMPTY": "detections",
    "Batch": "model",
    "Description": "description",
    "Detections": "detections",
    "InputError": "errors",
    "Masks": "detections",
    "Measurement": "bench",
    "Model": "model",
    "ModelSpec": "spec",
    "Options": "options",
    "Prepared": "compile",
    "WorkError": "errors",
    "describe": "description",
    "fuse": "suppress",
    "load": "model",
    "measure": "bench",
    "models": "shipped",
    "prepare": "compile",
    "to_coco": "exchange",
    "to_supervision": "exchange",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'engines' has no attribute {name!r}")
    value = getattr(import_module(f"engines.{_HOMES[name]}"), name)
    globals()[name] = value
    return value

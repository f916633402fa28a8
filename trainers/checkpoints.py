"""Checkpoints: everything a run needs to go on bit for bit, and everything an export needs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engines.errors import InputError
from trainers import models
from trainers.config import Config

__all__ = ["Checkpoint", "build", "load", "network", "save"]


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """The state of a run before ``step``."""

    config: dict[str, Any]
    classes: tuple[str, ...]
    step: int
    best: float  # AP of the best validation so far, -1 = none
    model: dict[str, torch.Tensor]
    average: dict[str, torch.Tensor]  # running average of the weights: what is evaluated and exported
    optimizer: dict[str, Any]
    rng: torch.Tensor


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint so that ``path`` is never half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    fields = {name: getattr(checkpoint, name) for name in Checkpoint.__dataclass_fields__}
    torch.save(fields, draft)
    os.replace(draft, path)


def load(path: str | Path) -> Checkpoint:
    """Read a checkpoint; nothing in it is executed. Raises InputError for what is missing or none of ours."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint, a .pt file written by `trainers train` is right")
    try:
        fields = torch.load(path, map_location="cpu", weights_only=True)
        return Checkpoint(**fields)
    except Exception as error:
        raise InputError(f"{path}: not a checkpoint of `trainers train`: {type(error).__name__}") from error


def build(config: Config, classes: int) -> Any:
    """Make the network of a configuration, with fresh weights."""
    return models.build(classes, config.model)


def network(checkpoint: Checkpoint) -> tuple[Any, Config]:
    """Return the averaged network of a checkpoint, ready to predict, and its configuration."""
    config = Config.model_validate(checkpoint.config)
    net = build(config, len(checkpoint.classes))
    net.load_state_dict(checkpoint.average)
    return net.eval(), config

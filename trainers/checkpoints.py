"""Checkpoints: everything a run needs to go on bit for bit, and everything an export needs."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from engines.errors import InputError
from trainers import files, models
from trainers.config import Config, Start

__all__ = ["Checkpoint", "build", "fill", "load", "network", "save", "start"]


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
    stale: int = 0  # validations since the best one
    sums: dict[str, float] = field(default_factory=dict)  # of the terms since the last whole epoch


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint so that ``path`` is never half a file; WorkError where the disk does not take it."""
    fields = {name: getattr(checkpoint, name) for name in Checkpoint.__dataclass_fields__}
    whole = io.BytesIO()  # torch's own writer dies on a full disk
    torch.save(fields, whole)
    files.write(path, whole.getvalue())


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
    """Return the averaged network of a checkpoint, ready to predict, and its configuration; see `fill`."""
    config = Config.model_validate(checkpoint.config)
    net = build(config, len(checkpoint.classes))
    fill(net, checkpoint.average, config)
    return net.eval(), config


def fill(net: Any, weights: Mapping[str, torch.Tensor], config: Config) -> None:
    """Give the network all weights of a checkpoint of its own kind.

    InputError where they are those of another network, as one of an earlier version is.
    """
    try:
        net.load_state_dict(weights)
    except RuntimeError:
        names = sorted(net.state_dict().keys() ^ weights.keys())
        differing = f": {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}" if names else ""
        raise InputError(
            f"checkpoint: its layers are not those of {config.model.arch} in this version{differing}; "
            "start.weights begins a new run with what fits"
        ) from None


def start(net: Any, how: Start, config: Config) -> str:
    """Give the network the weights of another run, or published ones; return what was taken, as a sentence.

    Tensors of another shape stay as they were made: a head for other classes learns anew. InputError where
    most of the network's kernels are not in the file.
    """
    path = Path(how.weights)
    if path.suffix == ".pt":
        given: Mapping[str, torch.Tensor] = load(path).average
    else:
        from trainers.official import read_weights

        given = read_weights(path, config.model.arch)
    own = net.state_dict()
    fitting = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
    kernels = [name for name, value in own.items() if value.ndim > 1]
    if 2 * len(fitting.keys() & kernels) < len(kernels):
        raise InputError(
            f"start.weights: {path} is of another network: {len(fitting)} of {len(own)} tensors of "
            f"{config.model.arch} have their name and shape in it"
        )
    net.load_state_dict(fitting, strict=False)
    anew = sorted({name.rpartition(".")[0] for name in own.keys() - fitting.keys()})
    return f"{path}: {len(fitting)} of {len(own)} tensors taken" + (
        f", learnt anew: {', '.join(anew[:6])}{', ...' if len(anew) > 6 else ''}" if anew else ""
    )

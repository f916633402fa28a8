"""A training run of a few seconds."""

from __future__ import annotations

from trainers.config import Config

__all__ = ["SMALL", "small"]

SMALL = {"widths": (8, 8, 16, 16, 16), "depths": (1, 1, 1, 1), "neck": 16}


def small(**changes: object) -> Config:
    """A run of a few seconds: 8 pictures, 2 steps an epoch."""
    settings = {
        "name": "small",
        "seed": 3,
        "size": (96, 64),
        "threads": 1,
        "val_every": 100,
        "model": SMALL,
        "data": {"train": 8, "val": 4, "clutter": 0.5},
        "optim": {"epochs": 4, "batch": 4, "warmup": 2},
    }
    return Config.model_validate(settings | changes)

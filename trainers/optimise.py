"""How weights move: the optimizer, its rate, which parts stay frozen, the running average."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from engines.errors import InputError, nearest
from trainers.config import Config, Optimizer

__all__ = ["average", "freeze", "learning_rate", "optimizer", "still"]


def learning_rate(how: Optimizer, step: int, total: int) -> float:
    """Return the rate of a step: linear warm-up, then a cosine to the last share, or falls to a tenth."""
    warmup = min(how.warmup, total // 2)
    if step < warmup:
        return how.lr * (step + 1) / warmup
    if how.schedule == "step":
        return how.lr * 0.1 ** sum(step >= share * total for share in how.falls)
    progress = (step - warmup) / max(total - warmup, 1)
    return how.lr * (how.last + (1 - how.last) * (1 + math.cos(math.pi * progress)) / 2)


def optimizer(net: nn.Module, config: Config) -> torch.optim.Optimizer:
    """Return the optimizer of what is not frozen; biases and norms do not decay."""
    moving = [p for p in net.parameters() if p.requires_grad]
    if not moving:
        raise InputError(f"start.freeze: {list(config.start.freeze)} leaves nothing to train")
    groups = [
        {"params": [p for p in moving if p.ndim > 1]},
        {"params": [p for p in moving if p.ndim <= 1], "weight_decay": 0.0},
    ]
    how = config.optim
    common: dict[str, Any] = {"lr": how.lr, "weight_decay": how.weight_decay, "fused": True}
    if how.kind == "sgd":
        return torch.optim.SGD(groups, momentum=how.momentum, nesterov=how.momentum > 0, **common)
    return torch.optim.AdamW(groups, **common)


def freeze(net: nn.Module, names: Iterable[str]) -> None:
    """Let the parameters of the named parts stay as they are; InputError for a name that no part has."""
    for name in names:
        parts = [part for part, _ in net.named_parameters()]
        chosen = [part for part in parts if part == name or part.startswith(f"{name}.")]
        if not chosen:
            known = dict.fromkeys(part.split(".")[0] for part in parts)
            raise InputError(
                f"start.freeze: {name!r} is no part of the network, {', '.join(known)} are right"
                f"{nearest(name, known)}"
            )
        for part in chosen:
            net.get_parameter(part).requires_grad_(False)


def still(net: nn.Module) -> None:
    """Put the norms of frozen parts out of training mode: their running figures stay too."""
    for module in net.modules():
        own = list(module.parameters(recurse=False))
        if isinstance(module, nn.modules.batchnorm._NormBase) and own and not own[0].requires_grad:
            module.eval()


def average(mine: nn.Module, net: nn.Module, how: Optimizer, step: int) -> None:
    """Move the running average towards the network's weights; early steps are forgotten soon."""
    decay = how.ema * (1 - math.exp(-step / how.ema_tau))
    with torch.no_grad():
        for kept, new in zip(mine.state_dict().values(), net.state_dict().values(), strict=True):
            if kept.is_floating_point():
                kept.lerp_(new, 1 - decay)
            else:
                kept.copy_(new)

"""The processes of one run, as `torchrun` starts them: each takes its share of every step's pictures.

``torchrun --nproc-per-node 2 --no-python trainers train CONFIG``; without torchrun there is one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed, nn

from engines.errors import InputError

__all__ = ["ALONE", "Ranks", "joined"]

_PATIENCE = timedelta(hours=6)  # the others wait while the first measures


@dataclass(frozen=True, slots=True)
class Ranks:
    """Which of how many processes this is."""

    rank: int = 0
    count: int = 1
    local: int = 0  # which of this machine's

    @property
    def first(self) -> bool:
        """Whether this process measures, says and writes."""
        return self.rank == 0

    def shared(self, net: nn.Module, device: torch.device) -> Any:
        """Return the module so that gradients are averaged over all processes as they are made."""
        if self.count == 1:
            return net
        # a step may leave parts of a network out: the flow of a video model, heads nothing matches
        places = [device.index] if device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(net, device_ids=places, find_unused_parameters=True)

    def any(self, flag: bool) -> bool:
        """Return whether it is so in any process; all must ask."""
        if self.count == 1:
            return flag
        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        said = torch.tensor(float(flag), device=device)
        distributed.all_reduce(said, distributed.ReduceOp.MAX)
        return bool(said.item())


ALONE = Ranks()


@contextlib.contextmanager
def joined(device: torch.device, batch: int) -> Iterator[Ranks]:
    """Meet the processes that torchrun started; InputError if a step has fewer pictures than they are."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield ALONE
        return
    if batch < count:
        raise InputError(f"optim.batch: {batch}, at least one picture for each of {count} processes is right")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield Ranks(distributed.get_rank(), count, int(os.environ.get("LOCAL_RANK", "0")))
    finally:
        distributed.destroy_process_group()

"""One run: what changes while it goes on, the device it is on, and how Ctrl-C ends it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from engines.errors import InputError
from trainers import checkpoints
from trainers.checkpoints import Checkpoint
from trainers.config import Config
from trainers.evaluate import Report

__all__ = ["Run", "device_of", "stopping"]


@dataclass(slots=True, eq=False)
class Run:
    """What changes while a run goes on."""

    net: Any  # a Detector
    average: Any
    optimizer: torch.optim.Optimizer
    classes: tuple[str, ...]
    step: int = 0
    best: float = -1.0
    stale: int = 0  # validations since the best one
    losses: Any = None  # batch -> terms, on all processes
    sums: dict[str, float] = field(default_factory=dict)  # of the terms since the last whole epoch

    def note(self, report: Report) -> None:
        """Remember the best validation, and how long ago it was."""
        better = report.ap > self.best
        self.best, self.stale = max(self.best, report.ap), 0 if better else self.stale + 1

    def checkpoint(self, config: Config) -> Checkpoint:
        """Return the state before the next step."""
        return Checkpoint(
            config.model_dump(mode="json"),
            self.classes,
            self.step,
            self.best,
            self.net.state_dict(),
            self.average.state_dict(),
            self.optimizer.state_dict(),
            torch.get_rng_state(),
            self.stale,
            dict(self.sums),
        )

    def keep(self, config: Config, output: Path, report: Report | None) -> None:
        """Write ``last.pt``, and ``best.pt`` where the validation of this epoch is the best one."""
        if report is not None and not self.stale:
            checkpoints.save(self.checkpoint(config), output / "best.pt")
        checkpoints.save(self.checkpoint(config), output / "last.pt")

    def restore(self, saved: Checkpoint, config: Config) -> None:
        """Go on from a checkpoint: from here on only steps draw random numbers.

        InputError where it is of another run.
        """
        now = config.model_dump(mode="json")
        for key in ("model", "data", "size", "seed"):
            if saved.config[key] != now[key]:
                raise InputError(
                    f"resume: {key} differs from the checkpoint's: {saved.config[key]}; "
                    "start.weights begins a new run with its weights"
                )
        checkpoints.fill(self.net, saved.model, config)
        checkpoints.fill(self.average, saved.average, config)
        try:
            self.optimizer.load_state_dict(saved.optimizer)
        except (ValueError, KeyError) as error:
            raise InputError("resume: optim.kind or start.freeze differs from the checkpoint's") from error
        torch.set_rng_state(saved.rng)
        self.step, self.best, self.stale = saved.step, saved.best, saved.stale
        self.sums.update(saved.sums)


@contextlib.contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """Let a step end before Ctrl-C stops the run; the second Ctrl-C stops at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def ask(*_: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def device_of(config: Config) -> torch.device:
    """Return the device that a configuration names; InputError where it cannot be had."""
    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"device: {config.device}, this machine has no CUDA GPU: auto or cpu is right")
    if name == "cuda":  # one each for the processes of torchrun
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"device: {config.device!r}, auto, cpu or cuda:0 is right")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device: {config.device}, this machine has {torch.cuda.device_count()} CUDA GPUs")
    return device

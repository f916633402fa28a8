"""The training loop: one function, read from top to bottom."""

from __future__ import annotations

import contextlib
import copy
import math
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from engines.errors import InputError, WorkError
from trainers import checkpoints
from trainers.augment import augment
from trainers.checkpoints import Checkpoint
from trainers.config import Config
from trainers.data.batch import Sample, collate
from trainers.data.dataset import open_dataset
from trainers.evaluate import Report, measure, predictor
from trainers.log import Log
from trainers.models import prepare

__all__ = ["train"]


def train(
    config: Config, output: str | Path, *, resume: str | Path | None = None, quiet: bool = False
) -> Path:
    """Train as configured and return the path of the last checkpoint, ``output/last.pt``.

    ``resume`` goes on from a checkpoint, bit for bit as if it had never stopped (same machine, same threads).
    Ctrl-C ends the step, saves ``last.pt`` and raises KeyboardInterrupt. A loss that is not finite raises
    WorkError with its terms. ``results.csv`` has a row for each epoch; ``best.pt`` has the greatest AP on
    the val pictures.
    """
    output = Path(output)
    device = _device(config)
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    dataset = open_dataset(config)
    net = checkpoints.build(config, len(dataset.classes)).to(device, memory_format=torch.channels_last)
    run = _Run(net, copy.deepcopy(net).eval(), _optimizer(net, config), dataset.classes)
    if resume is not None:
        run.restore(checkpoints.load(resume), config)
    with Log(output, resume_at=run.step, quiet=quiet) as log:
        data, val = dataset.samples(net.task, log.preparing)
        steps = -(-len(data) // config.optim.batch)
        total = steps * config.optim.epochs
        log.start(total, steps)
        batches = DataLoader(
            _Augmented(data, config),
            batch_sampler=_order(config, len(data), run.step, total),  # type: ignore[arg-type]
            collate_fn=collate,
            num_workers=config.workers,
        )
        last = output / "last.pt"
        with _stopping() as asked:
            for batch in batches:
                rate = learning_rate(config, run.step, total)
                losses = _step(run, batch.to(device), rate, config)
                log.step(run.step, losses, rate)
                if asked():
                    checkpoints.save(run.checkpoint(config), last)
                    raise KeyboardInterrupt
                if run.step % steps == 0:
                    epoch = run.step // steps
                    report = None
                    if epoch % config.val_every == 0 or run.step == total:
                        report = measure(predictor(run.average, config.size), val, dataset.classes)
                    log.epoch(epoch, rate, report)
                    _keep(run, config, output, report)
    return last


def learning_rate(config: Config, step: int, total: int) -> float:
    """Return the rate of a step: linear warm-up, then a cosine down to the last share."""
    how = config.optim
    warmup = min(how.warmup, total // 2)
    if step < warmup:
        return how.lr * (step + 1) / warmup
    progress = (step - warmup) / max(total - warmup, 1)
    return how.lr * (how.last + (1 - how.last) * (1 + math.cos(math.pi * progress)) / 2)


@contextlib.contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
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


@dataclass(slots=True, eq=False)
class _Run:
    """What changes while a run goes on."""

    net: Any  # a Detector
    average: Any
    optimizer: torch.optim.Optimizer
    classes: tuple[str, ...]
    step: int = 0
    best: float = -1.0

    def checkpoint(self, config: Config) -> Checkpoint:
        return Checkpoint(
            config.model_dump(mode="json"),
            self.classes,
            self.step,
            self.best,
            self.net.state_dict(),
            self.average.state_dict(),
            self.optimizer.state_dict(),
            torch.get_rng_state(),
        )

    def restore(self, saved: Checkpoint, config: Config) -> None:
        for key in ("model", "data", "size", "seed"):
            if saved.config[key] != config.model_dump(mode="json")[key]:
                raise InputError(f"resume: {key} differs from the checkpoint's: {saved.config[key]}")
        self.net.load_state_dict(saved.model)
        self.average.load_state_dict(saved.average)
        self.optimizer.load_state_dict(saved.optimizer)
        torch.set_rng_state(saved.rng)
        self.step, self.best = saved.step, saved.best


def _step(run: _Run, batch: Any, rate: float, config: Config) -> dict[str, float]:
    """Take one step and return the terms of its loss."""
    run.net.train()
    images = prepare(batch.images, run.net.input).to(memory_format=torch.channels_last)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=config.amp):
        output = run.net(images)
    terms = run.net.loss(output, batch, config.loss)
    values = {name: float(term.detach()) for name, term in terms.items()}
    if not all(math.isfinite(value) for value in values.values()):
        said = ", ".join(f"{name} {value}" for name, value in values.items())
        raise WorkError(
            f"train: step {run.step}: the loss is not finite: {said}; a smaller optim.lr is right"
        )
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    run.optimizer.zero_grad(set_to_none=True)
    torch.stack(list(terms.values())).sum().backward()
    torch.nn.utils.clip_grad_norm_(run.net.parameters(), config.optim.clip)
    run.optimizer.step()
    run.step += 1
    decay = config.optim.ema * (1 - math.exp(-run.step / config.optim.ema_tau))
    with torch.no_grad():
        for mine, new in zip(run.average.state_dict().values(), run.net.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(new, 1 - decay)
            else:
                mine.copy_(new)
    return values


def _keep(run: _Run, config: Config, output: Path, report: Report | None) -> None:
    if report is not None and report.ap > run.best:
        run.best = report.ap
        checkpoints.save(run.checkpoint(config), output / "best.pt")
    checkpoints.save(run.checkpoint(config), output / "last.pt")


class _Augmented(Dataset[Sample]):
    """Samples by (epoch, index): augmented by a generator of its own, whoever asks and whenever."""

    def __init__(self, samples: Sequence[Sample], config: Config) -> None:
        self.samples, self.config = samples, config

    def __getitem__(self, key: tuple[int, int]) -> Sample:  # type: ignore[override]
        epoch, index = key
        how = self.config.augment
        if epoch >= self.config.optim.epochs - how.plain:
            how = how.model_copy(update={"mosaic": 0.0})
        rng = np.random.default_rng([self.config.seed, epoch, index])
        return augment(self.samples, index, self.config.size, how, rng)


def _order(config: Config, count: int, step: int, total: int) -> Iterator[list[tuple[int, int]]]:
    """Yield the (epoch, index) of every sample of every step from ``step`` on."""
    steps = -(-count // config.optim.batch)
    while step < total:
        epoch, place = divmod(step, steps)
        order = np.random.default_rng([config.seed, 1, epoch]).permutation(count)
        chosen = order[place * config.optim.batch : (place + 1) * config.optim.batch]
        yield [(epoch, int(index)) for index in chosen]
        step += 1


def _optimizer(net: torch.nn.Module, config: Config) -> torch.optim.Optimizer:
    """Return AdamW; biases and norms do not decay."""
    kernels = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    groups = [{"params": kernels}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, config.optim.lr, weight_decay=config.optim.weight_decay)


def _device(config: Config) -> torch.device:
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if config.device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"device: {config.device}, this machine has no CUDA GPU: auto or cpu is right")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return torch.device(config.device)

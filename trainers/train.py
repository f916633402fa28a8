"""The training loop: one function, read from top to bottom."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from engines.errors import InputError, WorkError
from trainers import checkpoints, mixed, optimise, start
from trainers.config import Config
from trainers.data.batch import Batch, collate
from trainers.data.dataset import check, open_dataset
from trainers.distill import Teaching
from trainers.evaluate import measure, predictor
from trainers.log import Log
from trainers.models import prepare
from trainers.order import Augmented, order
from trainers.plots import plot_run
from trainers.ranks import joined
from trainers.run import Run, device_of, stopping

__all__ = ["train"]


def train(
    config: Config, output: str | Path, *, resume: str | Path | None = None, quiet: bool = False
) -> Path:
    """Train as configured and return the path of the last checkpoint, ``output/last.pt``.

    ``resume`` goes on from a checkpoint, bit for bit as if it had never stopped (same machine, same threads).
    Ctrl-C ends the step, and the epoch after its last step, saves ``last.pt`` and raises KeyboardInterrupt. A
    loss that is not finite raises WorkError with its terms, a full disk WorkError with the file.
    ``results.csv`` has a row for each epoch; ``best.pt`` has the greatest AP on the val pictures, plots are
    of the last validation. Processes that torchrun started share the work; the first one writes.
    """
    output = Path(output)
    device = device_of(config)
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    dataset = open_dataset(config)
    net = checkpoints.build(config, len(dataset.classes)).to(device, memory_format=torch.channels_last)
    check(config, net)
    source = "" if resume else config.start.weights
    said = checkpoints.start(net, config.start, config) if source and not start.exported(source) else ""
    optimise.freeze(net, config.start.freeze)
    run = Run(net, copy.deepcopy(net).eval(), optimise.optimizer(net, config), dataset.classes)
    teaching = _teaching(config, run, device)
    if resume is not None:
        run.restore(checkpoints.load(resume), config)
    how = {"resume_at": run.step, "sums": run.sums, "quiet": quiet, "board": config.tensorboard}
    with joined(device, config.optim.batch) as ranks, Log(output, writes=ranks.first, **how) as log:
        for line in filter(None, (*dataset.remarks, said, mixed.remark(device, config.amp))):
            log.say(line)
        run.losses = ranks.shared(_Losses(run.net, config, teaching), device)
        data, val = dataset.samples(net.task, log.preparing)
        steps = -(-len(data) // config.optim.batch)
        total = steps * config.optim.epochs
        if source and start.exported(source):
            log.say(start.begin(run.net, source, start.pictures(data, run.net, config).to(device)))
            run.average.load_state_dict(run.net.state_dict())
        log.start(total, steps)
        batches = DataLoader(
            Augmented(data, config, net.input.resize),
            batch_sampler=order(config, len(data), run.step, total, ranks),  # type: ignore[arg-type]
            collate_fn=collate,
            num_workers=config.workers,
            generator=torch.Generator(),  # it draws a number: the global one is for steps alone
        )
        last = output / "last.pt"
        with stopping() as asked:
            for batch in _unwrapped(batches):
                rate = optimise.learning_rate(config.optim, run.step, total)
                losses = _step(run, batch.to(device), rate, config)
                log.step(run.step, losses, rate)
                if run.step % steps == 0:
                    epoch, report = run.step // steps, None
                    if ranks.first and (epoch % config.val_every == 0 or run.step == total):
                        report = measure(predictor(run.average, config.size), val, dataset.classes)
                        run.note(report)
                    log.epoch(epoch, rate, report)
                    if ranks.first:
                        run.keep(config, output, report)
                        plot_run(output, log.rows, report)
                    if ranks.any(0 < config.optim.patience <= run.stale):
                        log.say(f"no better AP in {run.stale} validations: the run ends after epoch {epoch}")
                        break
                if ranks.any(asked()):
                    if ranks.first:
                        checkpoints.save(run.checkpoint(config), last)
                    log.say(f"{last}: saved, --resume goes on from it")
                    raise KeyboardInterrupt
    return last


def _unwrapped(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Yield the batches; a worker's InputError is a sentence again: torch makes a traceback's text of it."""
    try:
        yield from batches
    except InputError as error:
        raise InputError(str(error).strip().rpartition("InputError: ")[2]) from error


class _Losses(nn.Module):
    """The network with its loss as one module, so that processes share whatever a family's loss runs."""

    def __init__(self, net: Any, config: Config, teaching: Teaching | None) -> None:
        super().__init__()
        self.net, self.config, self.teaching = net, config, teaching

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        images = prepare(batch.images, self.net.input).to(memory_format=torch.channels_last)
        with mixed.autocast(images.device, self.config.amp):
            output = self.net(images)
        terms: dict[str, Tensor] = self.net.loss(output, batch, self.config.loss)
        if self.teaching is not None:
            terms |= self.teaching.terms(self.net.decode(output), batch)
        return terms


def _teaching(config: Config, run: Run, device: torch.device) -> Teaching | None:
    return Teaching(config.teacher, run.classes, device) if config.teacher.checkpoint else None


def _step(run: Run, batch: Batch, rate: float, config: Config) -> dict[str, float]:
    """Take one step and return the terms of its loss."""
    run.net.train()
    optimise.still(run.net)
    try:
        terms = run.losses(batch)
    except torch.OutOfMemoryError as error:
        raise WorkError(
            f"train: step {run.step}: the GPU's memory is full; a smaller optim.batch or size is right"
        ) from error
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
    nn.utils.clip_grad_norm_(run.net.parameters(), config.optim.clip)
    run.optimizer.step()
    run.step += 1
    optimise.average(run.average, run.net, config.optim, run.step)
    return values

"""The video stage of YolactEdge: frames between key frames learn to make do with a key frame's features.

The image model is finished and stays as it is, so that key frames lose nothing. Flow, feature transform and
refinement (Liu et al. 2021) learn from pairs of frames to give the pyramid that the whole network would have
given of the later frame: every cell teaches, and no labels are needed.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engines.description import describe
from engines.errors import InputError, WorkError
from trainers import checkpoints, mixed, optimise
from trainers.augment import augment_frames
from trainers.config import Config
from trainers.data.batch import collate
from trainers.data.clips import Clip, render_clips, render_pairs
from trainers.data.scenes import CLASSES, SEEDS
from trainers.evaluate_video import by_torch, measure_clips
from trainers.log import Log
from trainers.models import prepare
from trainers.models.yolactedge import State, YolactEdgeVideo
from trainers.plots import plot_run
from trainers.run import Run, device_of, stopping
from trainers.start import begin, exported, pictures

__all__ = ["MOVING", "train_video"]

MOVING = ("flow_net_pre_convs", "flow_net", "spa")  # parts of the network that the stage trains
# keys of other runs: here the image model stays as it is, pairs are not mixed, and no labels are learnt from
_UNUSED = (
    "start.freeze", "teacher.checkpoint", "loss.classes", "loss.boxes", "loss.l1", "loss.topk",
    "data.people", "data.keypoints", "data.classes", "data.clutter",
    "augment.mosaic", "augment.mixup", "augment.paste", "augment.multi_scale", "augment.plain",
)  # fmt: skip
_ABSENT = (*MOVING, "semantic_seg_conv")  # what no image model's file has; the last is for its own training


def train_video(
    config: Config, output: str | Path, *, resume: str | Path | None = None, quiet: bool = False
) -> Path:
    """Train what lies between key frames, as configured, and return the path of the checkpoint, ``last.pt``.

    ``start.weights`` is the finished image model, YOLACT's or YolactEdge's, whose classes stay. Other classes
    than the scenes' are not measured: then there is no ``best.pt``. What else a run leaves, ``resume``,
    Ctrl-C and a full disk are as for an image model. Raises InputError without an image model of the same
    sizes, where there are no pairs to learn from, and for keys that mean nothing here.
    """
    output = Path(output)
    device = device_of(config)
    _check(config)
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    saved = None if resume is None else checkpoints.load(resume)
    classes = describe(config.start.weights).spec.classes if saved is None else saved.classes
    net: YolactEdgeVideo = checkpoints.build(config, len(classes))
    net.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
    for part in MOVING:
        net.get_submodule(part).requires_grad_(True)
    run = Run(net, copy.deepcopy(net), optimise.optimizer(net, config), classes)
    if config.optim.patience and classes != CLASSES:
        raise InputError(
            f"optim.patience: {config.optim.patience}, 0 is right: only {', '.join(CLASSES)} are measured"
        )
    if saved is not None:
        run.restore(saved, config)
    how = {"resume_at": run.step, "sums": run.sums, "quiet": quiet, "board": config.tensorboard}
    with Log(output, **how) as log:
        data = render_pairs(config.data.train, SEEDS["train"], max(config.size) * 5 // 4, log.preparing)
        val = render_clips(config.data.val, SEEDS["val"], held_out=False) if classes == CLASSES else []
        if said := mixed.remark(device, config.amp):
            log.say(said)
        if saved is None:
            shown = pictures([clip[0] for clip in data], net, config).to(device)
            log.say(begin(net, config.start.weights, shown, _ABSENT))
            run.average.load_state_dict(net.state_dict())
        steps = len(data) // config.optim.batch
        total = steps * config.optim.epochs
        log.start(total, steps)
        last = output / "last.pt"
        with stopping() as asked:
            for step in range(run.step, total):
                epoch, place = divmod(step, steps)
                rate = optimise.learning_rate(config.optim, step, total)
                key, later = _pictures(data, config, net, epoch, place)
                log.step(step + 1, _step(run, key.to(device), later.to(device), rate, config), rate)
                if run.step % steps == 0:
                    report = None
                    if val and ((epoch + 1) % config.val_every == 0 or run.step == total):
                        report = measure_clips(by_torch(run.average, config.size), val, "between")
                        run.note(report)
                    log.epoch(epoch + 1, rate, report)
                    run.keep(config, output, report)
                    plot_run(output, log.rows, report)
                    if 0 < config.optim.patience <= run.stale:
                        log.say(
                            f"no better AP in {run.stale} validations: the run ends after epoch {epoch + 1}"
                        )
                        break
                if asked():
                    checkpoints.save(run.checkpoint(config), last)
                    log.say(f"{last}: saved, --resume goes on from it")
                    raise KeyboardInterrupt
    return last


def _check(config: Config) -> None:
    """Raise InputError for what the stage cannot begin with."""
    source, data, batch = config.start.weights, config.data, config.optim.batch
    if not exported(source):
        raise InputError(f"start.weights: {source!r}, an exported image model is right, as tiny-yolact")
    if data.kind != "scenes":
        raise InputError(
            f"data.kind: {data.kind}, scenes is right: the video stage learns from rendered pairs"
        )
    if data.train < batch:
        raise InputError(f"data.train: {data.train}, at least optim.batch: {batch} pairs are right")
    plain = Config(name=config.name)
    for name in _UNUSED:
        given, without = attrgetter(name)(config), attrgetter(name)(plain)
        if given != without:
            raise InputError(f"{name}: {given!r}, the video stage has no use for it: {without!r} is right")


def _step(run: Run, key: Tensor, later: Tensor, rate: float, config: Config) -> dict[str, float]:
    """Take one step on key frames and later frames, and return the terms of its loss."""
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    terms = _terms(run.net, key, later, amp=config.amp)
    values = {name: float(term.detach()) for name, term in terms.items()}
    if not all(math.isfinite(value) for value in values.values()):
        raise WorkError(f"train: step {run.step}: the loss is not finite: {values}")
    run.optimizer.zero_grad(set_to_none=True)
    torch.stack(list(terms.values())).sum().backward()
    torch.nn.utils.clip_grad_norm_(run.net.parameters(), config.optim.clip)
    run.optimizer.step()
    run.step += 1
    optimise.average(run.average, run.net, config.optim, run.step)
    return values


def _pictures(
    data: Sequence[Clip], config: Config, net: YolactEdgeVideo, epoch: int, place: int
) -> tuple[Tensor, Tensor]:
    """Return the key frames and the later frames of a step, both of a clip changed alike."""
    order = np.random.default_rng([config.seed, 1, epoch]).permutation(len(data))
    changed = []
    for row in order[place * config.optim.batch : (place + 1) * config.optim.batch]:
        rng = np.random.default_rng([config.seed, epoch, int(row)])
        changed.append(augment_frames(data[int(row)], config.size, config.augment, rng, net.input.resize))
    key, later = (
        prepare(collate(list(frames)).images, net.input).to(memory_format=torch.channels_last)
        for frames in zip(*changed, strict=True)
    )
    return key, later


def _terms(net: YolactEdgeVideo, key: Tensor, later: Tensor, *, amp: bool) -> dict[str, Tensor]:
    """Return how unlike the pyramid is to that of the whole network, refined and as it was warped."""
    with mixed.autocast(key.device, amp):
        with torch.no_grad():
            (_, p4, p5), before = net.fpn_phase_1(net.backbone(key))
            whole, lateral = net.fpn_phase_1(net.backbone(later))
        made = net.move(lateral, State(p4, p5, net.flow_net_pre_convs(before)))
    refined = torch.stack([_unlike(a, b) for a, b in zip(made.levels, whole, strict=True)]).sum()
    warped = torch.stack([_unlike(a, b) for a, b in zip(made.warped, whole[1:], strict=True)]).sum()
    return {"levels": refined, "warped": 0.5 * warped}


def _unlike(a: Tensor, b: Tensor) -> Tensor:
    """The mean distance, as a share of the mean size of the values."""
    return (a.float() - b.float()).abs().mean() / b.float().abs().mean()

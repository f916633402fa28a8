"""The video stage of YolactEdge: frames between key frames learn to make do with a key frame's features.

The image model is finished and stays as it is, so that key frames lose nothing. Flow, feature transform and
refinement (Liu et al. 2021) learn from pairs of frames to give the pyramid that the whole network would have
given of the later frame: every cell teaches, and no labels are needed.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engines.errors import InputError, WorkError
from trainers import checkpoints, mixed, optimise
from trainers.augment import augment_frames
from trainers.checkpoints import Checkpoint
from trainers.config import Config
from trainers.data.batch import collate
from trainers.data.clips import Clip, render_clips, render_pairs
from trainers.data.scenes import CLASSES, SEEDS
from trainers.evaluate_video import by_torch, measure_clips
from trainers.log import Log
from trainers.models import prepare
from trainers.models.yolactedge import State, YolactEdgeVideo
from trainers.start import begin, exported, pictures

__all__ = ["MOVING", "train_video"]

MOVING = ("flow_net_pre_convs", "flow_net", "spa")  # parts of the network that the stage trains


def train_video(config: Config, output: str | Path, *, quiet: bool = False) -> Path:
    """Train what lies between key frames, as configured, and return the path of the checkpoint, ``last.pt``.

    ``start.weights`` is the finished image model, YOLACT's or YolactEdge's. Raises InputError without it.
    """
    output = Path(output)
    if not exported(config.start.weights):
        raise InputError(
            f"start.weights: {config.start.weights!r}, an exported image model is right, as tiny-yolact"
        )
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    net: YolactEdgeVideo = checkpoints.build(config, len(CLASSES)).to(memory_format=torch.channels_last)
    with Log(output, quiet=quiet) as log:
        data = render_pairs(config.data.train, SEEDS["train"], max(config.size) * 5 // 4, log.preparing)
        val = render_clips(config.data.val, SEEDS["val"], held_out=False)
        if said := mixed.remark(torch.device("cpu"), config.amp):
            log.say(said)
        log.say(begin(net, config.start.weights, pictures([clip[0] for clip in data], net, config)))
        net.eval().requires_grad_(False)
        moving = [p for part in MOVING for p in net.get_submodule(part).requires_grad_(True).parameters()]
        average = copy.deepcopy(net)
        optimizer = torch.optim.AdamW(moving, config.optim.lr, weight_decay=config.optim.weight_decay)
        steps = len(data) // config.optim.batch
        total = steps * config.optim.epochs
        log.start(total, steps)
        for step in range(total):
            epoch, place = divmod(step, steps)
            rate = optimise.learning_rate(config.optim, step, total)
            for group in optimizer.param_groups:
                group["lr"] = rate
            terms = _terms(net, *_pictures(data, config, net, epoch, place), amp=config.amp)
            values = {name: float(term.detach()) for name, term in terms.items()}
            if not all(math.isfinite(value) for value in values.values()):
                raise WorkError(f"train: step {step}: the loss is not finite: {values}")
            optimizer.zero_grad(set_to_none=True)
            torch.stack(list(terms.values())).sum().backward()
            torch.nn.utils.clip_grad_norm_(moving, config.optim.clip)
            optimizer.step()
            optimise.average(average, net, config.optim, step + 1)
            log.step(step + 1, values, rate)
            if (step + 1) % steps == 0:
                report = None
                if (epoch + 1) % config.val_every == 0 or step + 1 == total:
                    report = measure_clips(by_torch(average, config.size), val, "between")
                log.epoch(epoch + 1, rate, report)
                _save(net, average, optimizer, config, step + 1, output / "last.pt")
    return output / "last.pt"


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


def _save(net: Any, average: Any, optimizer: Any, config: Config, step: int, path: Path) -> None:
    checkpoints.save(
        Checkpoint(
            config.model_dump(mode="json"),
            CLASSES,
            step,
            -1.0,
            net.state_dict(),
            average.state_dict(),
            optimizer.state_dict(),
            torch.get_rng_state(),
        ),
        path,
    )

"""Which sample comes when, how large and changed how: a function of the seed and the step alone.

So a run that goes on after a stop sees what it would have seen, with any number of workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset

from engines.spec import Resize
from trainers.augment import augment
from trainers.config import Config
from trainers.data.batch import Sample
from trainers.ranks import ALONE, Ranks
from trainers.sizes import sides

__all__ = ["Augmented", "Place", "order"]


class Place(NamedTuple):
    """A sample of a run."""

    epoch: int
    index: int
    size: tuple[int, int]  # width, height


class Augmented(Dataset[Sample]):
    """Samples by place: augmented by a generator of its own, whoever asks and whenever."""

    def __init__(self, samples: Sequence[Sample], config: Config, resize: Resize = "letterbox") -> None:
        self.samples, self.config, self.resize = samples, config, resize

    def __getitem__(self, place: Place) -> Sample:  # type: ignore[override]
        how = self.config.augment
        if _plain(self.config, place.epoch):
            how = how.model_copy(update={"mosaic": 0.0, "mixup": 0.0, "paste": 0.0})
        rng = np.random.default_rng([self.config.seed, place.epoch, place.index])
        return augment(self.samples, place.index, place.size, how, rng, self.resize)


def order(config: Config, count: int, step: int, total: int, ranks: Ranks = ALONE) -> Iterator[list[Place]]:
    """Yield the places of every step from ``step`` on, those of this process."""
    batch = config.optim.batch
    steps = -(-count // batch)
    while step < total:
        epoch, turn = divmod(step, steps)
        shuffled = np.random.default_rng([config.seed, 1, epoch]).permutation(count)
        chosen = shuffled[turn * batch : (turn + 1) * batch]
        mine = chosen[ranks.rank :: ranks.count]
        if not len(mine):  # fewer are left than there are processes
            mine = chosen[:1]
        size = _size(config, epoch, step)
        yield [Place(epoch, int(index), size) for index in mine]
        step += 1


def _size(config: Config, epoch: int, step: int) -> tuple[int, int]:
    spread = config.augment.multi_scale
    if not spread or _plain(config, epoch):
        return config.size
    by = 1 + spread * float(np.random.default_rng([config.seed, 2, step]).uniform(-1, 1))
    each = max(sides(config.model.arch).step, 32)
    width, height = (max(round(side * by / each), 1) * each for side in config.size)
    return width, height


def _plain(config: Config, epoch: int) -> bool:
    """Whether an epoch is of the last ones, which show pictures as they are."""
    return epoch >= config.optim.epochs - config.augment.plain

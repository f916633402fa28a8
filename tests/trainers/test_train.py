"""The loop: it learns, it goes on bit for bit, it stops when it must."""

from __future__ import annotations

import csv
import math
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from engines.errors import InputError, WorkError
from tests.trainers.runs import SMALL, small
from tests.trainers.shapes import coloured, of_task
from trainers import checkpoints
from trainers import train as loop
from trainers.config import Config, Loss, Optimizer
from trainers.data.batch import collate
from trainers.data.scenes import CLASSES, render_scenes
from trainers.evaluate import Report, evaluate, measure, predictor
from trainers.log import Log
from trainers.models.yolact import FineProtonet
from trainers.models.yolo import Yolo
from trainers.optimise import learning_rate
from trainers.order import order
from trainers.ranks import Ranks
from trainers.train import train

PLAIN = {"flip": 0, "hue": 0, "saturation": 0, "value": 0, "scale": 0, "shift": 0, "noise": 0, "blur": 0}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_a_few_pictures_are_learnt_by_heart() -> None:
    torch.manual_seed(0)
    samples = [of_task(coloured(seed), "detect") for seed in range(4)]
    batch = collate(samples)
    net = Yolo(3, SMALL["widths"], SMALL["depths"], SMALL["neck"])
    optimizer = torch.optim.AdamW(net.parameters())
    for step in range(120):
        optimizer.param_groups[0]["lr"] = 6e-3 * min(1, (step + 1) / 10, (120 - step) / 60)
        terms = net.loss(net(batch.images), batch, Loss())
        optimizer.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()
    report = measure(predictor(net, (96, 64)), samples, CLASSES)
    assert report.ap50 > 0.95
    assert report.ap > 0.6


@pytest.fixture
def by_chance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A run whose steps draw random numbers, for the masks that they learn, and whose teacher drew some."""
    monkeypatch.setattr(FineProtonet, "most", 2)
    model = SMALL | {"arch": "yolact", "prototypes": 4}
    teacher = train(small(model=model, optim={"epochs": 1, "batch": 8}), tmp_path / "teacher", quiet=True)
    return small(model=model, teacher={"checkpoint": str(teacher)})


@pytest.mark.parametrize("kind", ["augmented", "by_chance"])
def test_a_resumed_run_equals_one_that_never_stopped(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    augmented = small(augment={"mosaic": 0.5, "plain": 1})
    config = augmented if kind == "augmented" else request.getfixturevalue(kind)
    whole = checkpoints.load(train(config, tmp_path / "whole", quiet=True))
    take = loop._step

    def step_or_stop(run, *rest):
        if run.step == 4:  # Ctrl-C in the middle of the third epoch
            signal.raise_signal(signal.SIGINT)
        return take(run, *rest)

    monkeypatch.setattr(loop, "_step", step_or_stop)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "parts", quiet=True)
    monkeypatch.setattr(loop, "_step", take)
    assert checkpoints.load(tmp_path / "parts" / "last.pt").step == 5
    resumed = train(config, tmp_path / "parts", resume=tmp_path / "parts" / "last.pt", quiet=True)
    parts = checkpoints.load(resumed)
    assert parts.step == whole.step == 8
    assert same(whole.model, parts.model)
    assert same(whole.average, parts.average)
    rows = [(tmp_path / name / "results.csv").read_text().splitlines() for name in ("whole", "parts")]
    assert [row.split(",")[4:] for row in rows[0]] == [row.split(",")[4:] for row in rows[1]]
    moments = [state["exp_avg_sq"] for state in whole.optimizer["state"].values()]
    again = [state["exp_avg_sq"] for state in parts.optimizer["state"].values()]
    assert all(torch.equal(a, b) for a, b in zip(moments, again, strict=True))


def test_workers_prepare_the_same_batches(tmp_path: Path) -> None:
    short = {"epochs": 1, "batch": 4}
    alone = checkpoints.load(train(small(optim=short), tmp_path / "a", quiet=True))
    helped = checkpoints.load(train(small(optim=short, workers=2), tmp_path / "b", quiet=True))
    assert same(alone.model, helped.model)


def test_another_seed_gives_another_run(tmp_path: Path) -> None:
    first = checkpoints.load(train(small(optim={"epochs": 1, "batch": 8}), tmp_path / "a", quiet=True))
    other = checkpoints.load(
        train(small(optim={"epochs": 1, "batch": 8}, seed=4), tmp_path / "b", quiet=True)
    )
    assert not same(first.model, other.model)


def test_every_epoch_leaves_a_row_and_the_last_is_measured(tmp_path: Path) -> None:
    last = train(small(), tmp_path, quiet=True)
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert [row["step"] for row in rows] == ["2", "4", "6", "8"]
    assert all(float(row["loss"]) > 0 for row in rows)
    assert rows[-1]["ap"]
    assert not rows[0]["ap"]
    assert last == tmp_path / "last.pt"
    assert (tmp_path / "best.pt").exists()


def test_the_log_leaves_out_what_no_picture_has(tmp_path: Path) -> None:
    report = Report(0.5, 0.6, {"person": (0.5, 0.6), "car": (math.nan, math.nan)}, 1)
    with Log(tmp_path, quiet=True) as log:
        log.start(1, 1)
        log.step(1, {"boxes": 1.0}, 0.1)
        log.epoch(1, 0.1, report)
    with (tmp_path / "results.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["ap50_person"], row["ap50_car"]) == ("0.6000", "")


def test_a_loss_that_is_not_finite_stops_with_its_terms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> dict[str, torch.Tensor]:
        return {"classes": torch.tensor(1.5), "boxes": torch.tensor(float("nan"))}

    monkeypatch.setattr(Yolo, "loss", broken)
    with pytest.raises(WorkError, match=r"step 0: the loss is not finite: classes 1\.5, boxes nan"):
        train(small(), tmp_path, quiet=True)


def test_the_rate_warms_up_and_falls_to_its_last_share() -> None:
    how = Optimizer(lr=1.0, last=0.1, warmup=10)
    rates = [learning_rate(how, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == pytest.approx(1.0)
    assert max(rates) <= 1.0
    assert np.all(np.diff(rates[10:]) < 0)
    assert rates[-1] == pytest.approx(0.1, abs=0.01)


def test_the_rate_falls_to_a_tenth_by_steps() -> None:
    how = Optimizer(lr=1.0, schedule="step", falls=(0.5, 0.8), warmup=0)
    rates = [learning_rate(how, step, 10) for step in range(10)]
    assert rates == pytest.approx([1.0] * 5 + [0.1] * 3 + [0.01] * 2)


def test_every_sample_is_seen_once_an_epoch_wherever_a_run_begins() -> None:
    config = small(data={"train": 10, "val": 1}, optim={"epochs": 2, "batch": 4})
    steps = list(order(config, 10, 0, 6))
    assert [len(step) for step in steps] == [4, 4, 2, 4, 4, 2]
    for epoch in (0, 1):
        seen = [place.index for step in steps for place in step if place.epoch == epoch]
        assert sorted(seen) == list(range(10))
    assert list(order(config, 10, 4, 6)) == steps[4:]


def test_processes_share_the_pictures_of_every_step() -> None:
    config = small(data={"train": 9, "val": 1}, optim={"epochs": 1, "batch": 4})
    alone = list(order(config, 9, 0, 3))
    first, second = (list(order(config, 9, 0, 3, Ranks(rank, 2))) for rank in (0, 1))
    for whole, one, other in zip(alone[:2], first[:2], second[:2], strict=True):
        assert sorted(one + other) == sorted(whole)
    assert first[2] == second[2] == alone[2]  # one picture is left: both have it


def test_the_size_changes_from_step_to_step_but_not_in_the_plain_epochs() -> None:
    config = small(
        data={"train": 8, "val": 1},
        optim={"epochs": 20, "batch": 4},
        augment={"multi_scale": 0.5, "plain": 2},
        size=(192, 128),
    )
    steps = list(order(config, 8, 0, 40))
    assert all(len({place.size for place in step}) == 1 for step in steps)
    sizes = [step[0].size for step in steps]
    assert len(set(sizes[:36])) >= 4
    assert all(width % 32 == height % 32 == 0 for width, height in sizes)
    assert all(96 <= width <= 288 and 64 <= height <= 192 for width, height in sizes)
    assert set(sizes[36:]) == {(192, 128)}


def test_a_picture_without_objects_only_teaches_silence() -> None:
    net = Yolo(3, SMALL["widths"], SMALL["depths"], SMALL["neck"])
    sample = render_scenes(1, 5, 96, fixed=(96, 64))[0]
    batch = collate([sample])._replace(
        boxes=torch.zeros(1, 0, 4), classes=torch.zeros(1, 0, dtype=torch.long), real=torch.zeros(1, 0).bool()
    )
    terms = net.loss(net(batch.images), batch, Loss())
    assert terms["boxes"].item() == 0
    assert terms["classes"].item() > 0


@pytest.mark.parametrize(
    ("write", "said"),
    [(None, "no such checkpoint"), (b"no", "not a checkpoint")],
    ids=["missing", "damaged"],
)
def test_what_is_no_checkpoint_is_refused(write: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    if write is not None:
        path.write_bytes(write)
    with pytest.raises(InputError, match=said):
        checkpoints.load(path)


def test_resuming_another_network_is_refused(tmp_path: Path) -> None:
    last = train(small(optim={"epochs": 1, "batch": 8}), tmp_path, quiet=True)
    other = small(model=SMALL | {"neck": 24})
    with pytest.raises(InputError, match="resume: model differs"):
        train(other, tmp_path, resume=last, quiet=True)


def test_a_checkpoint_is_measured_by_its_averaged_weights(tmp_path: Path) -> None:
    last = train(small(), tmp_path, quiet=True)
    samples = render_scenes(2, 9, 96, fixed=(96, 64))
    saved = checkpoints.load(last)
    net, config = checkpoints.network(saved)
    assert same(net.state_dict(), saved.average)
    assert evaluate(last, samples) == measure(predictor(net, config.size), samples, CLASSES)

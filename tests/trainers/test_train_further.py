"""The loop's further ways: frozen parts, given weights, a teacher, several processes, early stopping."""

from __future__ import annotations

import csv
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engines.errors import InputError, WorkError
from tests.trainers.runs import SMALL
from tests.trainers.runs import small as run_of
from trainers import checkpoints
from trainers import train as loop
from trainers.config import Config
from trainers.distill import apart
from trainers.evaluate import Report
from trainers.log import Log
from trainers.models import build
from trainers.train import train

ROOT = Path(__file__).parents[2]
SHORT = {"epochs": 1, "batch": 4, "warmup": 0}


def small(**changes: object) -> Config:
    """A run of two steps."""
    return run_of(**({"data": {"train": 8, "val": 2, "clutter": 0.5}, "optim": SHORT} | changes))


def states(path: Path) -> dict[str, torch.Tensor]:
    return checkpoints.load(path).model


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint to begin from."""
    return train(small(), tmp_path_factory.mktemp("first"), quiet=True)


def test_frozen_parts_stay_as_they_are_and_the_others_move(first: Path, tmp_path: Path) -> None:
    config = small(start={"weights": str(first), "freeze": ("stem", "stage3.0")})
    before, after = checkpoints.load(first).average, states(train(config, tmp_path, quiet=True))
    for name, value in after.items():
        frozen = name.startswith(("stem.", "stage3.0."))
        if frozen or value.is_floating_point():  # counters of norms may be equal by chance
            assert torch.equal(value, before[name]) is frozen, name


def test_a_part_that_is_not_there_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"start.freeze: 'stm' is no part .* did you mean 'stem'\?"):
        train(small(start={"freeze": ("stm",)}), tmp_path, quiet=True)


def test_nothing_to_train_is_refused(tmp_path: Path) -> None:
    everything = tuple(name for name, _ in build(3, small().model).named_children())
    with pytest.raises(InputError, match="leaves nothing to train"):
        train(small(start={"freeze": everything}), tmp_path, quiet=True)


def test_weights_of_another_network_are_refused(first: Path, tmp_path: Path) -> None:
    other = small(start={"weights": str(first)}, model=SMALL | {"widths": (16, 16, 32, 32, 32), "neck": 32})
    with pytest.raises(InputError, match=r"start.weights: .* is of another network"):
        train(other, tmp_path, quiet=True)


def test_a_checkpoint_of_another_family_is_one_sentence(first: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="resume: model differs"):
        train(small(model=SMALL | {"arch": "ssd_small"}), tmp_path, resume=first, quiet=True)


def test_sgd_resumes_bit_for_bit(tmp_path: Path) -> None:
    def config(epochs: int) -> Config:
        how = {"kind": "sgd", "lr": 0.01, "schedule": "step", "falls": (), "batch": 4, "warmup": 0}
        return small(optim=how | {"epochs": epochs})

    whole = checkpoints.load(train(config(2), tmp_path / "whole", quiet=True))
    half = train(config(1), tmp_path / "half", quiet=True)
    rest = checkpoints.load(train(config(2), tmp_path / "half", resume=half, quiet=True))
    assert all(torch.equal(value, rest.model[name]) for name, value in whole.model.items())


def test_a_run_ends_when_nothing_gets_better(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = iter([0.1, 0.3, 0.2, 0.3, 0.9])
    monkeypatch.setattr(loop, "measure", lambda *_: Report(next(figures), 0.5, {}, 1, confusion=((0,),)))
    config = small(val_every=1, optim={"epochs": 9, "batch": 8, "warmup": 0, "patience": 2})
    saved = checkpoints.load(train(config, tmp_path, quiet=True))
    assert (saved.step, saved.best, saved.stale) == (4, 0.3, 2)
    assert checkpoints.load(tmp_path / "best.pt").step == 2


def test_what_a_worker_refuses_is_its_sentence_alone(tmp_path: Path) -> None:
    broken = tmp_path / "a.jpg"
    broken.write_bytes(b"\xff\xd8\xff of nothing \xff\xd9")
    (tmp_path / "a.txt").write_text("0 .5 .5 .5 .5\n")
    data = {"kind": "yolo", "images": str(tmp_path), "labels": str(tmp_path), "classes": ["a"]}
    with pytest.raises(InputError) as refused:
        train(small(data=data, workers=1), tmp_path / "run", quiet=True)
    assert str(refused.value) == f"{broken}: broken picture, it cannot be decoded"


def test_a_step_leaves_scalars_and_a_validation_leaves_plots(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(small(tensorboard=True, optim={"epochs": 2, "batch": 4}), tmp_path, quiet=True)
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert len(board.Scalars("step/classes")) == 4
    with (tmp_path / "results.csv").open(newline="") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert [event.value for event in board.Scalars("epoch/loss")] == pytest.approx(losses)
    for name in ("loss", "ap", "precision", "confusion"):
        plot = cv2.imread(str(tmp_path / f"{name}.png"))
        assert plot is not None
        assert np.ptp(plot) > 100


def test_a_missing_tensorboard_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match="tensorboard: it is not installed"):
        train(small(tensorboard=True), tmp_path, quiet=True)


@pytest.mark.parametrize("arch", ["yolo", "pose", "yolact"])
def test_a_twin_has_nothing_to_learn_from_its_teacher(arch: str) -> None:
    torch.manual_seed(0)
    one, other = (build(3, small(model=SMALL | {"arch": arch}).model) for _ in range(2))
    images = torch.rand(2, 3, 64, 96)
    mine, theirs = one.decode(one(images)), other.decode(other(images))
    with torch.no_grad():
        same = {name: float(term) for name, term in apart(theirs, theirs).items()}
    assert same == pytest.approx(dict.fromkeys(same, 0.0), abs=1e-4)
    terms = apart(mine, {name: part.detach() for name, part in theirs.items()})
    assert len(terms) == (2 if arch == "yolo" else 3)
    values = {name: float(term.detach()) for name, term in terms.items()}
    assert all(value > 10 * same[name] + 1e-6 for name, value in values.items()), values
    sum(terms.values()).backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in one.parameters())


def test_a_student_nears_its_teacher(first: Path, tmp_path: Path) -> None:
    slim = SMALL | {"neck": 8}
    how = {"epochs": 12, "batch": 8, "lr": 5e-3, "warmup": 2}
    config = small(model=slim, optim=how, teacher={"checkpoint": str(first), "weight": 2.0})
    train(config, tmp_path, quiet=True)
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for term in ("teacher_classes", "teacher_boxes"):
        assert float(rows[-1][term]) < 0.9 * float(rows[0][term])


def test_a_teacher_with_other_outputs_is_one_sentence(first: Path, tmp_path: Path) -> None:
    config = small(model=SMALL | {"arch": "ssd_small"}, teacher={"checkpoint": str(first)})
    with pytest.raises(InputError, match=r"teacher.checkpoint: .* gives boxes \[126, 4\].* is right: boxes"):
        train(config, tmp_path, quiet=True)


WORK = """
import sys, torch
from pathlib import Path
from trainers.config import Config
from trainers.train import train
import trainers.train as loop
kept, plain = [], loop._step
def step(run, *rest):
    kept[:] = [run]
    return plain(run, *rest)
loop._step = step
folder, settings = Path(sys.argv[1]), Path(sys.argv[2]).read_text()
rank = int(__import__("os").environ["RANK"])
train(Config.model_validate_json(settings), folder / f"rank{rank}", quiet=True)
state = {k: v for k, v in kept[0].net.named_parameters()}
torch.save({k: v.detach().clone() for k, v in state.items()}, folder / f"net{rank}.pt")
"""


def test_two_processes_end_with_the_same_weights_and_the_first_writes(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(WORK)
    config = small(optim={"epochs": 1, "batch": 4, "warmup": 0}, device="cpu")
    (tmp_path / "settings.json").write_text(config.model_dump_json())
    command = [sys.executable, str(tmp_path / "work.py"), str(tmp_path), str(tmp_path / "settings.json")]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    own = {"PYTHONPATH": str(ROOT), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = [  # as torchrun starts them, without its own start of some seconds
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | own | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    for process in ranks:
        _, said = process.communicate(timeout=200)
        assert process.returncode == 0, said[-3000:]
    one, other = (torch.load(tmp_path / f"net{rank}.pt") for rank in (0, 1))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    torch.manual_seed(config.seed)
    fresh = dict(build(3, config.model).named_parameters())
    assert any(not torch.equal(value, fresh[name]) for name, value in one.items())
    saved = states(tmp_path / "rank0" / "last.pt")
    assert all(torch.equal(saved[name], value) for name, value in one.items())
    assert not (tmp_path / "rank1").exists() or not list((tmp_path / "rank1").iterdir())


FULL = """
import resource, sys
from pathlib import Path
from trainers.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
sys.argv = ["trainers", "train", *sys.argv[1:]]
main()
"""


def test_a_full_disk_ends_in_one_sentence_and_keeps_what_was_there(first: Path, tmp_path: Path) -> None:
    """A limit on a file's size stands for the full disk: results.csv fits, a checkpoint does not."""
    (tmp_path / "small.yaml").write_text(small().model_dump_json())
    kept = tmp_path / "run" / "last.pt"
    kept.parent.mkdir()
    kept.write_bytes(first.read_bytes())
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "small.yaml"), "--output", str(kept.parent)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 1, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("trainers: ")]
    assert len(said) == 1
    assert "cannot be written: File too large" in said[0]
    assert "Traceback" not in done.stderr
    assert kept.read_bytes() == first.read_bytes()
    assert sorted(path.name for path in kept.parent.iterdir()) == ["last.pt", "results.csv"]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkError, match="no folder can be made"):
        train(small(), tmp_path / "file" / "run", quiet=True)


def test_a_resumed_run_keeps_the_scalars_of_the_epoch_before(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for done in (0, 2):
        with Log(tmp_path, resume_at=done, quiet=True, board=True) as log:
            log.start(4, 2)
            for step in (done + 1, done + 2):
                log.step(step, {"boxes": float(step)}, 0.1)
            log.epoch(step // 2, 0.1, None)
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in board.Scalars("step/boxes")] == [1, 2, 3, 4]
    assert [event.step for event in board.Scalars("epoch/loss")] == [2, 4]


def test_a_stop_at_the_end_of_an_epoch_leaves_its_row_and_its_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = loop._step

    def step_and_stop(run, *rest):
        if run.step == 1:
            signal.raise_signal(signal.SIGINT)
        return take(run, *rest)

    monkeypatch.setattr(loop, "_step", step_and_stop)
    monkeypatch.setattr(loop, "measure", lambda *_: Report(0.4, 0.5, {}, 1, confusion=((0,),)))
    with pytest.raises(KeyboardInterrupt):
        train(small(val_every=1, optim=SHORT | {"epochs": 2}), tmp_path, quiet=True)
    assert [checkpoints.load(tmp_path / name).step for name in ("last.pt", "best.pt")] == [2, 2]
    with (tmp_path / "results.csv").open(newline="") as file:
        assert [(row["epoch"], row["ap"]) for row in csv.DictReader(file)] == [("1", "0.4000")]


def test_heatmaps_are_learnt_from_a_teacher() -> None:
    torch.manual_seed(0)
    one, other = (build(1, small(model=SMALL | {"arch": "pose_topdown"}).model) for _ in range(2))
    crops = torch.rand(2, 3, 64, 64)
    mine, theirs = one.decode(one(crops)), {k: v.detach() for k, v in other.decode(other(crops)).items()}
    (term,) = apart(mine, theirs).values()
    assert term > 0
    assert apart(theirs, theirs) == {"heatmaps": 0}
    term.backward()
    assert one.final_layer.weight.grad.abs().sum(dim=(1, 2, 3)).min() > 0  # every joint's map moves


def test_a_teacher_that_ranks_its_rows_is_one_sentence(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = checkpoints.network

    def ranked(saved):
        net, config = made(saved)
        net.ranked = True
        return net, config

    monkeypatch.setattr(checkpoints, "network", ranked)
    with pytest.raises(InputError, match=r"teacher\.checkpoint: .* gives rows by score"):
        train(small(teacher={"checkpoint": str(first)}), tmp_path, quiet=True)

"""The video stage: only what lies between key frames learns, and it is measured against doing nothing."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from engines.errors import InputError
from engines.spec import ModelSpec
from trainers import checkpoints, models, video
from trainers.config import Config, Network
from trainers.data.clips import INTERVAL, render_clips, render_pairs
from trainers.evaluate import Report
from trainers.evaluate_video import by_torch, measure_clips
from trainers.export import write
from trainers.models.yolactedge import State, YolactEdgeVideo
from trainers.video import MOVING, train_video


def config(**changes: object) -> Config:
    settings = {
        "name": "little",
        "seed": 3,
        "size": (96, 64),
        "threads": 1,
        "model": {"arch": "yolactedge_video"},
        "data": {"train": 8, "val": 1},
        "optim": {"epochs": 3, "batch": 4, "warmup": 2},
        "start": {"weights": "tiny-yolact"},
    }
    return Config.model_validate(settings | changes)


def test_only_the_parts_between_key_frames_learn(tmp_path: Path) -> None:
    path = train_video(config(), tmp_path, quiet=True)
    saved = checkpoints.load(path)
    fresh = config(optim={"epochs": 1, "batch": 4, "lr": 1e-9})
    still = checkpoints.load(train_video(fresh, tmp_path / "still", quiet=True))
    moved = {
        name for name in saved.model if not torch.allclose(saved.model[name], still.model[name], atol=1e-6)
    }
    assert moved
    assert all(name.startswith(MOVING) for name in moved)
    rows = (tmp_path / "results.csv").read_text().splitlines()
    losses = [float(row.split(",")[4]) for row in rows[1:]]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"start": {}}, r"start\.weights: '', an exported image model is right"),
        ({"start": {"weights": "tiny-yolo"}}, r"start\.weights: tiny-yolo: \d+ layers are not in it, or of"),
        ({"data": {"kind": "coco"}}, r"data\.kind: coco, scenes is right"),
        ({"data": {"train": 3, "val": 1}}, r"data\.train: 3, at least optim\.batch: 4 pairs are right"),
        (
            {"augment": {"mosaic": 0.5}},
            r"augment\.mosaic: 0\.5, the video stage has no use for it: 0\.0",
        ),
        ({"loss": {"boxes": 2}}, r"loss\.boxes: 2\.0, the video stage has no use for it: 5\.0 is right"),
        (
            {"start": {"weights": "tiny-yolact", "freeze": ["flow_net"]}},
            r"start\.freeze: \('flow_net',\), the video stage has no use for it: \(\) is right",
        ),
        ({"teacher": {"checkpoint": "a.pt"}}, r"teacher\.checkpoint: 'a\.pt', the video stage has no use"),
        ({"device": "gpu"}, r"device: 'gpu', auto, cpu or cuda:0 is right"),
    ],
    ids=["none", "no heads", "labels", "few", "mixed", "loss", "freeze", "teacher", "device"],
)
def test_what_it_cannot_begin_with_is_one_sentence(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        train_video(config(**changes), tmp_path, quiet=True)


@pytest.mark.parametrize("stop", [2, 3])
def test_a_resumed_run_equals_one_that_never_stopped(
    stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = checkpoints.load(train_video(config(), tmp_path / "whole", quiet=True))
    take, last = video._step, tmp_path / "parts" / "last.pt"

    def step_or_stop(run: Any, *rest: Any) -> dict[str, float]:
        if run.step == stop:  # Ctrl-C in the middle of the second epoch, or at its end
            signal.raise_signal(signal.SIGINT)
        return take(run, *rest)

    monkeypatch.setattr(video, "_step", step_or_stop)
    with pytest.raises(KeyboardInterrupt):
        train_video(config(), last.parent, quiet=True)
    monkeypatch.undo()
    assert checkpoints.load(last).step == stop + 1
    parts = checkpoints.load(train_video(config(), last.parent, resume=last, quiet=True))
    assert parts.step == whole.step == 6
    assert all(torch.equal(value, parts.model[name]) for name, value in whole.model.items())
    assert all(torch.equal(value, parts.average[name]) for name, value in whole.average.items())
    rows = [(tmp_path / name / "results.csv").read_text().splitlines() for name in ("whole", "parts")]
    assert [row.split(",")[4:] for row in rows[0]] == [row.split(",")[4:] for row in rows[1]]


def test_classes_are_those_of_the_image_model(tmp_path: Path) -> None:
    net = models.build(2, Network(arch="yolactedge")).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
    image = tmp_path / "image.onnx"
    write(net, ModelSpec("a", "segment", "dense", ("seal", "frog"), (96, 64)), image, half=False, words={})
    saved = checkpoints.load(train_video(config(start={"weights": str(image)}), tmp_path / "run", quiet=True))
    assert saved.classes == ("seal", "frog")
    assert "ap" not in (tmp_path / "run" / "results.csv").read_text().splitlines()[0].split(",")
    patient = config(start={"weights": str(image)}, optim={"epochs": 1, "batch": 4, "patience": 2})
    with pytest.raises(InputError, match=r"optim\.patience: 2, 0 is right: only person, car, ball"):
        train_video(patient, tmp_path / "run", quiet=True)
    head = "prediction_layers.0.conf_layer.weight"
    assert torch.allclose(saved.average[head], net.state_dict()[head])


def test_a_run_leaves_what_a_run_of_an_image_model_leaves(tmp_path: Path) -> None:
    train_video(config(optim={"epochs": 1, "batch": 8}, tensorboard=True), tmp_path, quiet=True)
    left = {path.name for path in tmp_path.iterdir()}
    plots = {"loss.png", "ap.png", "precision.png", "confusion.png"}
    assert left == {"last.pt", "best.pt", "results.csv", "tensorboard", *plots}


def test_the_optimizer_and_the_patience_are_those_of_the_training_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "measure_clips", lambda *how: Report(0.5, 0.5, {}, 1, confusion=((0,),)))
    how = {"kind": "sgd", "epochs": 9, "batch": 8, "patience": 1}
    saved = checkpoints.load(train_video(config(optim=how, val_every=1), tmp_path, quiet=True))
    assert saved.step == 2  # the second validation is no better
    assert saved.best == 0.5
    assert saved.optimizer["param_groups"][0]["momentum"] == 0.9


def test_pairs_repeat_and_show_what_moves() -> None:
    first, second = render_pairs(3, 40, 96), render_pairs(3, 40, 96)
    for a, b in zip(first, second, strict=True):
        assert all((x.image == y.image).all() for x, y in zip(a, b, strict=True))
        assert a[0].image.shape == a[1].image.shape
        assert (a[0].image != a[1].image).any()


def test_copied_frames_show_the_key_frame_and_others_do_not() -> None:
    torch.manual_seed(1)
    net = models.build(3, Network(arch="yolactedge_video", widths=(8, 8, 16, 16, 24), neck=16)).eval()
    clips = render_clips(1, 50, held_out=False)
    assert len(clips[0]) == INTERVAL
    reports = {way: measure_clips(by_torch(net, (96, 64)), clips, way) for way in ("key", "between", "copy")}
    assert {report.pictures for report in reports.values()} == {INTERVAL - 1}
    assert all("masks" in report.parts for report in reports.values())


def test_a_frame_moves_the_key_frames_features_whatever_its_lateral_comes_from() -> None:
    net: YolactEdgeVideo = models.build(
        3, Network(arch="yolactedge_video", widths=(8, 8, 16, 16, 24), neck=16)
    )
    net.eval()
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        _, state = net.key(images)
        whole = net.transform(images, state)
        lateral = net.fpn_phase_1.lat_layers[2](net.backbone.shallow(images))
        again = net.move(lateral, State(*state))
    assert all(torch.equal(a, b) for a, b in zip(whole.levels, again.levels, strict=True))

"""The video stage: only what lies between key frames learns, and it is measured against doing nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engines.errors import InputError
from trainers import checkpoints, models
from trainers.config import Config, Network
from trainers.data.clips import INTERVAL, render_clips, render_pairs
from trainers.evaluate_video import by_torch, measure_clips
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
        "start": {"weights": "tiny-yolo"},
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


def test_it_begins_from_an_exported_image_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"start\.weights: '', an exported image model"):
        train_video(config(start={}), tmp_path, quiet=True)


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

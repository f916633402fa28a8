"""The card: what went into a model, how long a run took, also one that was stopped and resumed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainers.runs import small
from trainers import checkpoints
from trainers.card import _made, _minutes, _text
from trainers.checkpoints import Checkpoint
from trainers.cli import main
from trainers.config import Config


def saved(config: Config, *classes: str) -> Checkpoint:
    none: dict[str, Any] = {}
    return Checkpoint(config.model_dump(mode="json"), classes, 9, -1.0, none, none, none, torch.zeros(1))


def card(config: Config, folder: Path, *classes: str) -> str:
    model = folder / "a.onnx"
    model.write_bytes(b"model")
    return _text(config, _made(saved(config, *classes), config, 0), model, [])


def test_a_card_of_ones_own_pictures_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small(data={"kind": "coco", "images": "a", "labels": "b"})
    checkpoints.save(saved(config, "cat"), tmp_path / "a.pt")
    monkeypatch.setattr(sys, "argv", ["trainers", "export", str(tmp_path / "a.pt"), "--card"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "a.pt: data.kind: coco, scenes is right: a card tells" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_a_card_tells_the_input_of_the_network(tmp_path: Path) -> None:
    assert "Input 96x64, letterboxed;" in card(small(), tmp_path, "person")
    nano = small(model={"arch": "yolox_nano"})
    assert "Input 96x64, letterboxed at the top left; 0.90 M" in card(nano, tmp_path, "person")


def test_parameters_are_those_of_its_own_classes() -> None:
    one, three = (_made(saved(small(), *"abc"[:count]), small(), 0).weights for count in (1, 3))
    assert one < three


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "no picture or weight of anyone else went into it."),
        ({"start": {"weights": "tiny-yolo"}}, "no picture or weight of anyone else went into it."),
        ({"start": {"weights": "yolox_s.pth"}}, "but it began from the weights of yolox_s.pth."),
        ({"teacher": {"checkpoint": "b.pt"}}, "but it learnt from the answers of b.pt."),
    ],
)
def test_a_card_names_what_a_model_was_made_from(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    assert said in card(small(**changes), tmp_path, "person")


@pytest.mark.parametrize(
    ("seconds", "minutes"), [((60, 120, 300), 5), ((300, 600, 60, 240), 14), ((600, 60), 11), ((90,), 2)]
)
def test_the_minutes_of_a_resumed_run_are_added(
    seconds: tuple[int, ...], minutes: int, tmp_path: Path
) -> None:
    rows = "".join(f"{epoch},{when}\n" for epoch, when in enumerate(seconds, 1))
    (tmp_path / "results.csv").write_text(f"epoch,seconds\n{rows}")
    assert _minutes(tmp_path / "last.pt") == minutes


def test_a_checkpoint_without_its_results_tells_no_time(tmp_path: Path) -> None:
    assert _minutes(tmp_path / "last.pt") == 0

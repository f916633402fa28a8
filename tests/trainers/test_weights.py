"""Every shipped model reaches its card's figures, less a tenth, on seeds the card was not measured on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engines.shipped import FOLDER, file_of, names
from trainers.data.scenes import CLASSES
from trainers.exam import examine

PARTS = {"segment": ["masks"], "pose": ["keypoints"]}


def claimed(name: str) -> dict[str, float]:
    """The AP50 (or share) that the card gives for the held-out appearance."""
    card = (FOLDER / f"{name}.md").read_text()
    rows = re.findall(r"^\| held-out \|.*\| (\w+) \| [\d.]+ \| ([\d.]+) \|$", card, re.MULTILINE)
    return {row: float(figure) for row, figure in rows}


@pytest.mark.parametrize("name", names())
def test_a_card_tells_how_a_model_was_made_and_what_it_reaches(name: str) -> None:
    card = (FOLDER / f"{name}.md").read_text()
    assert f"`trainers train configs/train/{name}.yaml`" in card
    for word in ("seed", "steps", "Licence: Apache-2.0", "seen no photograph"):
        assert word in card
    assert (Path(__file__).parents[2] / "configs" / "train" / f"{name}.yaml").is_file()
    figures = claimed(name)
    if "pck" in figures:
        assert figures["pck"] > 0.7
    else:
        assert list(figures)[:4] == ["all", *CLASSES]
        assert figures["all"] > 0.7


@pytest.mark.parametrize("name", names())
def test_fresh_held_out_scenes_reach_the_cards_figures(name: str) -> None:
    report = examine(name, 40, "fresh", held_out=True)
    got = {row: ap50 for row, (_, ap50) in report.figures().items()}
    assert got.keys() == claimed(name).keys()
    for row, figure in claimed(name).items():
        assert got[row] >= figure - 0.1, row


def test_all_of_them_stay_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.glob("*.onnx")) <= 12e6
    assert all(file_of(name).is_file() for name in names())

"""The shipped model reaches its card's figures, less a tenth, on seeds that the card was not measured on."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest

import engines
from engines.options import Precision
from trainers.data.scenes import CLASSES, SEEDS, render_scenes
from trainers.evaluate import measure

CARD = Path(engines.__file__).parent / "weights" / "tiny-yolo.md"


def claimed() -> dict[str, float]:
    """The AP50 that the card gives for the held-out appearance."""
    rows = re.findall(r"^\| held-out \|.*\| (\w+) \| [\d.]+ \| ([\d.]+) \|$", CARD.read_text(), re.MULTILINE)
    return {name: float(ap50) for name, ap50 in rows}


def test_the_card_claims_a_figure_for_every_class() -> None:
    assert list(claimed()) == ["all", *CLASSES]
    assert claimed()["all"] > 0.85


@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_fresh_held_out_scenes_reach_the_cards_figures(precision: Precision) -> None:
    samples = render_scenes(80, SEEDS["fresh"], 640, held_out=True, fixed=(640, 360))
    options = engines.Options(
        backend="openvino", precision=precision, conf=0.001, iou=0.6, max_det=100, labels="all"
    )
    with contextlib.closing(engines.load("tiny-yolo", options)) as model:
        report = measure(model.predict, samples, CLASSES)
    assert report.ap50 >= claimed()["all"] - 0.1
    for name, (_, ap50) in report.classes.items():
        assert ap50 >= claimed()[name] - 0.1, name

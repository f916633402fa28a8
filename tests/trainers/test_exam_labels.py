"""Measuring on labels of one's own: classes are matched by name, plots are left."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engines.detections import EMPTY, Detections
from engines.errors import InputError
from trainers import evaluate
from trainers.cli import main
from trainers.config import Config, Data
from trainers.exam import examine_labels
from trainers.train import train

LITTLE = {"widths": (8, 8, 16, 16, 16), "depths": (1, 1, 1, 1), "neck": 16}


def labelled(folder: Path, *names: str) -> dict[str, str]:
    """Two pictures, an object of each class on both."""
    categories = [{"id": number, "name": name} for number, name in enumerate(names, 5)]
    images = [{"id": n, "file_name": f"{n}.png", "width": 96, "height": 64} for n in (1, 2)]
    rows = [
        {"id": 10 * n + c, "image_id": n, "category_id": c, "bbox": [10 * (c - 4), 10, 20, 30]}
        for n in (1, 2)
        for c in range(5, 5 + len(names))
    ]
    for image in images:
        cv2.imwrite(str(folder / image["file_name"]), np.full((64, 96, 3), 90, np.uint8))
    labels = folder / "labels.json"
    labels.write_text(json.dumps({"images": images, "annotations": rows, "categories": categories}))
    return {"kind": "coco", "images": str(folder), "labels": str(labels)}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of persons, cars and balls."""
    settings = {"name": "a", "size": (96, 64), "model": LITTLE, "data": {"train": 2, "val": 1}}
    config = Config.model_validate(settings | {"optim": {"epochs": 1}})
    return train(config, tmp_path_factory.mktemp("run"), quiet=True)


def config(data: dict[str, str]) -> Config:
    return Config.model_validate({"name": "b", "size": (96, 64), "data": data})


def test_classes_are_matched_by_name(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person is the labels' second class and the model's first."""

    @contextlib.contextmanager
    def opened(model: Path) -> Iterator[Any]:
        person = Detections.of([[20, 10, 40, 40]], [0.9], [0])
        yield lambda images: [person], ("person", "car", "ball")

    monkeypatch.setattr(evaluate, "opened", opened)
    report = examine_labels(checkpoint, config(labelled(tmp_path, "ball", "person")))
    assert report.classes == {"ball": (0.0, 0.0), "person": pytest.approx((1.0, 1.0))}


def test_pictures_are_measured_as_large_as_they_are(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []

    @contextlib.contextmanager
    def opened(model: Path) -> Iterator[Any]:
        yield lambda images: [shown.append(images[0].shape) or EMPTY], ("person", "car", "ball")

    monkeypatch.setattr(evaluate, "opened", opened)
    small = config(labelled(tmp_path, "person")).model_copy(update={"size": (32, 32)})
    examine_labels(checkpoint, small)
    assert shown == [(64, 96, 3), (64, 96, 3)]


def test_a_model_that_sees_one_person_is_measured_on_people(tmp_path: Path) -> None:
    data = labelled(tmp_path, "person")
    tree = json.loads(Path(data["labels"]).read_text())
    for row in tree["annotations"]:
        row["keypoints"] = [20, 25, 2] * 17
    Path(data["labels"]).write_text(json.dumps(tree))
    settings = {"name": "c", "size": (96, 128), "model": LITTLE | {"arch": "pose_topdown"}}
    scenes = {"train": 2, "val": 1, "people": True}
    config = Config.model_validate(settings | {"data": scenes, "optim": {"epochs": 1}})
    model = train(config, tmp_path / "run", quiet=True)
    report = examine_labels(model, config.model_copy(update={"data": Data(**data, keypoints=17)}))
    assert (report.pictures, report.classes) == (2, {})
    assert set(report.parts) == {"keypoints", "pck"}


def test_a_class_that_the_model_does_not_know_is_named(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data.classes: 'cart' is none that .* did you mean 'car'"):
        examine_labels(checkpoint, config(labelled(tmp_path, "cart")))


def test_the_command_tells_every_class_and_leaves_plots(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "b.yaml"
    file.write_text(config(labelled(tmp_path, "ball", "person")).model_dump_json())
    plots = tmp_path / "plots"
    monkeypatch.setattr(
        sys, "argv", ["trainers", "evaluate", str(checkpoint), "--data", str(file), "--plots", str(plots)]
    )
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    said = capsys.readouterr().out
    assert f"2 pictures, of {file}" in said
    assert all(name in said for name in ("all", "person", "ball"))
    assert sorted(path.name for path in plots.iterdir()) == ["confusion.png", "precision.png"]

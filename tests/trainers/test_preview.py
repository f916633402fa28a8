"""The sheet of training pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.errors import InputError
from engines.scenes import CLASSES, Scene
from trainers import preview as module
from trainers.config import Config
from trainers.data.scenes import scene_sample
from trainers.preview import drawn, preview


@pytest.mark.parametrize("arch", ["yolo", "pose", "yolact"])
def test_a_sheet_is_rows_by_columns_and_drawn_on(arch: str, tmp_path: Path) -> None:
    config = Config.model_validate({"name": "a", "size": (96, 64), "model": {"arch": arch}})
    path = preview(config, tmp_path / "a.png", columns=3, rows=2)
    assert cv2.imread(str(path)).shape == (2 * 68, 3 * 100, 3)


@pytest.mark.parametrize(("pictures", "columns", "shown"), [(6, 3, 6), (24, 3, 6), (4, 3, 4)])
def test_every_tile_shows_another_picture_as_long_as_there_are_any(
    pictures: int, columns: int, shown: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = set()
    take = module.augment
    monkeypatch.setattr(module, "augment", lambda data, row, *how: asked.add(row) or take(data, row, *how))
    config = Config.model_validate({"name": "a", "size": (64, 32), "data": {"train": pictures}})
    preview(config, tmp_path / "a.png", columns=columns, rows=2)
    assert len(asked) == shown


@pytest.mark.parametrize("task", ["detect", "segment", "pose"])
def test_what_is_drawn_lies_on_the_objects(task: str) -> None:
    sample = scene_sample(Scene((320, 180), 30.0, 2), 40, 320, task)
    changed = (drawn(sample, CLASSES) != sample.image).any(axis=2)
    near = np.zeros_like(changed)
    for x0, y0, x1, y1 in sample.boxes.astype(int):
        near[max(y0 - 3, 0) : y1 + 12, max(x0 - 3, 0) : x1 + 30] = True  # names may reach beyond
        assert changed[y0 : y1 + 1, x0 : x1 + 1].any()
    assert not (changed & ~near).any()


def test_a_name_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a name that ends in .png or .jpg is right"):
        preview(Config(name="a"), tmp_path / "a.txt")

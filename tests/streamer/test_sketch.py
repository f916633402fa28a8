"""Lines and zones drawn on a picture: points become YAML that a pipeline reads back."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.errors import InputError
from streamer.analytics.plan import LinePlan, Plan, ZonePlan
from streamer.config import load
from streamer.sketch import Sketch, draw_zones

ENTER, BACKSPACE = 13, 8
CORNERS = ((0.1, 0.1), (0.9, 0.1), (0.5, 0.9))


def clicked(sketch: Sketch, *points: tuple[float, float]) -> None:
    for x, y in points:
        sketch.click(x * 640, y * 360)


def test_two_points_are_a_line_more_are_a_zone_and_undo_takes_them_back() -> None:
    sketch = Sketch(Plan((LinePlan("line 1", ((0, 0), (1, 1))),)), (640, 360))
    clicked(sketch, (0.25, 0.5), (0.75, 0.5))
    assert sketch.press(ENTER)
    assert sketch.plan.lines[-1] == LinePlan("line 2", ((0.25, 0.5), (0.75, 0.5)))
    clicked(sketch, *CORNERS, (1.5, 0.2))
    sketch.press(BACKSPACE)
    sketch.press(ENTER)
    assert sketch.plan.zones == (ZonePlan("zone 1", CORNERS),)
    sketch.press(BACKSPACE)
    assert sketch.plan.zones == ()
    clicked(sketch, (0.5, 0.5))
    assert sketch.press(ENTER)
    assert len(sketch.points) == 1
    assert not sketch.press(ord("q"))


def test_clicks_on_the_outermost_pixels_are_on_the_edges() -> None:
    sketch = Sketch(Plan(), (640, 360))
    for x, y in ((0, 0), (639, 0), (639, 359), (-3, 400)):
        sketch.click(x, y)
    assert sketch.points == [(0, 0), (1, 0), (1, 1), (0, 1)]


def test_without_a_window_a_grid_is_written_and_yaml_that_a_pipeline_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "grid.png"
    draw_zones("synthetic:?size=640x360&count=5", 0.05, None, path)
    picture = cv2.imread(str(path))
    assert picture.shape == (360, 640, 3)
    told = capsys.readouterr().out
    pipeline = tmp_path / "street.yaml"
    pipeline.write_text("sources: {a: x.mp4}\nmodel: m\n" + told)
    plan = load(pipeline).analytics.plan()
    assert [part.name for part in (*plan.lines, *plan.zones)] == ["line 1", "zone 1"]
    draw_zones("synthetic:?size=640x360&count=5", 0.05, pipeline, path)
    assert capsys.readouterr().out == told
    assert np.array_equal(cv2.imread(str(path)), picture)


@pytest.mark.parametrize(
    ("at", "name", "sentence"),
    [
        (9.0, "grid.png", "--at: 9, but .* ends at 0.133 s"),
        (0.0, "grid.xyz", "--save: .*grid.xyz: would end with .png or .jpg"),
        (0.0, "no/grid.png", "--save: .*: no folder "),
    ],
)
def test_mistakes_are_told(tmp_path: Path, at: float, name: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        draw_zones("synthetic:?size=128x72&count=5", at, None, tmp_path / name)

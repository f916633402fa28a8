"""YOLOv5, YOLOX decoded, NanoDet: one row for each cell, or three."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from engines.classes import COCO
from engines.errors import InputError

SIZE = (128, 96)
CAT, DOG = ([10.0, 12, 50, 60], 0.9, 15), ([60.0, 20, 124, 90], 0.7, 16)

Run = Callable[..., Any]
Same = Callable[..., None]


def cell_count(strides: tuple[int, ...]) -> int:
    return sum(-(-SIZE[0] // stride) * -(-SIZE[1] // stride) for stride in strides)


def centred(places: dict[int, Any], count: int, width: int) -> np.ndarray:
    """Rows (1, count, width) of cx, cy, w, h, objectness .95 and the rest of the score in its class."""
    table = np.zeros((1, count, width), np.float32)
    for place, ((x1, y1, x2, y2), score, label) in places.items():
        table[0, place, :5] = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, 0.95]
        table[0, place, 5 + label] = score / 0.95
    return table


@pytest.mark.parametrize("strides", [(8, 16, 32), (8, 16, 32, 64)], ids=["P5", "P6"])
def test_yolov5(strides: tuple[int, ...], run: Run, same: Same) -> None:
    spec, found = run({"output0": centred({7: CAT, 500: DOG}, 3 * cell_count(strides), 85)}, SIZE)
    assert (spec.layout, spec.resize, spec.colour, spec.classes) == ("yolov5", "letterbox", "rgb", COCO)
    same(found, [CAT, DOG])


def test_yolov5_segments(run: Run, same: Same) -> None:
    table = centred({7: CAT}, 3 * cell_count((8, 16, 32)), 117)
    table[0, 7, 85] = 2
    prototypes = np.zeros((1, 32, 24, 32), np.float32)
    prototypes[0, 0] = np.arange(32) - 7.5
    spec, found = run({"output0": table, "output1": prototypes}, SIZE)
    assert (spec.layout, spec.task) == ("yolov5", "segment")
    same(found, [CAT])
    grid = found.masks.grids[0]
    np.testing.assert_allclose(np.diff(grid, axis=1), 2, atol=1e-4)


def test_yolov5_is_told_its_names_by_newer_exports(run: Run) -> None:
    spec, _ = run(
        {"output0": centred({}, 3 * cell_count((8, 16, 32)), 7)},
        SIZE,
        metadata={"stride": "32", "names": "['a', 'b']"},
    )
    assert spec.classes == ("a", "b")


def test_yolox_decoded_in_its_graph(run: Run, same: Same) -> None:
    spec, found = run(
        {"output": centred({7: CAT, 200: DOG}, cell_count((8, 16, 32)), 85)}, SIZE, decoded=True
    )
    assert (spec.layout, spec.resize, spec.colour, spec.scale) == (
        "yolox-decoded",
        "letterbox-topleft",
        "bgr",
        1.0,
    )
    same(found, [CAT, DOG])


def bins_of(distance: float) -> np.ndarray:
    """Logits whose softmax puts a distance (in strides) between its two nearest bins."""
    low = min(int(distance), 6)
    logits = np.full(8, -30.0)
    logits[low : low + 2] = np.log(np.maximum([low + 1 - distance, distance - low], 1e-9))
    return logits


def distances(box: list[float], stride: int, column: int, row: int, middle: float) -> np.ndarray:
    x, y = (column + middle) * stride, (row + middle) * stride
    return np.concatenate(
        [bins_of(reach / stride) for reach in (x - box[0], y - box[1], box[2] - x, box[3] - y)]
    )


def test_nanodet(run: Run, same: Same) -> None:
    """The cat in cell (3, 4) of the finest grid, the dog in cell (5, 3) of the next."""
    outputs = {}
    for stride in (8, 16, 32):
        outputs[f"cls_pred_stride_{stride}"] = np.zeros((1, cell_count((stride,)), 80), np.float32)
    for stride in (8, 16, 32):
        outputs[f"dis_pred_stride_{stride}"] = np.zeros((1, cell_count((stride,)), 32), np.float32)
    for (box, score, label), stride, column, row in ((CAT, 8, 3, 4), (DOG, 16, 5, 3)):
        place = row * (SIZE[0] // stride) + column
        outputs[f"cls_pred_stride_{stride}"][0, place, label] = score
        outputs[f"dis_pred_stride_{stride}"][0, place] = distances(box, stride, column, row, 0.5)
    spec, found = run(outputs, SIZE)
    assert (spec.layout, spec.resize, spec.colour, spec.mean[0]) == ("nanodet", "stretch", "bgr", 103.53)
    same(found, [CAT, DOG])


def test_nanodet_plus(run: Run, same: Same) -> None:
    table = np.zeros((1, cell_count((8, 16, 32, 64)), 112), np.float32)
    start = {8: 0, 16: 16 * 12}
    for (box, score, label), stride, column, row in ((CAT, 8, 3, 4), (DOG, 16, 5, 3)):
        place = start[stride] + row * (SIZE[0] // stride) + column
        table[0, place, label] = score
        table[0, place, 80:] = distances(box, stride, column, row, 0.0)
    spec, found = run({"output": table}, SIZE)
    assert spec.layout == "nanodet-plus"
    same(found, [CAT, DOG])


def test_rows_that_the_graph_tells_nothing_of_need_a_card(run: Run, same: Same) -> None:
    """So YOLOv6 exports: decoded without an exponent, RGB 0..1 in the middle."""
    made = {"outputs": centred({7: CAT}, cell_count((8, 16, 32)), 85)}
    with pytest.raises(
        InputError, match=r"could be of yolox or yolox-decoded: .* 'layout: yolox' or 'layout: y"
    ):
        run(made, SIZE)
    card = "layout: yolox-decoded\nresize: letterbox\ncolour: rgb\nscale: 0.00392157\n"
    spec, found = run(made, SIZE, card=card)
    assert (spec.layout, spec.resize, spec.colour) == ("yolox-decoded", "letterbox", "rgb")
    same(found, [CAT])


GRIDS = {"P6": (8, 16, 32, 64), "P2": (4, 8, 16, 32), "two of YOLOv3-tiny": (16, 32)}


@pytest.mark.parametrize("strides", GRIDS.values(), ids=GRIDS.keys())
def test_ultralytics_of_other_grids_is_told_by_its_metadata(
    strides: tuple[int, ...], run: Run, same: Same
) -> None:
    table = np.zeros((1, 4 + 80, cell_count(strides)), np.float32)
    for place, ((x1, y1, x2, y2), score, label) in {3: CAT, 11: DOG}.items():
        table[0, :4, place] = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
        table[0, 4 + label, place] = score
    words = {"task": "detect", "names": repr(dict(enumerate(COCO)))}
    spec, found = run({"output0": table}, SIZE, metadata=words)
    assert spec.layout == "ultralytics"
    same(found, [CAT, DOG])
    with pytest.raises(InputError, match="layout: unknown"):
        run({"output0": table}, SIZE)

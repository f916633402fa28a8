"""YOLOX: names and shapes of the official checkpoints, outputs of an official file, SimOTA by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from trainers.config import Loss, Network
from trainers.data.batch import Sample, collate
from trainers.models import build
from trainers.models.yolox import SIZES, YoloX, simota

PARAMETERS = {
    "yolox_nano": 912_159,
    "yolox_tiny": 5_055_855,
    "yolox_s": 8_968_255,
    "yolox_m": 25_326_495,
    "yolox_l": 54_208_895,
    "yolox_x": 99_071_455,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_each_has_as_many_parameters_as_the_official_one(name: str) -> None:
    with torch.device("meta"):
        net = build(80, Network(arch=name))
    assert sum(parameter.numel() for parameter in net.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", ["yolox_nano", "yolox_s"])
def test_names_and_shapes_are_those_of_the_official_checkpoints(name: str, data_dir: Path) -> None:
    path = data_dir.parent / "notes" / "state_dicts" / f"{name}.txt"
    if not path.exists():
        pytest.skip(f"no list of official names at {path}")
    with torch.device("meta"):
        state = build(80, Network(arch=name)).state_dict()
    assert [f"{key} {list(value.shape)}" for key, value in state.items()] == path.read_text().splitlines()


def test_official_weights_give_the_official_outputs(data_dir: Path) -> None:
    """The official ONNX file has norms folded into convolutions: ours run with norms that change nothing."""
    path = data_dir / "models" / "yolox_nano_416.onnx"
    graph = onnx.load(str(path)).graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    theirs = [
        node.input[1:] for node in graph.node if node.op_type == "Conv" and "preds" not in node.input[1]
    ]
    net = YoloX(80, SIZES["yolox_nano"]).eval()
    order: list[nn.Module] = []
    hooks = [m.register_forward_pre_hook(lambda m, _: order.append(m)) for m in net.modules() if _is_block(m)]
    net(torch.zeros(1, 3, 64, 64))
    for hook in hooks:
        hook.remove()
    assert len(order) == len(theirs)
    for block, (kernel, bias) in zip(order, theirs, strict=True):
        block.conv.weight.data = torch.tensor(arrays[kernel])
        block.bn.bias.data = torch.tensor(arrays[bias])
        block.bn.running_var.fill_(1 - block.bn.eps)
    named = {key: torch.tensor(value) for key, value in arrays.items() if "preds" in key}
    assert not net.load_state_dict(named, strict=False).unexpected_keys
    image = np.random.default_rng(0).integers(0, 256, (1, 3, 416, 416)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {session.get_inputs()[0].name: image})
    with torch.no_grad():
        output = net(torch.tensor(image))
    ours = torch.cat([output.sides, output.objectness.sigmoid(), output.logits.sigmoid()], 2).numpy()
    assert np.abs(ours - expected).max() < 1e-3
    assert np.abs(ours - expected).max() / np.abs(expected).max() < 1e-4


def _is_block(module: nn.Module) -> bool:
    return hasattr(module, "bn")


CELLS = torch.tensor([[column, row, 8.0] for row in range(4) for column in range(4)])  # of 32 x 32 pixels
SCORES = torch.full((16, 2), 0.1)


def at(*cells: tuple[int, list[float]]) -> torch.Tensor:
    """Boxes of all cells: those given, nothing elsewhere."""
    boxes = torch.zeros(16, 4)
    for cell, box in cells:
        boxes[cell] = torch.tensor(box)
    return boxes


def test_no_object_takes_no_cell() -> None:
    cell, owner, overlap = simota(SCORES, at(), CELLS, torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
    assert len(cell) == len(owner) == len(overlap) == 0


def test_an_object_takes_as_many_cells_as_its_overlaps_sum_to() -> None:
    truth, box = torch.tensor([[8.0, 8, 16, 16]]), [8.0, 8, 16, 16]
    boxes = at((5, box), (6, box), (9, [8.0, 8, 16, 12]))  # IoU 1, 1, .5: two cells
    cell, owner, overlap = simota(SCORES, boxes, CELLS, truth, torch.tensor([0]))
    assert cell.tolist() == [5, 6]
    assert owner.tolist() == [0, 0]
    assert overlap.tolist() == pytest.approx([1, 1])


def test_an_object_that_nothing_overlaps_still_takes_a_cell_near_its_centre() -> None:
    cell, owner, _ = simota(SCORES, at(), CELLS, torch.tensor([[24.0, 24, 30, 30]]), torch.tensor([1]))
    assert len(cell) == 1
    assert owner.tolist() == [0]
    assert ((CELLS[cell, :2] + 0.5) * 8 - 27).abs().max() < 12


def test_cells_far_from_the_centre_are_not_taken_however_well_they_fit() -> None:
    truth, box = torch.tensor([[0.0, 0, 8, 8]]), [0.0, 0, 8, 8]
    cell, _, _ = simota(SCORES, at((15, box), (0, box)), CELLS, truth, torch.tensor([0]))
    assert cell.tolist() == [0]


def test_a_cell_that_two_want_goes_to_the_one_it_fits() -> None:
    truth = torch.tensor([[8.0, 8, 16, 16], [8.0, 8, 18, 16]])
    boxes = at((5, [8.0, 8, 18, 16]))
    cell, owner, _ = simota(SCORES, boxes, CELLS, truth, torch.tensor([0, 0]))
    assert dict(zip(cell.tolist(), owner.tolist(), strict=True))[5] == 1
    assert len(set(cell.tolist())) == len(cell)


def test_the_better_class_decides_between_equal_boxes() -> None:
    truth, box = torch.tensor([[8.0, 8, 16, 12]]), [8.0, 8, 16, 16]
    scores = SCORES.clone()
    scores[6, 1] = 0.9
    cell, _, _ = simota(scores, at((5, box), (6, box)), CELLS, truth, torch.tensor([1]))
    assert cell.tolist() == [6]


def test_the_sides_that_l1_asks_for_decode_to_the_truth() -> None:
    net = YoloX(2, SIZES["yolox_nano"])
    truth = np.array([[10, 20, 40, 52]], np.float32)
    batch = collate([Sample(np.zeros((64, 64, 3), np.uint8), truth, np.array([1]))])
    output = net(torch.rand(1, 3, 64, 64))
    terms = net.loss(output, batch, Loss(l1=1.0))
    assert set(terms) == {"boxes", "classes", "objectness", "l1"}
    sides = torch.zeros_like(output.sides)
    sides[0, :, :2] = torch.tensor([25.0, 36.0]) / output.cells[:, 2:] - output.cells[:, :2]
    sides[0, :, 2:] = (torch.tensor([30.0, 32.0]) / output.cells[:, 2:]).log()
    exact = net.loss(output._replace(sides=sides), batch, Loss(l1=1.0))
    assert exact["l1"].item() == pytest.approx(0, abs=1e-3)
    assert exact["boxes"].item() == pytest.approx(0, abs=1e-3)
    assert terms["l1"].item() > 0.1


def test_a_picture_without_objects_only_teaches_silence() -> None:
    net = YoloX(2, SIZES["yolox_nano"])
    empty = Sample(np.zeros((64, 64, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    terms = net.loss(net(torch.rand(1, 3, 64, 64)), collate([empty]), Loss())
    assert terms["objectness"].item() > 0
    assert terms["boxes"].item() == terms["classes"].item() == 0
    sum(terms.values()).backward()

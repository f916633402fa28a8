"""Starting weights out of exported files: the network does what the file does, and can train on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from engines.description import describe
from engines.errors import InputError
from engines.shipped import FOLDER
from trainers import models
from trainers.augment import fit
from trainers.config import Network
from trainers.data.batch import collate
from trainers.data.scenes import render_scenes
from trainers.start import begin, exported


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    size = describe("tiny-yolo").spec.size
    return collate([fit(sample, size) for sample in render_scenes(8, 60, 640, fixed=(640, 360))]).images


@pytest.mark.parametrize("training", [False, True], ids=["predicting", "training"])
def test_norms_are_unfolded_so_that_the_network_does_what_its_file_does(
    images: torch.Tensor, training: bool
) -> None:
    net = models.build(3, Network())
    assert begin(net, "tiny-yolo", images) == "tiny-yolo: 60 of 60 layers taken"
    session = onnxruntime.InferenceSession(str(FOLDER / "tiny-yolo.onnx"))
    boxes, scores = session.run(["boxes", "scores"], {"images": images.numpy()})
    with torch.no_grad():
        got = net.decode(net.train(training)(images))
    sure = scores.max(axis=2) > 0.3
    assert sure.sum() > 20
    assert np.abs(got["scores"].numpy() - scores).max() < 0.02
    assert np.abs(got["boxes"].numpy() - boxes)[sure].max() < 1.0


@pytest.mark.parametrize("arch", ["ssd_small", "retinanet_small", "yolact", "pose_topdown"])
def test_other_families_take_the_backbone(arch: str, images: torch.Tensor) -> None:
    net = models.build(3, Network(arch=arch))
    taken = int(begin(net, "tiny-yolo", images).split()[1])
    assert taken >= (18 if arch == "pose_topdown" else 27)


def test_another_size_is_refused(images: torch.Tensor) -> None:
    net = models.build(3, Network(widths=(9, 9, 9, 9, 9), neck=9))
    with pytest.raises(InputError, match=r"start\.weights: tiny-yolo: no layer"):
        begin(net, "tiny-yolo", images)


def test_a_missing_file_is_told(images: torch.Tensor, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        begin(models.build(3, Network()), str(tmp_path / "none.onnx"), images)
    assert exported("tiny-yolo")
    assert not exported("runs/last.pt")


def test_a_bias_that_the_exporter_stored_once_for_two_layers_is_found(
    images: torch.Tensor, tmp_path: Path
) -> None:
    """Of equal tensors PyTorch's exporter keeps one and puts an Identity before the layers of the others."""
    model = onnx.load(str(FOLDER / "tiny-yolo.onnx"))
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    bias = next(
        node.input[2] for node in model.graph.node if node.op_type == "Conv" and node.input[2] in stored
    )
    stored[bias].name = "shared"
    model.graph.node.insert(0, onnx.helper.make_node("Identity", ["shared"], [bias]))
    onnx.save(model, str(tmp_path / "equal.onnx"))
    told = begin(models.build(3, Network()), str(tmp_path / "equal.onnx"), images)
    assert told.endswith("60 of 60 layers taken")

"""Published checkpoints: which file fits which model, what is said of one that does not, what it becomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models import detection

import engines
from engines.classes import COCO
from engines.errors import InputError
from trainers.config import Network
from trainers.models import build
from trainers.official import _COLUMNS, OFFICIAL, export_official, load_official

ENUMS = {
    "ssd300_vgg16": detection.SSD300_VGG16_Weights,
    "ssdlite320_mobilenet_v3_large": detection.SSDLite320_MobileNet_V3_Large_Weights,
    "retinanet_resnet50_fpn": detection.RetinaNet_ResNet50_FPN_Weights,
    "retinanet_resnet50_fpn_v2": detection.RetinaNet_ResNet50_FPN_V2_Weights,
}


@pytest.mark.parametrize("name", ENUMS)
def test_torchvisions_urls_and_class_columns_are_its_own(name: str) -> None:
    theirs = ENUMS[name].COCO_V1
    assert OFFICIAL[name].url == theirs.url
    assert tuple(theirs.meta["categories"][column] for column in _COLUMNS) == COCO
    parameters = sum(p.numel() for p in build_meta(name).parameters())
    assert parameters == theirs.meta["num_params"]


def build_meta(name: str) -> Any:
    with torch.device("meta"):
        return build(90 if OFFICIAL[name].columns else 80, Network(arch=name))


def saved(path: Path, state: Any) -> Path:
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def nano() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return build(80, Network(arch="yolox_nano")).state_dict()


@pytest.mark.parametrize("form", ["plain", "model", "module"])
def test_a_file_is_read_as_its_authors_wrap_it(
    form: str, nano: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    state: Any = {"model": nano, "start_epoch": 300} if form == "model" else nano
    if form == "module":
        state = {f"module.{key}": value for key, value in nano.items()}
    net = load_official(saved(tmp_path / "a.pth", state), "yolox_nano")
    assert all(torch.equal(value, nano[key]) for key, value in net.state_dict().items())


def test_keys_that_do_not_fit_are_listed(nano: dict[str, torch.Tensor], tmp_path: Path) -> None:
    state = dict(nano)
    del state["head.stems.0.conv.weight"]
    state["extra.bias"] = torch.zeros(1)
    state["head.cls_preds.1.bias"] = torch.zeros(20)
    path = saved(tmp_path / "a.pth", state)
    with pytest.raises(InputError) as error:
        load_official(path, "yolox_nano")
    assert "1 missing: head.stems.0.conv.weight" in str(error.value)
    assert "1 unexpected: extra.bias" in str(error.value)
    assert "1 of another shape: head.cls_preds.1.bias [20] ([80] is right)" in str(error.value)


@pytest.mark.parametrize("asked", ["yolox_s", "ssdlite320_mobilenet_v3_large", "yolact_resnet50"])
def test_weights_of_another_model_are_recognised(
    asked: str, nano: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"these are weights of yolox_nano, not of {asked}"):
        load_official(saved(tmp_path / "a.pth", nano), asked)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no such file"), ([1, 2], "no dictionary of tensors"), ({"a": 1}, "no dictionary of tensors")],
)
def test_what_is_no_checkpoint_is_refused(content: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    if content is not None:
        saved(path, content)
    with pytest.raises(InputError, match=said):
        load_official(path, "yolox_nano")


def test_an_unknown_model_is_named_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'yolox_nano'"):
        load_official("a.pth", "yolox_nan")


def test_the_first_releases_of_retinanet_fit_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = build(90, Network(arch="retinanet_resnet50_fpn")).state_dict()
    old = {}
    for key, value in state.items():
        for block in range(4):
            key = key.replace(f"_head.conv.{block}.0.", f"_head.conv.{2 * block}.")
        old[key] = value
    assert old.keys() != state.keys()
    net = load_official(saved(tmp_path / "a.pth", old), "retinanet_resnet50_fpn")
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())


def test_an_official_file_becomes_a_model_that_streams(tmp_path: Path) -> None:
    torch.manual_seed(1)
    name = "ssdlite320_mobilenet_v3_large"
    path = saved(tmp_path / "a.pth", build(90, Network(arch=name)).state_dict())
    output = export_official(path, name, tmp_path / "a.onnx", size=(160, 160))
    model = engines.load(output, engines.Options(backend="onnxruntime", conf=0.0, max_det=10))
    assert model.spec.classes == COCO
    assert model.spec.resize == "stretch"
    (found,) = model.predict([np.zeros((90, 120, 3), np.uint8)])
    model.close()
    assert len(found)

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
from engines.spec import ModelSpec
from trainers import official
from trainers.config import Network
from trainers.evaluate import predictor
from trainers.models import build
from trainers.official import OFFICIAL, _mapped, export_official, load_official

ENUMS = {
    "ssd300_vgg16": detection.SSD300_VGG16_Weights,
    "ssdlite320_mobilenet_v3_large": detection.SSDLite320_MobileNet_V3_Large_Weights,
    "retinanet_resnet50_fpn": detection.RetinaNet_ResNet50_FPN_Weights,
    "retinanet_resnet50_fpn_v2": detection.RetinaNet_ResNet50_FPN_V2_Weights,
    "fasterrcnn_resnet50_fpn": detection.FasterRCNN_ResNet50_FPN_Weights,
    "maskrcnn_resnet50_fpn": detection.MaskRCNN_ResNet50_FPN_Weights,
    "keypointrcnn_resnet50_fpn": detection.KeypointRCNN_ResNet50_FPN_Weights,
}


@pytest.mark.parametrize("name", ENUMS)
def test_torchvisions_urls_and_class_columns_are_its_own(name: str) -> None:
    theirs = ENUMS[name].COCO_V1
    assert OFFICIAL[name].url == theirs.url
    columns = OFFICIAL[name].columns or range(1, len(theirs.meta["categories"]))
    assert tuple(theirs.meta["categories"][column] for column in columns) == OFFICIAL[name].classes
    parameters = sum(p.numel() for p in build_meta(name).parameters())
    assert parameters == theirs.meta["num_params"]


def build_meta(name: str) -> Any:
    with torch.device("meta"):
        return build(90 if OFFICIAL[name].columns else len(OFFICIAL[name].classes), Network(arch=name))


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


@pytest.mark.parametrize(
    ("name", "renamed"),
    [("retinanet_resnet50_fpn", 16 + 2 * 3 * 2), ("maskrcnn_resnet50_fpn", 2 * 4 * 2 + 2 + 4 * 2)],
)
def test_the_first_releases_fit_too(name: str, renamed: int) -> None:
    """torchvision 0.12 and older named convolutions of heads and pyramids without the block around them."""
    state = build_meta(name).state_dict()
    old = {}
    for key, value in state.items():
        for block in range(4):
            key = key.replace(f"_head.conv.{block}.0.", f"_head.conv.{2 * block}.")
            key = key.replace(f"roi_heads.mask_head.{block}.0.", f"roi_heads.mask_head.mask_fcn{block + 1}.")
            key = key.replace(f"_blocks.{block}.0.", f"_blocks.{block}.")
        old[key.replace("rpn.head.conv.0.0.", "rpn.head.conv.")] = value
    assert len(old.keys() - state.keys()) == renamed
    assert _mapped(old, name).keys() == state.keys()
    assert all(_mapped(old, name)[key] is value for key, value in state.items())


def lively(net: Any) -> Any:
    """Give a network random norms, and heads that score here and there."""
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.6, 1.4)
    torch.nn.init.normal_(net.prediction_layers[0].conf_layer.weight, std=3.0)
    return net.eval()


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("yolact_resnet50", "yolact_resnet50"),
        ("yolact_resnet50", "yolactedge_resnet50"),  # the same network, its pyramid named in two parts
        ("yolactedge_mobilenetv2", "yolactedge_mobilenetv2"),
    ],
)
def test_official_masks_stream(name: str, asked: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = lively(build(80, Network(arch=name)))
    state = net.state_dict()
    if asked != name:  # the first files held the backbone twice
        twice = {key: value for key, value in state.items() if key.startswith("backbone.layers.0")}
        state |= {key.replace("layers.0", "layer1"): value for key, value in twice.items()}
    output = export_official(saved(tmp_path / "a.pth", state), asked, tmp_path / "a.onnx", size=(138, 106))
    picture = np.random.default_rng(2).integers(0, 256, (106, 138, 3), dtype=np.uint8)
    options = engines.Options(
        backend="onnxruntime", precision="fp32", conf=0.3, iou=0.5, max_det=20, labels="all"
    )
    with engines.load(output, options) as model:
        assert model.spec.classes == COCO
        assert model.spec.task == "segment"
        (found,) = model.predict([picture])
    (expected,) = predictor(net, (138, 106), conf=0.3, iou=0.5)([picture])
    assert len(found.masks) == len(found) == 20
    near = np.abs(found.boxes[:, None] - expected.boxes[None]).max(2).min(1)
    assert np.median(near) < 0.5  # the weights of the file are rounded


def test_an_official_video_model_becomes_two_files_that_stream(tmp_path: Path) -> None:
    torch.manual_seed(1)
    name = "yolactedge_video_resnet50"
    net = lively(build(40, Network(arch=name)))
    path = saved(tmp_path / "a.pth", net.state_dict())
    output = export_official(path, name, tmp_path / "a.onnx", size=(138, 106))
    assert [file.name for file in sorted(tmp_path.glob("*.onnx"))] == ["a.between.onnx", "a.key.onnx"]
    options = engines.Options(backend="onnxruntime", precision="fp32", conf=0.3, max_det=10)
    with engines.load(output, options) as model:
        assert len(model.spec.classes) == 40
        assert (model.spec.classes[0], model.spec.classes[39]) == ("person", "tennis_racket")
        assert model.spec.between
        (found,) = model.predict([np.random.default_rng(2).integers(0, 256, (106, 138, 3), dtype=np.uint8)])
    assert len(found.masks) == len(found)


@pytest.mark.parametrize(
    ("name", "iou"),
    [
        ("fasterrcnn_resnet50_fpn", 1.0),
        ("maskrcnn_resnet50_fpn", 1.0),
        ("keypointrcnn_resnet50_fpn", 1.0),
        ("ssd300_vgg16", 0.45),
    ],
)
def test_a_model_that_suppresses_by_itself_says_so(
    name: str, iou: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[ModelSpec] = []
    monkeypatch.setattr(official, "load_official", lambda weights, name: build_meta(name))
    monkeypatch.setattr(official, "write", lambda net, spec, *_, **__: told.append(spec))
    export_official("a.pth", name, tmp_path / "a.onnx")
    assert [spec.iou for spec in told] == [iou]


def test_a_size_that_the_model_does_not_take_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", build(90, Network(arch="ssd300_vgg16")).state_dict())
    with pytest.raises(InputError, match="size: 320x320, 300x300 is right for ssd300_vgg16"):
        export_official(path, "ssd300_vgg16", tmp_path / "a.onnx", size=(320, 320))


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

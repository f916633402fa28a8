"""Official checkpoints: files of torchvision, YOLOX, YOLACT and YolactEdge become models that stream."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from engines.classes import COCO, COCO_KEYPOINTS, COCO_SKELETON
from engines.errors import InputError, nearest
from engines.spec import ModelSpec
from trainers import models
from trainers.config import Network
from trainers.export import thresholds, write
from trainers.export_video import write_video
from trainers.models import yolactedge
from trainers.models.yolactedge import YolactEdgeVideo
from trainers.sizes import check

__all__ = ["OFFICIAL", "Official", "export_official", "load_official", "read_weights"]

_TORCHVISION = "https://download.pytorch.org/models/"
_YOLOX = "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0/"
# torchvision's column of each of COCO's 80 classes: COCO's ids, which leave out eleven
_ABSENT = {0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
_COLUMNS = tuple(column for column in range(91) if column not in _ABSENT)
_YOUTUBE_VIS = tuple(  # the 40 of 2019, in the order of their ids
    """
person|giant_panda|lizard|parrot|skateboard|sedan|ape|dog|snake|monkey|hand|rabbit|duck|cat|cow|fish|train|horse|
turtle|bear|motorbike|giraffe|leopard|fox|deer|owl|surfboard|airplane|truck|zebra|tiger|elephant|snowboard|boat|shark|
mouse|frog|eagle|earless_seal|tennis_racket
""".replace("\n", "").split("|")
)


class Official(NamedTuple):
    """A published checkpoint; its name is an architecture of `trainers.models`."""

    size: tuple[int, int]  # width, height it is exported for
    url: str = ""  # where its authors offer it; "" = on no fixed address
    columns: tuple[int, ...] = ()  # of the scores that are COCO's 80 classes; () = all
    licence: str = ""
    classes: tuple[str, ...] = COCO


OFFICIAL = {
    "ssd300_vgg16": Official(
        (300, 300), f"{_TORCHVISION}ssd300_vgg16_coco-b556d3b4.pth", _COLUMNS, "BSD-3-Clause"
    ),
    "ssdlite320_mobilenet_v3_large": Official(
        (320, 320), f"{_TORCHVISION}ssdlite320_mobilenet_v3_large_coco-a79551df.pth", _COLUMNS, "BSD-3-Clause"
    ),
    "retinanet_resnet50_fpn": Official(
        (800, 800), f"{_TORCHVISION}retinanet_resnet50_fpn_coco-eeacb38b.pth", _COLUMNS, "BSD-3-Clause"
    ),
    "retinanet_resnet50_fpn_v2": Official(
        (800, 800), f"{_TORCHVISION}retinanet_resnet50_fpn_v2_coco-5905b1c5.pth", _COLUMNS, "BSD-3-Clause"
    ),
    "fasterrcnn_resnet50_fpn": Official(
        (800, 800), f"{_TORCHVISION}fasterrcnn_resnet50_fpn_coco-258fb6c6.pth", _COLUMNS, "BSD-3-Clause"
    ),
    "maskrcnn_resnet50_fpn": Official(
        (800, 800), f"{_TORCHVISION}maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth", _COLUMNS, "BSD-3-Clause"
    ),
    "keypointrcnn_resnet50_fpn": Official(
        (800, 800),
        f"{_TORCHVISION}keypointrcnn_resnet50_fpn_coco-fc266e95.pth",
        licence="BSD-3-Clause",
        classes=("person",),
    ),
    **{
        f"yolox_{size}": Official((side, side), f"{_YOLOX}yolox_{size}.pth", licence="Apache-2.0")
        for size, side in (("nano", 416), ("tiny", 416), ("s", 640), ("m", 640), ("l", 640), ("x", 640))
    },
    **{
        name: Official((550, 550), licence="MIT")
        for name in (
            "yolact_resnet50",
            "yolact_resnet101",
            "yolactedge_resnet50",
            "yolactedge_resnet101",
            "yolactedge_mobilenetv2",
        )
    },
    **{
        name: Official((550, 550), licence="MIT", classes=_YOUTUBE_VIS)
        for name in ("yolactedge_video_resnet50", "yolactedge_video_resnet101")
    },
}


def export_official(
    weights: str | Path,
    name: str,
    output: str | Path,
    *,
    size: tuple[int, int] | None = None,
    half: bool = True,
) -> Path:
    """Turn a published checkpoint into a self-describing ONNX file of its data set's classes.

    Returns its path; of a video model that is the file for key frames, ``NAME.key.onnx``, which names the one
    for the frames between.
    ``size`` is (width, height) of the input, else the published one. InputError as of `load_official`, and
    for a size that the model does not take; WorkError if the file would differ from torch.
    """
    net = load_official(weights, name)
    known = OFFICIAL[name]
    check(name, size or known.size)
    spec = ModelSpec(
        name=name,
        task=net.task,
        layout="dense",
        classes=known.classes,
        size=size or known.size,
        **asdict(net.input),
        **thresholds(net),
        keypoints=COCO_KEYPOINTS if net.task == "pose" else (),
        skeleton=COCO_SKELETON if net.task == "pose" else (),
    )
    words = {"description": f"{name}, official weights {Path(weights).name}", "license": known.licence}
    if isinstance(net, YolactEdgeVideo):
        return write_video(net, spec, Path(output), half=half, words=words)[0]
    return write(net, spec, Path(output), half=half, words=words)


def load_official(weights: str | Path, name: str) -> Any:
    """Return the network ``name`` with published weights, ready to predict.

    InputError lists keys that are missing, unexpected or of another shape, and names the model that the file
    does belong to.
    """
    if name not in OFFICIAL:
        raise InputError(f"model: {name!r}, one of {', '.join(OFFICIAL)} is right{nearest(name, OFFICIAL)}")
    path = Path(weights)
    state = _read(path)
    wrong = _differences(state, name)
    if wrong:
        fits = [other for other in OFFICIAL if other != name and not _differences(state, other)]
        if fits:
            raise InputError(
                f"{path}: these are weights of {fits[0]}, not of {name}: --model {fits[0]} is right"
            )
        raise InputError(f"{path}: not the weights of {name}: {'; '.join(wrong)}")
    net = _build(name)
    net.load_state_dict(_mapped(state, name))
    if OFFICIAL[name].columns:
        net.columns = OFFICIAL[name].columns
    return net.eval()


def read_weights(weights: str | Path, arch: str) -> dict[str, Tensor]:
    """Return the tensors of a published checkpoint, named as the architecture has them."""
    return _mapped(_read(Path(weights)), arch)


def _build(name: str) -> Any:
    known = OFFICIAL[name]
    return models.build(90 if known.columns else len(known.classes), Network(arch=name))


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"{path}: no such file of weights")
    try:
        tree = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(
            f"{path}: not a plain file of tensors ({type(error).__name__}); "
            "of files that hold Python objects, such as Ultralytics', bring the ONNX export"
        ) from error
    for key in ("model", "state_dict"):
        if isinstance(tree, Mapping) and isinstance(tree.get(key), Mapping):
            tree = tree[key]
    state = (
        {key.removeprefix("module."): value for key, value in tree.items()}
        if isinstance(tree, Mapping)
        else {}
    )
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path}: no dictionary of tensors, a published checkpoint is right")
    return state


def _mapped(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The keys as our module has them: what older releases of the same model called otherwise."""
    mapped = dict(state)
    if name == "retinanet_resnet50_fpn":  # heads were convolution, activation, ... without blocks
        if "head.regression_head.conv.6.weight" in mapped:
            mapped = {re.sub(r"(_head\.conv)\.(\d)\.(?=\w+$)", _block, key): v for key, v in mapped.items()}
        mapped = {key: value for key, value in mapped.items() if not key.endswith("num_batches_tracked")}
    if "_fpn" in name:  # and so were the pyramid, the proposals' head and that of masks
        mapped = {re.sub(r"(_blocks\.\d)\.(?=\w+$)", r"\1.0.", key): v for key, v in mapped.items()}
        mapped = {re.sub(r"^(rpn\.head\.conv)\.(?=\w+$)", r"\1.0.0.", key): v for key, v in mapped.items()}
        mapped = {re.sub(r"mask_fcn(\d)\.(?=\w+$)", _fcn, key): value for key, value in mapped.items()}
    if name.startswith("yolact_"):  # first releases held the backbone twice
        mapped = {key: v for key, v in mapped.items() if not re.match(r"backbone\.layer\d", key)}
    return yolactedge.official(mapped) if name.startswith("yolactedge_") else mapped


def _fcn(found: re.Match[str]) -> str:
    return f"{int(found[1]) - 1}.0."


def _block(found: re.Match[str]) -> str:
    return f"{found[1]}.{int(found[2]) // 2}.0."


def _differences(state: Mapping[str, Tensor], name: str) -> list[str]:
    """What keeps these tensors from being the model's, as parts of a sentence; none if they are."""
    with torch.device("meta"):
        wanted = _build(name).state_dict()
    state = _mapped(state, name)
    said = []
    missing, unexpected = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    other = [
        f"{key} {list(state[key].shape)} ({list(wanted[key].shape)} is right)"
        for key in sorted(wanted.keys() & state.keys())
        if state[key].shape != wanted[key].shape
    ]
    for title, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", other)):
        if keys:
            said.append(f"{len(keys)} {title}: {', '.join(keys)}")
    return said

"""Networks by name, and what every family offers: forward, loss, decode, and how it wants its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from engines.errors import InputError, nearest
from engines.spec import Resize, Task

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.config import Loss, Network
    from trainers.data.batch import Batch

__all__ = ["ARCHITECTURES", "Detector", "Input", "build", "prepare"]

# name -> function (classes, network) -> Detector
ARCHITECTURES = {
    "yolo": "trainers.models.yolo:build",
    "yolox_nano": "trainers.models.yolox:build",
    "yolox_tiny": "trainers.models.yolox:build",
    "yolox_s": "trainers.models.yolox:build",
    "yolox_m": "trainers.models.yolox:build",
    "yolox_l": "trainers.models.yolox:build",
    "yolox_x": "trainers.models.yolox:build",
    "ssd300_vgg16": "trainers.models.ssd:ssd300",
    "ssdlite320_mobilenet_v3_large": "trainers.models.ssd:ssdlite320",
    "ssd_small": "trainers.models.ssd:small",
    "retinanet_resnet50_fpn": "trainers.models.retinanet:resnet50",
    "retinanet_resnet50_fpn_v2": "trainers.models.retinanet:resnet50_v2",
    "retinanet_small": "trainers.models.retinanet:small",
    "yolact": "trainers.models.yolact:build",
    "yolact_resnet50": "trainers.models.yolact:build",
    "yolact_resnet101": "trainers.models.yolact:build",
    "yolactedge": "trainers.models.yolactedge:build",
    "yolactedge_resnet50": "trainers.models.yolactedge:build",
    "yolactedge_resnet101": "trainers.models.yolactedge:build",
    "yolactedge_mobilenetv2": "trainers.models.yolactedge:build",
    "yolactedge_video": "trainers.models.yolactedge:build_video",
    "yolactedge_video_resnet50": "trainers.models.yolactedge:build_video",
    "yolactedge_video_resnet101": "trainers.models.yolactedge:build_video",
    "fasterrcnn_resnet50_fpn": "trainers.models.rcnn:faster",
    "maskrcnn_resnet50_fpn": "trainers.models.rcnn:mask",
    "keypointrcnn_resnet50_fpn": "trainers.models.rcnn:keypoint",
    "pose": "trainers.models.pose:build",
    "pose_topdown": "trainers.models.pose_topdown:build",
    "simple_baseline": "trainers.models.pose_topdown:build",
}


@dataclass(frozen=True, slots=True)
class Input:
    """How a network wants its pixels: ``(pixel * scale - mean) / std`` of pixels 0..255, as in ModelSpec."""

    resize: Resize = "letterbox"
    colour: Literal["rgb", "bgr"] = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)  # in the network's colour order
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


class Detector(Protocol):
    """A network of any family; also an `nn.Module`."""

    input: Input
    task: Task

    def __call__(self, images: Tensor) -> Any:
        """Return the raw output for prepared pictures (B, 3, H, W), in the family's own type."""

    def loss(self, output: Any, batch: Batch, weights: Loss) -> dict[str, Tensor]:
        """Return the weighted terms of the loss, each a scalar with gradient."""

    def decode(self, output: Any) -> dict[str, Tensor]:
        """Return ``boxes`` (B,N,4) xyxy input pixels, ``scores`` (B,N,C) and what else the task has.

        The names and shapes are those of the layout "dense" of `engines.layouts`.
        """


def build(classes: int, network: Network) -> Any:
    """Make the network ``network.arch`` for that many classes, with fresh weights."""
    if network.arch not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        hint = nearest(network.arch, ARCHITECTURES)
        raise InputError(f"model.arch: {network.arch!r}, one of {known} is right{hint}")
    module, function = ARCHITECTURES[network.arch].split(":")
    return cast("Detector", getattr(import_module(module), function)(classes, network))


def prepare(images: Tensor, how: Input) -> Tensor:
    """Turn RGB pictures (B, 3, H, W) of 0..1 into what the network takes."""
    import torch

    if how == Input():
        return images
    if how.colour == "bgr":
        images = images.flip(1)
    mean, std = (
        torch.tensor(values, device=images.device).view(1, 3, 1, 1) for values in (how.mean, how.std)
    )
    return (images * (255 * how.scale) - mean) / std

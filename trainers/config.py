"""The training file: its schema, its reading, and what the command line may override."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from engines.errors import InputError, nearest
from trainers.sizes import check, sides

__all__ = ["Augment", "Config", "Data", "Loss", "Network", "Optimizer", "Start", "Teacher", "read_config"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if names.count(name) > 1:
            raise PydanticCustomError("twice", f"{name!r} is there twice, once is right")
    return names


_Name = Annotated[str, Field(min_length=1)]
_Width = Annotated[int, Field(ge=2, le=4096)]
_Side = Annotated[int, Field(le=16384)]  # the least is a family's own, see trainers.sizes
_Depth = Annotated[int, Field(ge=0, le=64)]


class Network(_Strict):
    """The detector: an architecture, and the size of those that have none of their own."""

    arch: str = "yolo"  # a key of trainers.models.ARCHITECTURES
    widths: tuple[_Width, _Width, _Width, _Width, _Width] = (
        16,
        24,
        48,
        80,
        112,
    )  # channels at strides 2, 4, 8, 16, 32
    depths: tuple[_Depth, _Depth, _Depth, _Depth] = (1, 2, 2, 1)  # blocks at strides 4, 8, 16, 32
    neck: int = Field(48, ge=8, le=4096)  # channels of the pyramid and the heads
    prototypes: int = Field(16, ge=1, le=256)  # of YOLACT: maps that masks are mixed from


class Data(_Strict):
    """The data set: rendered scenes, or pictures and labels on disk."""

    kind: Literal["scenes", "coco", "yolo", "voc", "ytvis"] = "scenes"
    images: str = ""  # folder of pictures
    labels: str = ""  # COCO, YouTube-VIS: the JSON file; YOLO, VOC: the folder of label files
    val_images: str = ""  # none: validation sees the training pictures
    val_labels: str = ""
    classes: Annotated[
        tuple[_Name, ...], AfterValidator(_once)
    ] = ()  # names in the order of their ids; COCO: those to keep, none = all
    keypoints: int = Field(0, ge=0)  # that each object of the labels has; 0 = none are read
    train: int = Field(3000, ge=1)  # pictures
    val: int = Field(120, ge=1)  # pictures of the same appearance, other seeds
    people: bool = False  # each picture is the surroundings of one person with keypoints, for top-down pose
    clutter: float = Field(0.35, ge=0, le=1)  # share of training pictures before a background of no meaning


class Augment(_Strict):
    """What a training picture undergoes; 0 switches a step off."""

    flip: float = Field(0.5, ge=0, le=1)  # probability
    hue: float = Field(0.03, ge=0, le=0.5)  # of the colour circle
    saturation: float = Field(0.5, ge=0, le=1)  # factor 1 - s .. 1 + s
    value: float = Field(0.4, ge=0, le=1)
    scale: float = Field(0.4, ge=0, lt=1)  # factor 1 - s .. 1 + s
    shift: float = Field(0.15, ge=0, le=0.5)  # of the picture's sides
    noise: float = Field(6.0, ge=0, le=255)  # largest standard deviation in grey levels
    blur: float = Field(0.2, ge=0, le=1)  # probability
    mosaic: float = Field(0.0, ge=0, le=1)  # probability of four pictures in one
    mixup: float = Field(0.0, ge=0, le=1)  # probability of a second picture shining through
    paste: float = Field(0.0, ge=0, le=1)  # probability of objects of another picture; needs masks
    expand: float = Field(0.0, ge=0, le=1)  # probability of a margin, up to four times the sides (SSD)
    crop: float = Field(0.0, ge=0, le=1)  # probability of a part that objects overlap by a drawn IoU (SSD)
    multi_scale: float = Field(0.0, ge=0, lt=1)  # size of a step's pictures: factor 1 - s .. 1 + s
    plain: int = Field(0, ge=0)  # last epochs without mosaic, mixup, paste and multi_scale


class Optimizer(_Strict):
    """The optimizer, its rate over the run, and when the run is over."""

    kind: Literal["adamw", "sgd"] = "adamw"  # sgd: with Nesterov momentum
    momentum: float = Field(0.9, ge=0, lt=1)  # of sgd
    epochs: int = Field(30, ge=1)
    patience: int = Field(0, ge=0)  # validations without a better AP after which the run ends; 0 = never
    batch: int = Field(16, ge=1)  # pictures of a step, on all processes together
    lr: float = Field(2e-3, gt=0)
    schedule: Literal["cosine", "step"] = "cosine"
    falls: tuple[float, ...] = (0.7, 0.9)  # of "step": shares of the run after which lr is a tenth
    last: float = Field(0.02, ge=0, le=1)  # of "cosine": share of lr that is left at the end
    warmup: int = Field(200, ge=0)  # steps
    weight_decay: float = Field(0.02, ge=0)
    clip: float = Field(10.0, gt=0)  # largest norm of the gradient
    ema: float = Field(0.998, ge=0, lt=1)  # decay of the running average of the weights
    ema_tau: float = Field(300.0, gt=0)  # steps by which the average forgets its start


class Loss(_Strict):
    """Weights of the terms, and the assignment."""

    classes: float = Field(1.0, ge=0)
    boxes: float = Field(5.0, ge=0)
    l1: float = Field(0.0, ge=0)  # YOLOX: of the raw sides, for the last epochs of a long run
    topk: int = Field(10, ge=1)


class Start(_Strict):
    """Where a run begins if not with random weights."""

    # a checkpoint of ours (.pt) or a published one (.pth) of the same architecture; or, of any family, a file
    # that `trainers export` wrote (.onnx) or a shipped model's name
    weights: str = ""
    freeze: tuple[str, ...] = ()  # parts that stay as they are, by the start of their names, as "stem"


class Teacher(_Strict):
    """Distillation: a trained model whose answers are learnt beside the labels."""

    checkpoint: str = ""  # a checkpoint of ours (.pt) with the same classes and outputs; none = no teacher
    weight: float = Field(1.0, gt=0)  # of what the teacher says; the labels have 1


class Config(_Strict):
    """A training run."""

    name: str
    description: str = ""
    licence: str = "Apache-2.0"
    seed: int = Field(0, ge=0, lt=2**63)
    size: tuple[_Side, _Side] = (320, 192)  # width, height of the network's input
    device: str = "auto"
    threads: int = Field(0, ge=0, le=1024)  # 0: torch chooses
    amp: bool = False  # forward pass in bfloat16 where the processor or GPU has it, as that is quicker
    workers: int = Field(0, ge=0, le=256)  # processes that prepare batches
    val_every: int = Field(5, ge=1)  # epochs
    tensorboard: bool = False  # scalars for `tensorboard --logdir runs`
    model: Network = Network()
    data: Data = Data()
    augment: Augment = Augment()
    optim: Optimizer = Optimizer()
    loss: Loss = Loss()
    start: Start = Start()
    teacher: Teacher = Teacher()


def read_config(path: str | Path, overrides: tuple[str, ...] = ()) -> Config:
    """Read a training file; overrides are ``key=value`` with dots, as in ``optim.lr=1e-3``.

    Raises InputError that names the file, the key and what would be right.
    """
    path = Path(path)
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, a training file as in configs/train is right") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise InputError(f"{path}: {type(tree).__name__}, a mapping of keys is right")
    for override in overrides:
        _override(tree, override)
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        raise InputError(f"{path}: {_sentence(error)}") from None
    try:
        check(config.model.arch, config.size)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if config.augment.multi_scale and sides(config.model.arch).only:
        raise InputError(f"{path}: augment.multi_scale: {config.model.arch} takes one size only, 0 is right")
    return config


def _override(tree: dict[str, Any], override: str) -> None:
    key, equals, value = override.removeprefix("--").partition("=")
    if not equals or not key:
        raise InputError(f"override: {override!r}, --key=value is right, as in --optim.lr=1e-3")
    *above, last = key.split(".")
    for name in above:
        below = tree.setdefault(name, {})
        if not isinstance(below, dict):
            raise InputError(f"override: {override!r}: {name} is a value, it has no keys below it")
        tree = below
    try:
        tree[last] = _number(yaml.safe_load(value))
    except yaml.YAMLError as error:
        raise InputError(
            f"override: {override!r}: cannot be read as YAML, [1, 2] is right for a list"
        ) from error


def _number(value: Any) -> Any:
    """YAML 1.1 takes 1e-3 for a word; a user means a number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        schema: Any = Config
        for part in first["loc"][:-1]:
            schema = schema.model_fields[part].annotation
        return f"{place}: unknown key{nearest(str(first['loc'][-1]), schema.model_fields)}"
    return f"{place}: {first['input']!r}, {first['msg'][0].lower()}{first['msg'][1:]}"

"""The data set that a training file names: its classes, and its pictures for training and validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from engines.classes import COCO_KEYPOINTS
from engines.errors import InputError
from engines.spec import Task
from trainers.config import Config, Data
from trainers.data.batch import Sample
from trainers.data.coco import read_coco
from trainers.data.crops import People, people
from trainers.data.pictures import Pictures, Record
from trainers.data.scenes import CLASSES, SEEDS, render_scenes
from trainers.data.voc import read_voc
from trainers.data.yolo_txt import read_yolo
from trainers.data.ytvis import read_ytvis

__all__ = ["Dataset", "check", "open_dataset"]

Tell = Callable[[int], None]


class Dataset:
    """Classes, and pictures when asked for: ``samples(task, tell)`` gives those of training and of val.

    ``remarks`` are sentences about what was left out.
    """

    def __init__(
        self,
        classes: tuple[str, ...],
        samples: Callable[[Task, Tell], tuple[Sequence[Sample], Sequence[Sample]]],
        remarks: Sequence[str] = (),
    ) -> None:
        self.classes, self.samples, self.remarks = classes, samples, remarks


def open_dataset(config: Config, longest: int | None = None) -> Dataset:
    """Read and check all labels of the data set; InputError says where they are wrong.

    ``longest`` is the most pixels of a picture's longer side, 0 = as it is; none = enough for the input.
    """
    data, longest = config.data, max(config.size) * 5 // 4 if longest is None else longest
    if data.kind == "scenes" and data.people:
        return Dataset(CLASSES[:1], lambda task, tell: _people(data, config.size, tell))
    if data.kind == "scenes":
        return Dataset(CLASSES, lambda task, tell: _render(data, longest, task, tell))
    remarks: list[str] = []
    train, classes = _read(data, data.images, data.labels, remarks.append)
    if data.people and len(classes) > 1:
        known = ", ".join(classes[:3]) + (", ..." if len(classes) > 3 else "")
        raise InputError(
            f"data.classes: {known}: one is right with data.people: true, such as [{classes[0]}]"
        )
    val = train
    if data.val_images or data.val_labels:
        same = data.model_copy(update={"classes": classes})
        val, _ = _read(same, data.val_images, data.val_labels, remarks.append)
    if data.people:
        crops = _cut(data, train, config.size), _cut(data, val, config.size)
        return Dataset(classes, lambda task, tell: crops, remarks)

    def samples(task: Task, _: Tell) -> tuple[Sequence[Sample], Sequence[Sample]]:
        return Pictures(train, longest, task), Pictures(val, longest, task)

    return Dataset(classes, samples, remarks)


def check(config: Config, net: Any) -> None:
    """Raise InputError where a data set lacks what a network learns from: masks, keypoints, single people."""
    data, arch, joints = config.data, config.model.arch, len(COCO_KEYPOINTS)
    if net.task == "segment" and data.kind == "voc":
        raise InputError(f"data.kind: voc has no masks, scenes, coco, yolo or ytvis is right for {arch}")
    if net.task == "pose" and data.kind in ("voc", "ytvis"):
        raise InputError(f"data.kind: {data.kind} has no keypoints, scenes, coco or yolo is right for {arch}")
    if net.task == "pose" and data.kind != "scenes" and data.keypoints != joints:
        raise InputError(f"data.keypoints: {data.keypoints}, {joints} is right for {arch}")
    if getattr(net, "layout", "") == "heatmaps" and not data.people:
        raise InputError(f"data.people: false, true is right for {arch}: it sees one person at a time")
    for name in ("mosaic", "mixup") if getattr(net, "layout", "") == "heatmaps" else ():
        if share := getattr(config.augment, name):
            raise InputError(
                f"augment.{name}: {share:g}, 0 is right for {arch}: it sees one person at a time"
            )


def _read(
    data: Data, images: str, labels: str, say: Callable[[str], None]
) -> tuple[list[Record], tuple[str, ...]]:
    if not images or not labels:
        raise InputError(f"data: kind {data.kind} needs both images and labels")
    if data.kind == "coco":
        return read_coco(Path(images), Path(labels), data.classes, data.keypoints, say)
    if data.kind == "ytvis":
        videos, classes = read_ytvis(Path(images), Path(labels), data.classes)
        return [frame for video in videos for frame in video], classes
    if not data.classes:
        raise InputError(f"data: kind {data.kind} needs classes, the names in the order of their ids")
    if data.kind == "yolo":
        return read_yolo(Path(images), Path(labels), data.classes, data.keypoints), data.classes
    return read_voc(Path(images), Path(labels), data.classes), data.classes


def _render(data: Data, longest: int, task: Task, tell: Tell) -> tuple[list[Sample], list[Sample]]:
    return (
        render_scenes(data.train, SEEDS["train"], longest, clutter=data.clutter, task=task, tell=tell),
        render_scenes(data.val, SEEDS["val"], longest, fixed=(640, 360), task=task, tell=tell),
    )


def _cut(data: Data, records: list[Record], size: tuple[int, int]) -> People:
    found = People(records, size)
    if not len(found):
        raise InputError(f"data.people: nobody in the labels has keypoints; data.keypoints: {data.keypoints}")
    return found


def _people(data: Data, size: tuple[int, int], tell: Tell) -> tuple[list[Sample], list[Sample]]:
    """About two people of each scene; as many as the training file asks for."""
    train = render_scenes(data.train, SEEDS["train"], 640, clutter=data.clutter, task="pose", tell=tell)
    val = render_scenes(data.val, SEEDS["val"], 640, fixed=(640, 360), task="pose", tell=tell)
    return people(train, size, data.train), people(val, size, data.val)

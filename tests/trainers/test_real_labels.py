"""Fine-tuning on real pictures through every reader; nothing is fetched."""

from __future__ import annotations

import csv
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

from trainers import checkpoints
from trainers.config import Config
from trainers.data.yolo_txt import read_yolo
from trainers.train import train

MODEL = {"widths": (8, 8, 16, 16, 16), "depths": (1, 1, 1, 1), "neck": 16, "prototypes": 4}


def coco(data: Path, folder: Path, name: str = "instances_val2017") -> dict[str, Any]:
    """Twelve pictures of COCO's validation set."""
    root = data / "gt" / "tiny_coco"
    tree = json.loads((root / "annotations" / f"{name}.json").read_text())
    kept = {row["image_id"] for row in tree["annotations"] if not row["iscrowd"]}
    tree["images"] = [image for image in tree["images"] if image["id"] in kept][:12]
    kept = {image["id"] for image in tree["images"]}
    tree["annotations"] = [row for row in tree["annotations"] if row["image_id"] in kept]
    labels = folder / "labels.json"
    labels.write_text(json.dumps(tree))
    return {"kind": "coco", "images": root / "val2017", "labels": labels}


def coco_poses(data: Path, folder: Path) -> dict[str, Any]:
    return coco(data, folder, "person_keypoints_val2017") | {"keypoints": 17}


def ytvis(data: Path, folder: Path) -> dict[str, Any]:
    """The same as videos of one frame."""
    named = coco(data, folder)
    tree = json.loads(Path(named["labels"]).read_text())
    for video in tree["images"]:
        video["file_names"] = [video.pop("file_name")]
    tree["videos"] = tree.pop("images")
    for row in tree["annotations"]:
        row["video_id"] = row.pop("image_id")
        row["bboxes"], row["segmentations"] = [row.pop("bbox")], [row.pop("segmentation")]
    Path(named["labels"]).write_text(json.dumps(tree))
    return named | {"kind": "ytvis"}


def yolo(data: Path, _: Path) -> dict[str, Any]:
    poses = data / "gt" / "coco8-pose"
    images, labels = poses / "images" / "train", poses / "labels" / "train"
    return {"kind": "yolo", "images": images, "labels": labels, "classes": ["person"], "keypoints": 17}


def voc(data: Path, folder: Path) -> dict[str, Any]:
    """The boxes of the YOLO labels as XML."""
    named = yolo(data, folder)
    for record in read_yolo(named["images"], named["labels"], ("person",), 17):
        height, width = cv2.imread(str(record.path)).shape[:2]
        tree = f"<annotation><size><width>{width}</width><height>{height}</height></size>"
        for x0, y0, x1, y1 in record.boxes * [width, height, width, height]:
            box = f"<xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
            tree += f"<object><name>person</name><bndbox>{box}</bndbox></object>"
        (folder / f"{record.path.stem}.xml").write_text(tree + "</annotation>")
    return {"kind": "voc", "images": named["images"], "labels": folder, "classes": ["person"]}


@pytest.mark.parametrize(
    ("write", "arch", "terms"),
    [
        (coco, "yolact", "boxes classes masks semantic"),
        (coco_poses, "pose", "classes boxes keypoints seen"),
        (yolo, "pose", "classes boxes keypoints seen"),
        (voc, "ssd_small", "classes boxes"),
        (ytvis, "yolactedge", "boxes classes masks semantic"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_fine_tuning_learns_from_real_labels(
    write: Callable[[Path, Path], dict[str, Any]],
    arch: str,
    terms: str,
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect, here = socket.socket.connect, threading.current_thread()

    def refused(self: socket.socket, address: Any) -> None:
        assert threading.current_thread() is not here, f"{address} is asked for something"
        connect(self, address)  # a client that another test has left behind

    monkeypatch.setattr(socket.socket, "connect", refused)
    scenes = {
        "name": "scenes",
        "size": (96, 96),
        "threads": 1,
        "val_every": 9,
        "model": MODEL | {"arch": arch},
        "data": {"train": 4, "val": 1},
        "optim": {"epochs": 1, "batch": 4},
    }
    first = train(Config.model_validate(scenes), tmp_path / "first", quiet=True)
    named = {
        key: str(value) if isinstance(value, Path) else value
        for key, value in write(data_dir, tmp_path).items()
    }
    how = {"epochs": 8, "batch": 4, "lr": 2e-3, "warmup": 0}
    still = {"flip": 0, "scale": 0, "shift": 0, "hue": 0, "saturation": 0, "value": 0, "noise": 0, "blur": 0}
    start = {"weights": str(first)}
    tuning = scenes | {"name": arch, "data": named, "optim": how, "augment": still, "start": start}
    saved = checkpoints.load(train(Config.model_validate(tuning), tmp_path / "run", quiet=True))
    assert all(torch.isfinite(value).all() for value in saved.model.values())
    with (tmp_path / "run" / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert set(terms.split()) <= rows[0].keys()
    assert all(float(rows[0][term]) > 0 for term in terms.split())
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert rows[-1]["ap50"]

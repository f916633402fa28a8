"""YouTube-VIS' label file: one JSON of videos, annotations and categories, a box and a mask in each frame.

An annotation is one object of a video: ``bboxes`` and ``segmentations`` have an entry for each frame, null
where it is not seen (youtube-vos.org, dataset/vis).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from engines.errors import InputError
from trainers.data.coco import kinds_of, outline_of, parse, shares_of, sorted_by
from trainers.data.outlines import Outline
from trainers.data.pictures import Crowd, Record, check_picture
from trainers.data.rows import CATEGORY, OBJECT, VIDEO, Rule

__all__ = ["read_ytvis"]

_FRAMES = Rule(lambda value: isinstance(value, list), "a list with an entry for each frame", needed=False)
_KEYS = {
    "videos": ("video", VIDEO),
    "annotations": (
        "annotation",
        OBJECT | {"video_id": VIDEO["id"], "bboxes": _FRAMES, "segmentations": _FRAMES},
    ),
    "categories": ("category", CATEGORY),
}


def read_ytvis(
    images: Path, labels: Path, classes: tuple[str, ...] = ()
) -> tuple[list[list[Record]], tuple[str, ...]]:
    """Return the frames of each video of a label file, in order, and its class names in order of their ids.

    ``classes`` keeps only these, in this order. Frames without objects are there too. InputError names the
    file and the id of the video or the annotation.
    """
    tree = parse(labels, _KEYS)
    names, index = kinds_of(tree, labels, classes)
    rows = sorted_by(tree, labels, "video", index)
    return [_video(labels, images, video, rows[video["id"]]) for video in tree["videos"]], names


def _video(labels: Path, images: Path, video: dict[str, Any], rows: list[dict[str, Any]]) -> list[Record]:
    size, count = np.array([video["width"], video["height"]], np.float32), len(video["file_names"])
    for row in rows:
        for key in ("bboxes", "segmentations"):
            if len(row.get(key) or ()) != count:
                raise InputError(
                    f"{labels}: annotation {row.get('id')} of video {video['id']}: {len(row.get(key) or ())} "
                    f"{key}, {count} are right, one for each frame"
                )
    records = []
    for frame, name in enumerate(video["file_names"]):
        check_picture(images / name, f"{labels}: video {video['id']}")
        boxes, kinds, outlines, crowds = [], [], [], []
        for row in rows:
            if row["bboxes"][frame] is not None:
                said = f"{labels}: annotation {row['id']}, frame {frame} of video {video['id']}"
                box = shares_of(row["bboxes"][frame], size, said)
                outline: Outline = outline_of(row["segmentations"][frame], size, box, said)
                if row.get("iscrowd"):
                    crowds.append(Crowd(box, row["class"], outline))
                    continue
                boxes.append(box)
                kinds.append(row["class"])
                outlines.append(outline)
        records.append(
            Record(
                images / name,
                np.array(boxes, np.float32).reshape(-1, 4),
                np.array(kinds, np.int64),
                tuple(outlines),
                size=(round(video["width"]), round(video["height"])),
                crowds=tuple(crowds),
            )
        )
    return records

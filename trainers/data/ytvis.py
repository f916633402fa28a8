"""YouTube-VIS' label file: one JSON of videos, annotations and categories, a box and a mask in each frame.

An annotation is one object of a video: ``bboxes`` and ``segmentations`` have an entry for each frame, null
where it is not seen (youtube-vos.org, dataset/vis).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from engines.errors import InputError
from trainers.data.coco import gathered, kinds_of, parse, sorted_by
from trainers.data.pictures import Record, check_picture
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
        seen = [
            (
                row | {"bbox": row["bboxes"][frame], "segmentation": row["segmentations"][frame]},
                f"{labels}: annotation {row['id']}, frame {frame} of video {video['id']}",
            )
            for row in rows
            if row["bboxes"][frame] is not None
        ]
        records.append(gathered(images / name, size, seen))
    return records

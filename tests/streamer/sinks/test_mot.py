"""MOTChallenge text: what has a track is written, counted from one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engines.detections import Detections
from engines.errors import WorkError
from streamer.evaluate import read_mot
from streamer.frame import Frame
from streamer.sinks import Sink


def test_tracked_boxes_are_written_and_no_others(
    tmp_path: Path, frames: Callable[..., list[Frame]], sink: Callable[..., Sink]
) -> None:
    path = tmp_path / "new" / "cam.txt"
    mot = sink(path)
    for frame in frames([0.0, 0.1, 0.2]):
        boxes = [[1.5, 2, 11.5, 42], [5, 5, 9, 9]]
        ids = np.array([7, -1 if frame.index < 2 else 8])
        frame.detections = Detections.of(boxes, [0.875, 0.5], [0, 1], ids=ids)
        mot.write(frame)
    mot.close()
    assert path.read_text().splitlines() == [
        "1,7,1.50,2.00,10.00,40.00,0.8750,-1,-1,-1",
        "2,7,1.50,2.00,10.00,40.00,0.8750,-1,-1,-1",
        "3,7,1.50,2.00,10.00,40.00,0.8750,-1,-1,-1",
        "3,8,5.00,5.00,4.00,4.00,0.5000,-1,-1,-1",
    ]
    back = read_mot(path)
    assert back.ids.tolist() == [7, 7, 7, 8]
    assert back.boxes[0].tolist() == [1.5, 2, 11.5, 42]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_one_failure_that_names_the_file(
    tmp_path: Path, frames: Callable[..., list[Frame]], sink: Callable[..., Sink]
) -> None:
    (tmp_path / "a.txt").symlink_to("/dev/full")
    mot = sink(tmp_path / "a.txt")
    [frame] = frames([0.0])
    frame.detections = Detections.of([[0, 0, 9, 9]], [0.5], [0], ids=np.array([1]))
    with pytest.raises(WorkError, match=r"a\.txt: cannot be written: No space left"):
        mot.write(frame)
    mot.close()

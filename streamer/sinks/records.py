"""Detections as JSON lines, one for each frame that went through the model, and one for each event."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
from typing import Any, BinaryIO

import numpy as np

from engines.errors import InputError, WorkError
from engines.spec import ModelSpec
from streamer.analytics.events import described
from streamer.frame import Frame
from streamer.sinks import Closed
from streamer.sinks.address import Address, check_writable, refuse_options
from streamer.sinks.lines import Lines
from streamer.sources import SourceInfo

__all__ = ["RecordSink", "record"]


def record(frame: Frame, spec: ModelSpec) -> dict[str, Any]:
    """Return a frame's detections as plain lists, in pixels of the frame as displayed.

    ``id`` is None for a detection without a track; ``keypoints`` and ``mask`` (COCO's compressed RLE) are
    only there when the model gives them; ``captured``, ``age`` and ``wall`` for live sources. Presentation
    times are rounded to microseconds, scores to 4 decimals, pixels to 2.
    """
    found = frame.detections
    names, known = spec.classes, len(spec.classes)
    rows = [
        {
            "id": None if track < 0 else track,
            "class": names[label] if 0 <= label < known else str(label),
            "class_id": label,
            "score": score,
            "box": box,
        }
        for track, label, score, box in zip(
            found.ids.tolist(),
            found.classes.tolist(),
            _rounded(found.scores, 4),
            _rounded(found.boxes, 2),
            strict=True,
        )
    ]
    for row in rows if frame.speeds else ():
        if row["id"] in frame.speeds:
            row["speed"] = round(frame.speeds[row["id"]], 3)
    if found.keypoints.shape[1]:
        for row, points in zip(rows, _rounded(found.keypoints, 2), strict=True):
            row["keypoints"] = points
    if len(found.masks):
        _add_masks(rows, frame)
    place = {"stream": frame.stream, "index": frame.index, "pts": round(frame.pts, 6)}
    if frame.file:
        place["file"] = frame.file
    return {**place, **_times(frame), "detections": rows}


class RecordSink:
    """Writes each record as one whole line at once, so that a killed run leaves no torn one."""

    def __init__(self, address: Address, info: SourceInfo, spec: ModelSpec) -> None:
        self.check(address)
        self._address = address
        self._spec = spec
        self._file: Lines | BinaryIO | None = None

    @staticmethod
    def check(address: Address) -> None:
        """Raise InputError for options or a place that cannot be written."""
        refuse_options(address)
        if address.path != "-":
            check_writable(address)

    def write(self, frame: Frame) -> None:
        """Write what a frame that went through the model shows, and events; raises Closed, WorkError."""
        if not frame.inferred and not frame.events:
            return
        if self._file is None:
            self._file = self._open()
        told = [described(event, frame.stream, self._spec.classes) for event in frame.events]
        shown = [record(frame, self._spec)] if frame.inferred else []
        line = b"".join(_line(item) for item in (*shown, *told))
        if isinstance(self._file, Lines):
            self._file.write(line)
        else:
            self._print(self._file, line)

    def close(self) -> None:
        """Close the file; standard output stays open. Raises WorkError where it was removed meanwhile."""
        file, self._file = self._file, None
        if isinstance(file, Lines):
            file.close()

    def _open(self) -> Lines | BinaryIO:
        if self._address.path != "-":
            return Lines(self._address)
        if sys.stdout is None:
            raise InputError("-: standard output is closed")
        return sys.stdout.buffer

    def _print(self, stdout: BinaryIO, line: bytes) -> None:
        try:
            while line:  # python -u leaves it unbuffered: it may take less than it is given
                line = line[stdout.write(line) :]
            stdout.flush()
        except BrokenPipeError as error:
            _abandon(stdout)
            raise Closed(f"{self._address.url}: its reader is gone") from error
        except OSError as error:
            raise WorkError(f"{self._address.url}: cannot be written: {error.strerror}") from error


def _abandon(stdout: BinaryIO) -> None:
    """Let the interpreter's own flush of stdout at exit find somewhere to go."""
    with contextlib.suppress(OSError, ValueError):
        hole = os.open(os.devnull, os.O_WRONLY)
        os.dup2(hole, stdout.fileno())
        os.close(hole)


def _times(frame: Frame) -> dict[str, float]:
    """Return when a live frame came, how old it is now, and when the sender says that it was made."""
    if not frame.live:
        return {}
    age = time.monotonic() - frame.captured
    times = {"captured": round(time.time() - age, 3), "age": round(age, 4)}
    return times if math.isnan(frame.wall) else {**times, "wall": round(frame.wall, 3)}


def _line(told: dict[str, Any]) -> bytes:
    text = json.dumps(told, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return text.encode() + b"\n"


def _rounded(values: np.ndarray[Any, Any], decimals: int) -> list[Any]:
    rounded: list[Any] = np.round(values.astype(np.float64), decimals).tolist()
    return rounded


def _add_masks(rows: list[dict[str, Any]], frame: Frame) -> None:
    from engines.masks import rle

    found = frame.detections
    for index, row in enumerate(rows):
        row["mask"] = rle(found.masks, index, found.boxes[index], frame.size)

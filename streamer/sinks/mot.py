"""Tracks as MOTChallenge text: ``frame,id,left,top,width,height,score,-1,-1,-1``, frames counted from 1."""

from __future__ import annotations

import numpy as np

from engines.spec import ModelSpec
from streamer.frame import Frame
from streamer.sinks.address import Address, check_writable, refuse_options
from streamer.sinks.lines import Lines
from streamer.sources import SourceInfo

__all__ = ["MotSink"]


class MotSink:
    """Writes a line for each tracked box of each frame, those predicted between two inferred ones too."""

    def __init__(self, address: Address, info: SourceInfo, spec: ModelSpec) -> None:
        self.check(address)
        self._address = address
        self._file: Lines | None = None

    @staticmethod
    def check(address: Address) -> None:
        """Raise InputError for options or a place that cannot be written."""
        refuse_options(address)
        check_writable(address)

    def write(self, frame: Frame) -> None:
        """Write the boxes that have a track. Raises InputError, WorkError."""
        found = frame.detections[frame.detections.ids >= 0]
        sizes = found.boxes[:, 2:] - found.boxes[:, :2]
        table = np.concatenate([found.boxes[:, :2], sizes, found.scores[:, None]], axis=1)
        lines = [
            f"{frame.index + 1},{number},{x:.2f},{y:.2f},{w:.2f},{h:.2f},{score:.4f},-1,-1,-1\n"
            for number, (x, y, w, h, score) in zip(found.ids.tolist(), table.tolist(), strict=True)
        ]
        self._file = self._file or Lines(self._address)
        self._file.write("".join(lines).encode())

    def close(self) -> None:
        """Close the file. Raises WorkError where it was removed meanwhile."""
        if self._file is not None:
            self._file.close()

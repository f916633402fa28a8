"""Lines: a file that grows by whole lines, each on its way to the disk when its write returns."""

from __future__ import annotations

import contextlib
import os
from io import FileIO

from engines.errors import InputError, WorkError
from streamer.sinks import Closed
from streamer.sinks.address import Address
from streamer.sinks.removal import REMOVED, is_removed

__all__ = ["Lines"]


class Lines:
    """The file of an address; what a killed run or a full disk leaves ends with a line's end."""

    def __init__(self, address: Address) -> None:
        """Begin it anew. Raises InputError where it cannot be opened."""
        self._url = address.url
        self._size = 0  # bytes of whole lines
        try:
            os.makedirs(os.path.dirname(os.path.realpath(address.path)), exist_ok=True)
            self._file = FileIO(address.path, "w")
        except OSError as error:
            raise InputError(f"{self._url}: cannot be written: {error.strerror}") from error

    def write(self, lines: bytes) -> None:
        """Add lines, or none where the disk is full. Raises WorkError; Closed by a pipe's end."""
        rest = lines
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except BrokenPipeError as error:
            raise Closed(f"{self._url}: its reader is gone") from error
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(self._size)
            raise WorkError(f"{self._url}: cannot be written: {error.strerror}") from error
        self._size += len(lines)

    def close(self) -> None:
        """Close it. Raises WorkError where it was removed meanwhile."""
        removed = is_removed(self._file.fileno())
        self._file.close()
        if removed:
            raise WorkError(f"{self._url}: {REMOVED}")

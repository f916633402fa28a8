"""Video files: H.264 by x264 in MP4, MOV or Matroska, with the source's own times and sound."""

from __future__ import annotations

import logging
import os

from engines.errors import InputError, WorkError
from engines.spec import ModelSpec
from streamer.frame import Frame
from streamer.sinks.address import Address, check_writable
from streamer.sinks.faststart import faststart
from streamer.sinks.film import Film, Settings
from streamer.sinks.removal import REMOVED, is_removed
from streamer.sources import SourceInfo
from streamer.urls import read_query, redact

__all__ = ["VideoSink"]

log = logging.getLogger(__name__)

FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}


class VideoSink:
    """Writes one stream to one file: ``path?preset=veryfast&crf=23&gop=FRAMES&threads=N``.

    Each pts is the source's, to 6 us (Matroska: 0.5 ms); only a stream that starts before 0 or after 10 s is
    moved to 0, and one whose time falls back goes on from there. While it grows the file plays up to the last
    second or so, whatever ends the process; `close` makes an MP4 or MOV a regular file, index first.
    """

    def __init__(self, address: Address, info: SourceInfo, spec: ModelSpec) -> None:
        self.check(address)
        self._url = redact(address.url)
        self._path = os.path.realpath(address.path)
        self._settings = read_query(address.url, Settings())
        self._form = FORMATS[address.kind]
        self._info = info
        self._film: Film | None = None
        self._file = -1  # descriptor of a regular file, by which is known whether it is still there
        self._broken = False

    @staticmethod
    def check(address: Address) -> None:
        """Raise InputError for an option or a place that cannot be used."""
        read_query(address.url, Settings())
        check_writable(address)

    def write(self, frame: Frame) -> None:
        """Encode one frame. InputError where the file cannot be opened, WorkError where it fails later."""
        import av

        if self._film is None:
            self._film = self._open(frame)
        try:
            self._film.write(frame)
        except (OSError, av.FFmpegError) as error:
            self._broken = True
            raise WorkError(f"{self._url}: cannot be written: {_reason(error)}") from error

    def close(self) -> None:
        """Write what the encoder still holds and finish the file. Raises WorkError."""
        import av

        film, self._film = self._film, None
        if film is None:
            return
        try:
            try:
                film.close()
            finally:
                removed = self._let_go()
        except (OSError, av.FFmpegError) as error:
            if self._broken:
                return  # said by write
            raise WorkError(f"{self._url}: cannot be finished: {_reason(error)}") from error
        if removed and not self._broken:
            raise WorkError(f"{self._url}: {REMOVED}")
        if not self._broken and self._form != "matroska" and os.path.isfile(self._path):
            self._finalise(film.packets)

    def _open(self, frame: Frame) -> Film:
        import av

        try:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            film = Film(self._path, self._form, frame, self._info, self._settings)
            if os.path.isfile(self._path):
                self._file = os.open(self._path, os.O_RDONLY)
            return film
        except (OSError, av.FFmpegError) as error:
            raise InputError(f"{self._url}: cannot be opened: {_reason(error)}") from error

    def _let_go(self) -> bool:
        """Close our own descriptor of the file; tell whether the file was removed meanwhile."""
        if self._file < 0:
            return False
        file, self._file = self._file, -1
        try:
            return is_removed(file)
        finally:
            os.close(file)

    def _finalise(self, packets: int) -> None:
        import av

        try:
            faststart(self._path, self._form, packets)
        except (OSError, av.FFmpegError) as error:
            log.warning("%s: stays fragmented, which plays but seeks slowly: %s", self._url, _reason(error))


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", "") or error)

"""Still pictures: one JPEG or PNG file for each frame, or a single one."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass

from engines.errors import InputError, WorkError
from engines.spec import ModelSpec
from streamer.frame import Frame
from streamer.sinks.address import Address, check_writable
from streamer.sources import SourceInfo
from streamer.urls import read_query

__all__ = ["ImageSink"]

NUMBER = re.compile(r"%\d*d")
MOST_DIGITS = 100  # of a number in a file's name, which has 255 bytes in all


@dataclass(frozen=True, slots=True)
class Jpeg:
    """How to write a JPEG."""

    quality: int = 90  # 1..100

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality: {self.quality}, must be from 1 to 100")


@dataclass(frozen=True, slots=True)
class Png:
    """How to write a PNG."""

    compression: int = 1  # 0..9 of zlib; more is smaller and slower

    def __post_init__(self) -> None:
        if not 0 <= self.compression <= 9:
            raise ValueError(f"compression: {self.compression}, must be from 0 to 9")


class ImageSink:
    """Writes frames to ``folder/%06d.jpg?quality=90``, numbered by their index, or a single one to ``a.png``.

    OpenCV encodes, from RGB: as fast for 768x432 (2 ms) as FFmpeg's mjpeg from the planes, which would first
    have to be converted to BT.601 full range, the only colours that a JPEG has.
    """

    def __init__(self, address: Address, info: SourceInfo, spec: ModelSpec) -> None:
        self.check(address)
        self._address = address
        self._parameters = _parameters(address)
        self._many = bool(NUMBER.search(address.path))
        self._written = 0

    @staticmethod
    def check(address: Address) -> None:
        """Raise InputError for an option, a pattern or a place that cannot be used."""
        _parameters(address)
        if "%" in NUMBER.sub("", address.path, count=1).replace("%%", ""):
            raise InputError(f"{address.url}: number in the name: must be one, such as %06d")
        if NUMBER.search(os.path.dirname(address.path)):
            raise InputError(f"{address.url}: number in the folder: must be in the file's name")
        digits = NUMBER.search(address.path)
        if digits and int(digits[0][1:-1] or 0) > MOST_DIGITS:
            raise InputError(
                f"{address.url}: number in the name: {digits[0]}, must have {MOST_DIGITS} digits at most"
            )
        check_writable(address)

    def write(self, frame: Frame) -> None:
        """Write one picture. InputError for a second one under one name, WorkError where the disk fails."""
        if self._written and not self._many:
            stem, suffix = os.path.splitext(self._address.path)
            _remove(self._address.path.replace("%%", "%"))
            raise InputError(
                f"{self._address.url}: one file for many frames, did you mean {stem}/%06d{suffix}?"
            )
        path = self._address.path % frame.index if self._many else self._address.path.replace("%%", "%")
        picture = self._encoded(frame)
        try:
            if not self._written:
                os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
            with open(path, "wb") as file:
                file.write(picture)
        except OSError as error:
            _remove(path)  # half a picture, where the disk is full
            kind = WorkError if self._written else InputError
            raise kind(f"{path}: cannot be written: {error.strerror}") from error
        self._written += 1

    def close(self) -> None:
        """Nothing to finish: every file is whole once written."""

    def _encoded(self, frame: Frame) -> bytes:
        import cv2

        from streamer.planes import to_rgb

        suffix = self._address.kind
        bgr = cv2.cvtColor(to_rgb(frame.planes), cv2.COLOR_RGB2BGR)
        done, picture = cv2.imencode(suffix, bgr, self._parameters)
        if not done:
            raise WorkError(f"{self._address.url}: {frame!r} cannot be encoded")
        encoded: bytes = picture.tobytes()
        return encoded


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        if os.path.isfile(path):
            os.remove(path)


def _parameters(address: Address) -> list[int]:
    """Read the URL's options as OpenCV's list of flags and values."""
    import cv2

    if address.kind == ".png":
        return [cv2.IMWRITE_PNG_COMPRESSION, read_query(address.url, Png()).compression]
    return [cv2.IMWRITE_JPEG_QUALITY, read_query(address.url, Jpeg()).quality]

"""Exif orientation: found in every kind of file that carries it, and never trusted when it is broken."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest

from streamer.sources.exif import orientation

BLANK = np.zeros((8, 8, 3), np.uint8)


def tags(value: int, order: str = "<") -> bytes:
    """Return a TIFF structure with two tags, the second being the orientation."""
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    entries = struct.pack(f"{order}HHIHH", 0x0100, 3, 1, 8, 0) + struct.pack(
        f"{order}HHIHH", 0x0112, 3, 1, value, 0
    )
    return head + struct.pack(f"{order}H", 2) + entries + struct.pack(f"{order}I", 0)


def jpeg(block: bytes, picture: np.ndarray = BLANK) -> bytes:
    data = cv2.imencode(".jpg", picture)[1].tobytes()
    other = b"\xff\xe1" + struct.pack(">H", 2 + 4) + b"XMP\0"
    body = b"Exif\0\0" + block
    return data[:2] + other + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


def png(block: bytes) -> bytes:
    data = cv2.imencode(".png", BLANK)[1].tobytes()
    chunk = struct.pack(">I", len(block)) + b"eXIf" + block + struct.pack(">I", zlib.crc32(b"eXIf" + block))
    return data[:33] + chunk + data[33:]


def webp(block: bytes) -> bytes:
    odd = b"ICCP" + struct.pack("<I", 3) + b"abc\0"
    body = b"WEBP" + odd + b"EXIF" + struct.pack("<I", len(block)) + block
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("wrap", [jpeg, png, webp, bytes])
def test_orientation_is_found(wrap, value, order):
    assert orientation(wrap(tags(value, order))) == value


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"no picture at all",
        cv2.imencode(".jpg", BLANK)[1].tobytes(),
        jpeg(tags(9)),
        jpeg(tags(0)),
        jpeg(tags(6)[:12]),
        jpeg(b"II*\0\xff\xff\xff\xff"),
        jpeg(b"nonsense"),
        png(b""),
    ],
)
def test_missing_or_broken_tags_mean_upright(data):
    assert orientation(data) == 1


@pytest.mark.parametrize("value", [1, 3, 6, 8, 2, 5])
def test_agrees_with_opencv_on_the_shape(value):
    data = jpeg(tags(value), np.zeros((8, 16, 3), np.uint8))
    shape = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape[:2]
    assert shape == ((16, 8) if orientation(data) > 4 else (8, 16))

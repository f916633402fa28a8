"""The orientation that a camera wrote beside its picture (Exif, CIPA DC-008), read from the file's bytes.

FFmpeg reports it as a rotation only, which cannot tell a mirrored picture from a turned one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = ["orientation"]

ORIENTATION = 0x0112
UPRIGHT = 1


def orientation(data: bytes) -> int:
    """Return 1 to 8 for the bytes of a JPEG, PNG, WebP or TIFF file; 1, upright, where it says nothing."""
    try:
        return _tag(_block(data))
    except (struct.error, IndexError):
        return UPRIGHT


def _block(data: bytes) -> bytes:
    """Return the TIFF structure that holds the tags, or nothing."""
    if data.startswith((b"II*\0", b"MM\0*")):
        return data
    if data.startswith(b"\xff\xd8"):
        blocks = (body[6:] for kind, body in _jpeg_segments(data) if kind == 0xE1 and body[:6] == b"Exif\0\0")
    elif data.startswith(b"\x89PNG\r\n\x1a\n"):
        blocks = (body for kind, body in _chunks(data, 8, ">I4s", 4) if kind == b"eXIf")
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        blocks = (
            body.removeprefix(b"Exif\0\0") for kind, body in _chunks(data, 12, "<4sI", 0) if kind == b"EXIF"
        )
    else:
        return b""
    return next(blocks, b"")


def _tag(tiff: bytes) -> int:
    if tiff[:2] not in (b"II", b"MM"):
        return UPRIGHT
    order = "<" if tiff[:2] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    for entry in range(count):
        tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, start + 2 + 12 * entry)
        if tag == ORIENTATION:
            return value if 1 <= value <= 8 else UPRIGHT
    return UPRIGHT


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and body of each segment before the pixels."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", data, at + 2)
        yield data[at + 1], data[at + 4 : at + 2 + length]
        at += 2 + length


def _chunks(data: bytes, at: int, head: str, tail: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and body of each chunk; RIFF pads it to an even length, PNG adds 4 bytes of checksum."""
    while at + 8 <= len(data):
        first, second = struct.unpack_from(head, data, at)
        kind, length = (second, first) if isinstance(second, bytes) else (first, second)
        yield kind, data[at + 8 : at + 8 + length]
        at += 8 + length + (tail or length % 2)

"""Opening what FFmpeg reads: a container with a video stream in it, or one sentence that says why not."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING

import av
from av.error import (
    ConnectionRefusedError,
    DemuxerNotFoundError,
    ExitError,
    FFmpegError,
    FileNotFoundError,
    HTTPForbiddenError,
    HTTPNotFoundError,
    HTTPUnauthorizedError,
    InvalidDataError,
    OptionNotFoundError,
    ProtocolNotFoundError,
    TimeoutError,
)
from av.stream import Disposition

from engines.errors import InputError, nearest
from streamer.sources import Unavailable
from streamer.urls import redact, scheme

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.codec.hwaccel import HWAccel
    from av.container import InputContainer
    from av.video.stream import VideoStream

__all__ = [
    "COPYABLE",
    "Opening",
    "audio_of",
    "bound_memory",
    "check_file",
    "open_container",
    "reason",
    "video_of",
]

COPYABLE = {  # sound that MP4 and Matroska both take
    "aac",
    "ac3",
    "alac",
    "eac3",
    "flac",
    "mp2",
    "mp3",
    "opus",
}
REFUSED = (HTTPForbiddenError, HTTPNotFoundError, HTTPUnauthorizedError)  # by a server that is well
NEVER = (DemuxerNotFoundError, OptionNotFoundError, ProtocolNotFoundError)
LARGEST_BLOCK = 512 << 20  # bytes; a picture of 16384x16384 has 400 million
# FFmpeg takes a clock that falls by 100 s for one of 33 bits that ran over, and adds 26 hours. Left as it is,
# Timeline sees the fall, whichever of the two it was.
ALWAYS = {"correct_ts_overflow": "0"}
NOT_VIDEO = {"tty"}  # FFmpeg draws text files as pictures


@dataclass(frozen=True, slots=True)
class Opening:
    """How a URL is given to FFmpeg."""

    format: str = ""  # demuxer, "" = recognised
    options: Mapping[str, str] = field(default_factory=dict)
    timeout: tuple[float, float] = (0.0, 0.0)  # seconds to open, seconds to wait for data; 0 = for ever
    decoder: HWAccel | None = None  # None = the processor


def open_container(url: str, path: str | IO[bytes], opening: Opening) -> InputContainer:
    """Open ``path`` by FFmpeg, or read what a pipe gives; messages show ``url`` without its secrets.

    Raises:
        InputError: it cannot be opened, or holds no video; Unavailable if that may change by itself.
    """
    began = time.monotonic()
    try:
        container = av.open(
            path,
            "r",
            format=opening.format or None,
            options=ALWAYS | dict(opening.options),
            timeout=opening.timeout if any(opening.timeout) else None,
            metadata_errors="replace",
            hwaccel=opening.decoder,
        )
    except FFmpegError as error:
        # Not `from error`: FFmpeg's message repeats the URL with its password.
        place = path if isinstance(path, str) else url
        sentence = f"{redact(url)}: {_explain(error, place, opening, time.monotonic() - began)}"
        if not any(opening.timeout) or isinstance(error, NEVER):
            raise InputError(sentence) from None
        absent = isinstance(error, HTTPNotFoundError)
        raise Unavailable(sentence, lasting=isinstance(error, REFUSED), absent=absent) from None
    if container.format.name in NOT_VIDEO:
        container.close()
        raise InputError(f"{redact(url)}: not a video but text")
    return container


@cache
def bound_memory() -> None:
    """Let FFmpeg take no larger block of memory from now on, in this process.

    A server of MJPEG may announce a picture of any size, which is read whole. PyAV has no word for the limit,
    so av_max_alloc (libavutil/mem.h) is called by itself, where the library is found.
    """
    with suppress(OSError, AttributeError):
        maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
        for library in {line[line.index("/") :] for line in maps if "/libavutil" in line}:
            ctypes.CDLL(library).av_max_alloc(ctypes.c_size_t(LARGEST_BLOCK))


def video_of(container: InputContainer, url: str) -> VideoStream:
    """Return the stream of moving pictures that FFmpeg holds for the best; a cover picture is none.

    Raises:
        InputError: there is none, or no decoder for it.
    """
    moving = [
        stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic
    ]
    if not moving:
        others = {stream.type for stream in container.streams if stream.type != "video"}
        covers = ["a cover picture"] if container.streams.video else []
        held = ", ".join([*sorted(others), *covers]) or "nothing"
        raise InputError(f"{redact(url)}: no video stream, it holds: {held}")
    best = container.streams.best("video")
    stream = next((stream for stream in moving if stream is best), moving[0])
    if stream.codec_context is None:
        raise InputError(f"{redact(url)}: no decoder for its video stream")
    return stream


def audio_of(container: InputContainer) -> AudioStream | None:
    """Return the first stream of sound whose packets can be copied into MP4 and Matroska, else the first."""
    streams = [stream for stream in container.streams.audio if stream.codec_context is not None]
    copyable = (stream for stream in streams if stream.codec_context.codec.canonical_name in COPYABLE)
    return next(copyable, streams[0] if streams else None)


def check_file(path: str) -> None:
    """Raise InputError for what can be said of a file without FFmpeg: missing, a folder, empty."""
    file = Path(path)
    if file.is_dir():
        raise InputError(f"{redact(path)}: is a folder, a file would be right")
    if not file.exists():
        folder = file.parent
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        raise InputError(f"{redact(path)}: no such file{nearest(file.name, names)}")
    if file.is_file() and file.stat().st_size == 0:
        raise InputError(f"{redact(path)}: the file is empty")


def reason(error: FFmpegError | OSError) -> str:
    """Return FFmpeg's or the system's words for an error, without the URL or path it happened on."""
    return (error.strerror or type(error).__name__).strip().lower()


def _explain(error: FFmpegError, path: str, opening: Opening, seconds: float) -> str:
    limit = opening.timeout[0]
    if opening.format == "lavfi":
        return "not a filter graph that FFmpeg knows, lavfi:testsrc2=size=640x480:rate=30 would be right"
    if isinstance(error, ExitError | TimeoutError) or (limit and seconds > 0.9 * min(opening.timeout)):
        return f"no answer within {seconds:.0f} s, is it switched on and is the address right?"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused, is a server running at that address and port?"
    if isinstance(error, HTTPUnauthorizedError | HTTPForbiddenError):
        return "the server wants another user name and password, as in scheme://user:password@host/path"
    if isinstance(error, HTTPNotFoundError):
        return "the server knows no such path (404)"
    if isinstance(error, FileNotFoundError):
        return "no such file or device"
    if scheme(path) in ("", "file") and isinstance(error, InvalidDataError):
        if _lacks_index(Path(path.removeprefix("file:"))):
            return "damaged or cut short: the index (moov) of this MP4 is missing"
        return "not a video or picture that FFmpeg can read"
    if error.errno == 5:
        return "host not found or not reachable"
    return f"cannot be opened: {reason(error)}"


def _lacks_index(path: Path) -> bool:
    """Tell whether a file is an MP4 (ISO/IEC 14496-12) without a moov box at its top level."""
    if not path.is_file():
        return False
    kinds: list[bytes] = []
    size, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while at + 8 <= size and len(kinds) < 64:
            file.seek(at)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            if length == 1:
                length = int.from_bytes(head[8:16], "big")
            kinds.append(head[4:8])
            at += length if length >= 8 else size
    return kinds[:1] == [b"ftyp"] and b"moov" not in kinds

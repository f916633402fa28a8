"""Where frames come from: one table from URL scheme to opener, one Protocol that all of them are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

from engines.errors import InputError, nearest
from streamer.audio import AudioTrack
from streamer.frame import Frame
from streamer.urls import redact, scheme

__all__ = [
    "SOURCES",
    "Source",
    "SourceInfo",
    "Unavailable",
    "is_local",
    "is_video",
    "kind_of",
    "local_files",
    "open_source",
    "stream_name",
]


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source once it is open; 0 and "" mean unknown."""

    size: tuple[int, int]  # width, height as displayed: rotation and sample aspect applied
    fps: float = 0.0  # average frames per second
    frames: int = 0  # expected number of frames
    duration: float = 0.0  # seconds
    codec: str = ""
    pixel_format: str = ""  # as decoded, FFmpeg's name
    primaries: int = 2  # ITU-T H.273 table 2
    transfer: int = 2  # and table 3: 16 is PQ, 18 HLG; 2 is unspecified in both
    audio: AudioTrack | None = None
    steady: bool = True  # False: each picture may have a size of its own


class Unavailable(InputError):  # noqa: N818 - a state, not a mistake
    """A source that is not there now, and may be there later."""

    def __init__(self, message: str, *, lasting: bool = False, absent: bool = False) -> None:
        super().__init__(message)
        self.lasting = lasting  # not mended by waiting: a wrong password, a path that is not there
        self.absent = absent  # the server knows no such path, as one that has just begun, too


class Source(Protocol):
    """An open source: iterate it once for its frames, in order; it holds no retry code."""

    name: str  # the stream's name, on every frame
    live: bool  # True: time runs on without us, so old frames may be dropped
    info: SourceInfo
    failures: Counter[str]  # reason -> pictures that could not be decoded

    def __iter__(self) -> Iterator[Frame]: ...

    def stop(self) -> None:
        """Ask, from any thread, that the iteration end after the frame at hand."""

    def close(self) -> None:
        """Free everything; called by the thread that iterated."""


SOURCES = {
    "camera": "streamer.sources.camera:open_camera",
    "chaos": "streamer.sources.chaos:open_chaos",
    "file": "streamer.sources.video:open_file",
    "gpu": "streamer.sources.hardware:open_gpu",
    "http": "streamer.sources.video:open_network",
    "https": "streamer.sources.video:open_network",
    "images": "streamer.sources.images:open_images",
    "lavfi": "streamer.sources.video:open_pattern",
    "record": "streamer.sources.record:open_record",
    "replay": "streamer.sources.record:open_replay",
    "rtmp": "streamer.sources.video:open_network",
    "rtmps": "streamer.sources.video:open_network",
    "rtsp": "streamer.sources.video:open_network",
    "rtsps": "streamer.sources.video:open_network",
    "srt": "streamer.sources.srt:open_srt",
    "synthetic": "streamer.sources.synthetic:open_synthetic",
    "tcp": "streamer.sources.video:open_network",
    "udp": "streamer.sources.video:open_network",
}
LOCAL = {"file", "images", "lavfi", "synthetic"}
GPU = r"(?i:gpu(?:\+[\w.]*)?)"  # and of which kind
DECODED = re.compile(rf"\A{GPU}:")
PICTURES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


def open_source(url: str, *, name: str = "") -> Source:
    """Open what a URL names: a file, a folder or glob of pictures, a camera's number, or a scheme of SOURCES.

    ``name`` is the stream's; without one it is made from the URL, and two sources can get the same.

    Raises:
        InputError: it cannot be opened, in one sentence that shows no password.
    """
    if not url.strip():
        raise InputError("source: empty, a file, camera or URL would be right")
    target = SOURCES.get(kind_of(url))
    if target is None:
        hint = nearest(scheme(url), SOURCES) or f", known are {', '.join(SOURCES)}"
        raise InputError(f"{redact(url)}: unknown scheme {scheme(url)!r}{hint}")
    module, _, function = target.partition(":")
    opener: Callable[[str, str], Source] = getattr(import_module(module), function)
    return opener(url, name or stream_name(url))


def is_local(url: str) -> bool:
    """Tell whether a URL names files or pictures made here, recorded or not: they are worth waiting for."""
    return kind_of(_inner(url)) in LOCAL


def is_video(url: str) -> bool:
    """Tell whether a URL names a video that lies or is made here, and comes as fast as it is taken."""
    inner = _inner(url)
    kind = kind_of(inner)
    if kind == "synthetic":
        return not re.search(r"[?&]live=(?!(?:0|false|no)\b)", inner)
    return kind == "file" and not any(path.is_fifo() for path in _paths(inner))


def local_files(url: str) -> list[Path]:
    """Return the files of this machine that a source reads; none where it reads no files, or finds none."""
    inner = re.sub(rf"^(?:(?:chaos|record|{GPU}):)+", "", url)
    kind = kind_of(inner)
    if kind == "images":
        from streamer.sources.images import files

        with suppress(InputError):
            return files(inner)
    if kind == "file":
        return [path for path in _paths(inner) if path.is_file()]
    return []


def _inner(url: str) -> str:
    """Return what is recorded, or decoded on a GPU."""
    return DECODED.sub("", url.removeprefix("record:"))


def _paths(url: str) -> list[Path]:
    """Return what a file's URL may mean: a question mark can belong to its name."""
    path = re.sub(r"^file:(?://)?", "", url)
    return [Path(each) for each in dict.fromkeys((path, path.partition("?")[0]))]


def kind_of(url: str) -> str:
    """Return the key of SOURCES for a URL, a path or a camera's number."""
    if url.partition("?")[0].isdecimal() or url.startswith(("/dev/video", "/dev/v4l/")):
        return "camera"
    path = Path(url.partition("?fps=")[0])
    if scheme(url) and not path.exists():
        return scheme(url) if not DECODED.match(url) else "gpu"
    if (
        path.is_dir()
        or path.suffix.lower() in PICTURES
        or (re.search(r"[*?[]", str(path)) and not path.exists())
    ):
        return "images"
    return "file"


def stream_name(url: str) -> str:
    """Return a name fit for a file: the last part of the path, else the host, else the scheme."""
    path = redact(url).partition("?")[0].rstrip("/")
    path = re.sub(rf"^(?:(?:chaos|file|{GPU}|images|record|replay):)*", "", path)
    _, _, address = path.partition("://")
    if path.isdecimal():
        last = f"camera{path}"
    elif address and "/" not in address:
        last = address.rpartition("@")[2]
    elif scheme(path) in SOURCES and not address:
        last = scheme(path)
    else:
        last = Path(path).stem
    return re.sub(r"[^\w.-]+", "-", last).strip("-.") or "stream"

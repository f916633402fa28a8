"""Pictures as a source: one file, a folder of them, or a glob, in natural order (2 before 10)."""

from __future__ import annotations

import glob
import io
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
from av.error import FFmpegError

from engines.errors import InputError
from streamer.frame import Frame
from streamer.sources import PICTURES, SourceInfo
from streamer.sources.container import check_file, reason
from streamer.sources.exif import orientation
from streamer.sources.upright import upright
from streamer.urls import read_query

__all__ = ["Images", "Options", "files", "open_images", "read_picture"]

QUERY = re.compile(r"\?(?=[a-z]+=)")  # a question mark is also a glob's

ANIMATED = 2  # of the flags in the head of a WebP (RFC 9649, 2.7)


@dataclass(frozen=True, slots=True)
class Options:
    """The keys of ``folder?key=value``."""

    fps: float = 25.0  # pictures per second: picture n is at n / fps seconds

    def __post_init__(self) -> None:
        if not 0 < self.fps <= 1000:
            raise ValueError(f"fps: {self.fps:g}, a rate above 0 and up to 1000 would be right")


def open_images(url: str, name: str) -> Images:
    """Open a picture, the pictures of a folder, or those that a glob matches, with ``?fps=25`` after it.

    Raises:
        InputError: nothing is there, or nothing of it is a picture.
    """
    options = read_query(url, Options()) if QUERY.search(url) else Options()
    return Images(files(url), options, _path(url), name)


class Images:
    """Decodes one file after the other; one that is broken is counted by its name and left out."""

    live = False

    def __init__(self, files: list[Path], options: Options, path: str, name: str) -> None:
        self.name = name
        self.failures: Counter[str] = Counter()
        self._files = files
        self._options = options
        self._stopped = threading.Event()
        self._frames = self._decode()
        self._codec = self._format = ""
        first = next(self._frames, None)
        if first is None:
            raise InputError(f"{path}: no picture in it can be read: {next(iter(self.failures))}")
        self._first = first
        self.info = SourceInfo(
            size=first.size,
            fps=options.fps,
            frames=len(files),
            duration=len(files) / options.fps,
            codec=self._codec,
            pixel_format=self._format,
            steady=len(files) == 1,
        )

    def __iter__(self) -> Iterator[Frame]:
        return chain((self._first,), self._frames)

    def stop(self) -> None:
        """Ask, from any thread, that the iteration end after the frame at hand."""
        self._stopped.set()

    def close(self) -> None:
        """Free everything; called by the thread that iterated."""
        self._frames.close()

    def _decode(self) -> Generator[Frame, None, None]:
        index, step = 0, 1 / self._options.fps
        for number, file in enumerate(self._files):
            if self._stopped.is_set():
                return
            try:
                data = file.read_bytes()
                picture, codec = read_picture(data)
            except (FFmpegError, OSError, ValueError) as error:
                words = reason(error) if isinstance(error, OSError | FFmpegError) else str(error)
                self.failures[f"{file.name}: {words}"] += 1
                continue
            self._codec, self._format = codec, picture.format.name
            planes = upright(picture, orientation(data), Fraction(1))
            name = os.fsencode(file).decode("utf-8", "replace")
            yield Frame(self.name, index, number * step, planes, time.monotonic(), duration=step, file=name)
            index += 1


def read_picture(data: bytes) -> tuple[av.VideoFrame, str]:
    """Decode the first picture of a file's bytes; return it as decoded, and its codec's name.

    Raises:
        ValueError: it holds none, or a JPEG that is cut short.
        av.error.FFmpegError: FFmpeg cannot read it.
    """
    # FFmpeg silently fills what is missing of a JPEG with grey: its scan (SOS) must come to an end (EOI).
    if data.startswith(b"\xff\xd8") and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        raise ValueError("cut short")
    if data[8:16] == b"WEBPVP8X" and data[20:21] and data[20] & ANIMATED:
        raise ValueError("an animated WebP, which FFmpeg cannot read: a video or a GIF would be right")
    with av.open(io.BytesIO(data), "r") as container:
        if not container.streams.video:
            raise ValueError("holds no picture")
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for picture in container.decode(stream):
            return picture, stream.codec_context.codec.canonical_name
    raise ValueError("holds no picture")


def files(url: str) -> list[Path]:
    """Return the pictures that a URL names, in their order.

    Raises:
        InputError: nothing is there, or nothing of it has a picture's name.
    """
    path = _path(url)
    place = Path(path)
    if place.is_file():
        return [place]
    if place.is_dir():
        found = [file for file in place.iterdir() if _is_picture(file)]
    else:
        if not glob.has_magic(path):
            check_file(path)
        found = [Path(file) for file in glob.glob(path, recursive=True) if _is_picture(Path(file))]
    if not found:
        known = ", ".join(sorted(PICTURES))
        if place.is_dir():
            raise InputError(f"{path}: no pictures in this folder, files that end in {known} would be right")
        raise InputError(f"{path}: no picture matches, files that end in {known} would be right")
    return sorted(found, key=lambda file: [_natural(part) for part in file.parts])


def _path(url: str) -> str:
    return QUERY.split(url.removeprefix("images:"), maxsplit=1)[0]


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in PICTURES and file.is_file()


def _natural(text: str) -> list[tuple[int, str]]:
    """Return a sorting key in which runs of digits count by their value."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text)]

"""HLS: a folder that any web server can serve: a playlist and the last few segments of fragmented MP4."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import FileIO

from engines.errors import InputError, WorkError
from engines.spec import ModelSpec
from streamer.frame import Frame
from streamer.sinks.address import Address, check_writable
from streamer.sinks.broadcast import Encoded, Mux, Settings
from streamer.sinks.soundtrack import Soundtrack
from streamer.sinks.studio import Studio
from streamer.sources import SourceInfo
from streamer.urls import read_query, redact

__all__ = ["HlsSink"]

DRAFT = ".tmp"  # the end of a file's name until it is whole: the muxer's, by its flag temp_file
END = "#EXT-X-ENDLIST"  # RFC 8216, 4.3.3.4
SEQUENCE = re.compile(r"^#EXT-X-MEDIA-SEQUENCE:(\d+)$", re.MULTILINE)
LENGTH = b"#EXT-X-TARGETDURATION:%d\n"  # whole seconds, after which players ask again


@dataclass(frozen=True, slots=True)
class HlsSettings(Settings):
    """A playlist's own."""

    segment: float = 2.0  # seconds of video in a segment, about
    keep: int = 5  # segments in the playlist, older ones are removed; 0 = all

    def __post_init__(self) -> None:
        Settings.__post_init__(self)
        if not 0.2 <= self.segment <= 60:
            raise ValueError(f"segment: {self.segment}, must be from 0.2 to 60")
        if not 0 <= self.keep <= 100_000:
            raise ValueError(f"keep: {self.keep}, must be from 0 to 100000")


class HlsSink:
    """Writes ``folder/name.m3u8`` and its segments beside it; nobody needs to watch for it to encode."""

    def __init__(self, address: Address, info: SourceInfo, spec: ModelSpec) -> None:
        self.check(address)
        self._name = redact(address.url)
        self._path = os.path.realpath(address.path)
        self._settings = read_query(address.url, HlsSettings())
        self._share = Studio(fps=lambda: info.fps).share(self._settings)
        self._sound = Soundtrack(self._name, info.audio, "hls")
        self._mux: Mux | None = None
        self._files = _Files()
        self._broken = False
        self._next = float("-inf")  # pts from which a new segment should begin

    @staticmethod
    def check(address: Address) -> None:
        """Raise InputError for an option or a place that cannot be used."""
        read_query(address.url, HlsSettings())
        check_writable(address)

    def use(self, studio: Studio) -> None:
        """Share the pictures of a studio."""
        self._share = studio.share(self._settings)

    def write(self, frame: Frame) -> None:
        """Encode one frame. InputError where the folder cannot be used, WorkError where it fails later."""
        import av

        key = not self._next - 2 * self._settings.segment < frame.pts < self._next
        if key:
            self._next = frame.pts + self._settings.segment
        self._sound.hear(frame)
        try:
            self._add(self._sound.hold(self._share.write(frame, key=key)))
            if self._mux is not None:
                self._mux.write_sound(frame)
                self._files.check()
        except (OSError, av.FFmpegError) as error:
            self._broken = True
            raise WorkError(f"{self._name}: cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Finish the last segment and the playlist. Raises WorkError."""
        import av

        try:
            try:
                self._add(self._sound.release())
            finally:
                self._share.rest()
                mux, self._mux = self._mux, None
            if mux is not None:
                mux.close()
                self._files.check()
        except (OSError, av.FFmpegError) as error:
            if self._broken:
                self._end_playlist()
                return  # said by write
            raise WorkError(f"{self._name}: cannot be finished: {error.strerror}") from error

    def _add(self, parts: Iterable[Encoded]) -> None:
        for part in parts:
            self._mux = self._mux or self._open()
            self._mux.write(part)
            self._files.check()

    def _end_playlist(self) -> None:
        """Let players know that nothing follows the whole segments that are listed."""
        with contextlib.suppress(OSError), open(self._path, "r+", encoding="utf-8") as playlist:
            if END not in playlist.read():
                playlist.write(f"{END}\n")

    def _open(self) -> Mux:
        import av

        folder, name = os.path.split(self._path)
        stem = os.path.splitext(name)[0].replace("%", "%%")
        flags = "independent_segments+temp_file" + ("+delete_segments" if self._settings.keep else "")
        begin = _follow_on(self._path) if self._settings.keep else 0
        options = {
            "start_number": str(begin),
            "hls_time": f"{self._settings.segment * 0.9:g}",  # not past the keyframe that should end it
            "hls_list_size": str(self._settings.keep),
            "hls_flags": flags + ("+discont_start" if begin else ""),
            "hls_segment_type": "fmp4",
            "hls_segment_filename": os.path.join(folder.replace("%", "%%"), f"{stem}-%05d.m4s"),
            "hls_fmp4_init_filename": f"{os.path.splitext(name)[0]}-init.mp4",
        }
        try:
            os.makedirs(folder, exist_ok=True)
            return Mux(
                self._path, ("hls", options), self._share.encoder, sound=self._sound, io_open=self._files
            )
        except (OSError, av.FFmpegError) as error:
            raise InputError(f"{self._name}: cannot be opened: {error.strerror}") from error


def _follow_on(path: str) -> int:
    """Return the number behind the segments of a playlist that is there, 0 where none is; old ones go.

    Players that have stayed, and caches, never meet a number again (RFC 8216, 6.2.2). The segments of a list
    that begins with the first stay: it may be one of which all are kept.
    """
    folder, name = os.path.split(path)
    own = re.compile(re.escape(os.path.splitext(name)[0]) + r"-(\d+)\.m4s")
    text = ""
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as playlist:
        text = playlist.read()
    listed = filter(None, map(own.fullmatch, text.splitlines()))
    begin = max((int(found[1]) + 1 for found in listed), default=0)
    first = SEQUENCE.search(text)
    for left in os.listdir(folder) if first is not None and int(first[1]) else ():
        if (found := own.fullmatch(left.removesuffix(DRAFT))) and int(found[1]) <= begin:
            with contextlib.suppress(OSError):
                os.remove(os.path.join(folder, left))
    return begin


class _Files:
    """Opens the files of a playlist; what fails first is kept, as FFmpeg's muxer passes over it.

    From then on nothing is written: the playlist stays as it was when all was well.
    """

    def __init__(self) -> None:
        self.error: OSError | None = None

    def __call__(self, url: str, flags: int, options: Mapping[str, str]) -> _File:
        return _File(url.removeprefix("file:"), self)

    def check(self) -> None:
        """Raise what has failed."""
        if self.error is not None:
            raise self.error


class _File:
    """One of them; a draft that is not whole goes, so that it replaces nothing."""

    def __init__(self, path: str, files: _Files) -> None:
        self._path, self._files = path, files
        self._file: FileIO | None = None
        if files.error is None:
            with self._noted():
                self._file = FileIO(path, "w")

    def write(self, data: bytes) -> int:
        """Take all, and write it as long as nothing failed; FFmpeg rounds half a second down to none."""
        rest = data.replace(LENGTH % 0, LENGTH % 1) if self._path.endswith(".m3u8" + DRAFT) else data
        with self._noted():
            while rest and self._file is not None and self._files.error is None:
                rest = rest[self._file.write(rest) :]
        return len(data)

    def close(self) -> None:
        """Close it."""
        if self._file is None:
            return
        with self._noted():
            self._file.close()
        if self._files.error is not None and self._path.endswith(DRAFT):
            with contextlib.suppress(OSError):
                os.remove(self._path)

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._files.error = self._files.error or error

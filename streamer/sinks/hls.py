"""HLS: a folder that any web server can serve: a playlist and the last few segments of fragmented MP4."""

from __future__ import annotations

import os
from dataclasses import dataclass

from engines.errors import InputError, WorkError
from engines.spec import ModelSpec
from streamer.frame import Frame
from streamer.sinks.address import Address, check_writable
from streamer.sinks.broadcast import Mux, Settings
from streamer.sinks.studio import Studio
from streamer.sources import SourceInfo
from streamer.urls import read_query, redact

__all__ = ["HlsSink"]


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
        self._mux: Mux | None = None
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
        try:
            for part in self._share.write(frame, key=key):
                self._mux = self._mux or self._open()
                self._mux.write(part)
        except (OSError, av.FFmpegError) as error:
            raise WorkError(f"{self._name}: cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Finish the last segment and the playlist. Raises WorkError."""
        import av

        self._share.rest()
        mux, self._mux = self._mux, None
        try:
            if mux is not None:
                mux.close()
        except (OSError, av.FFmpegError) as error:
            raise WorkError(f"{self._name}: cannot be finished: {error.strerror}") from error

    def _open(self) -> Mux:
        import av

        folder, name = os.path.split(self._path)
        stem = os.path.splitext(name)[0].replace("%", "%%")
        flags = "independent_segments+temp_file" + ("+delete_segments" if self._settings.keep else "")
        options = {
            "hls_time": f"{self._settings.segment * 0.9:g}",  # not past the keyframe that should end it
            "hls_list_size": str(self._settings.keep),
            "hls_flags": flags,
            "hls_segment_type": "fmp4",
            "hls_segment_filename": os.path.join(folder.replace("%", "%%"), f"{stem}-%05d.m4s"),
            "hls_fmp4_init_filename": f"{os.path.splitext(name)[0]}-init.mp4",
        }
        try:
            os.makedirs(folder, exist_ok=True)
            return Mux(self._path, ("hls", options), self._share.encoder)
        except (OSError, av.FFmpegError) as error:
            raise InputError(f"{self._name}: cannot be opened: {error.strerror}") from error

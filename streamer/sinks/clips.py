"""Clips: a short video around each event, from packets that are encoded once and kept for a few seconds."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engines.errors import InputError, WorkError
from engines.spec import ModelSpec
from streamer.analytics.events import Event, described
from streamer.frame import Frame
from streamer.sinks.address import Address
from streamer.sinks.broadcast import Encoded, Mux, Settings
from streamer.sinks.faststart import faststart
from streamer.sinks.film import FRAGMENTS, TICKS
from streamer.sinks.studio import Studio
from streamer.sources import SourceInfo
from streamer.urls import read_query, redact

__all__ = ["ClipSettings", "ClipSink"]

OURS = re.compile(r"(\d{8}-\d{6}|\d{6}\.\d{3})-[\w.-]+?(-\d+)?\.(mp4|jsonl|jpg)")
NUMBERED = re.compile(r"-\d+$")  # the end of a second picture's name
UNSAFE = re.compile(r"[^\w]+")
DAY = 86400.0
MEGABYTE = 1e6
MOST_PICTURES = 99  # of one clip


@dataclass(frozen=True, slots=True)
class ClipSettings(Settings):
    """What of the time around events is kept, and for how long."""

    before: float = 5.0  # seconds before the first event
    after: float = 5.0  # seconds after the last
    longest: float = 120.0  # seconds after which events go on in another clip
    on: str = ""  # kinds of events, as line+alert; "" = all
    names: str = ""  # of lines, zones and grounds, as door+back_gate; "" = all
    snapshot: bool = True  # a JPEG of each picture with an event
    days: float = 0.0  # after which clips are removed, 0 = never
    megabytes: int = 0  # that all clips may take, then the oldest go, 0 = any

    def __post_init__(self) -> None:
        Settings.__post_init__(self)
        for name, least, most in (("before", 0, 300), ("after", 0, 3600), ("longest", 1, 86400)):
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name}: {value:g}, must be from {least} to {most}")
        if self.days < 0 or self.megabytes < 0:
            raise ValueError(f"days, megabytes: {self.days:g}, {self.megabytes}, must be 0 or more")

    def wants(self, event: Event) -> bool:
        """Tell whether an event is one to keep."""
        kinds, names = (re.split(r"[+ ,]+", told) if told else [] for told in (self.on, self.names))
        return (not kinds or event.kind in kinds) and (not names or _safe(event.name) in map(_safe, names))


class ClipSink:
    """Writes ``clips:folder?before=5&after=5``: for events close together one MP4, their lines, pictures.

    ``TIME-KIND-NAME.mp4`` with ``.jsonl`` and ``.jpg`` beside it; the time is that of the first event: of the
    clock for live sources, seconds of the source's own time for files.
    """

    def __init__(self, address: Address, info: SourceInfo, spec: ModelSpec) -> None:
        self.check(address)
        self._url, self._folder = redact(address.url), os.path.realpath(address.path)
        self._settings = read_query(address.url, ClipSettings())
        self._names = spec.classes
        self._ring: deque[Encoded] = deque()
        self._clip: _Clip | None = None
        self._broken = False
        self.use(Studio(fps=lambda: info.fps))

    @staticmethod
    def check(address: Address) -> None:
        """Raise InputError for an option or a place that cannot be used."""
        read_query(address.url, ClipSettings())
        if not address.path:
            raise InputError(f"{redact(address.url)}: no folder, would be clips:FOLDER")
        path = os.path.realpath(address.path)
        if os.path.exists(path) and not (os.path.isdir(path) and os.access(path, os.W_OK | os.X_OK)):
            raise InputError(f"{redact(address.url)}: is not a folder that can be written")

    def use(self, studio: Studio) -> None:
        """Share the pictures of a studio."""
        self._studio = studio
        self._share = studio.share(self._settings)

    def write(self, frame: Frame) -> None:
        """Encode one frame; begin, go on with or end a clip. Raises WorkError."""
        import av

        try:
            parts = self._share.write(frame)
            wanted = [event for event in frame.events if self._settings.wants(event)]
            self._keep(parts)
            if wanted and self._ring:
                self._note(wanted, frame)
            if self._clip is not None and self._ring and self._ring[-1].tick >= self._clip.until:
                self._finish()
        except (OSError, av.FFmpegError) as error:
            self._broken = True
            raise WorkError(f"{self._url}: cannot be written: {getattr(error, 'strerror', error)}") from error

    def close(self) -> None:
        """Finish the clip that is under way. Raises WorkError."""
        import av

        self._share.rest()
        try:
            self._finish()
        except (OSError, av.FFmpegError) as error:
            if self._broken:
                return  # said by write
            raise WorkError(
                f"{self._url}: cannot be finished: {getattr(error, 'strerror', error)}"
            ) from error

    def _keep(self, parts: list[Encoded]) -> None:
        """Put packets into the ring, and into the clip; what is older than a beginning needs goes."""
        for part in parts:
            if self._ring and part.tick < self._ring[-1].tick:
                self._ring.clear()  # the source began anew
            self._ring.append(part)
            if self._clip is not None:
                self._clip.write(part)
        if not self._ring:
            return
        since = self._ring[-1].tick - self._settings.before * TICKS
        keys = [at for at, part in enumerate(self._ring) if part.is_key and part.tick <= since]
        for _ in range(keys[-1] if keys else 0):
            self._ring.popleft()

    def _note(self, events: list[Event], frame: Frame) -> None:
        now, settings = self._ring[-1].tick, self._settings
        if self._clip is not None and now - self._clip.first > settings.longest * TICKS:
            self._finish()
        if self._clip is None:
            self._begin(events[0], frame)
        clip = self._clip
        assert clip is not None
        clip.until = now + settings.after * TICKS
        clip.note([described(event, frame.stream, self._names) for event in events])
        if settings.snapshot:
            clip.picture(self._studio.draw(frame))

    def _begin(self, event: Event, frame: Frame) -> None:
        os.makedirs(self._folder, exist_ok=True)
        words = [_moment(frame), _safe(event.kind), _safe(event.name)]
        stem = os.path.join(self._folder, "-".join(words))
        number = 1
        while os.path.exists(f"{stem}.mp4"):
            number += 1
            stem = f"{stem.removesuffix(f'_{number - 1}')}_{number}"
        self._clip = _Clip(
            stem, Mux(f"{stem}.mp4", ("mp4", FRAGMENTS), self._share.encoder), self._ring[0].tick
        )
        for part in self._ring:
            self._clip.write(part)

    def _finish(self) -> None:
        clip, self._clip = self._clip, None
        if clip is None:
            return
        try:
            clip.close()
        finally:
            clip.drop_empty()
        _forget_old(self._folder, self._settings, os.path.basename(clip.stem))


class _Clip:
    """A video that is being written, and what lies beside it."""

    def __init__(self, stem: str, mux: Mux, first: int) -> None:
        self.stem, self.first = stem, first
        self.until: float = first  # tick at which it ends, if nothing else happens
        self._mux = mux
        self._packets = self._pictures = 0

    def write(self, part: Encoded) -> None:
        self._mux.write(part, part.tick - self.first)
        self._packets += 1

    def note(self, events: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events)
        _add_whole(f"{self.stem}.jsonl", lines.encode())

    def picture(self, frame: Frame) -> None:
        import cv2

        from streamer.planes import to_rgb

        if self._pictures >= MOST_PICTURES:
            return
        self._pictures += 1
        number = f"-{self._pictures}" if self._pictures > 1 else ""
        _, data = cv2.imencode(".jpg", cv2.cvtColor(to_rgb(frame.planes), cv2.COLOR_RGB2BGR))
        _add_whole(f"{self.stem}{number}.jpg", data.tobytes())

    def drop_empty(self) -> None:
        """Remove the video if a full disk took nothing of it."""
        with contextlib.suppress(OSError):
            if not os.path.getsize(f"{self.stem}.mp4"):
                os.remove(f"{self.stem}.mp4")

    def close(self) -> None:
        self._mux.close()
        faststart(f"{self.stem}.mp4", "mp4", self._packets)


def _add_whole(path: str, data: bytes) -> None:
    """Add to a file, or leave it as it was, not there if it was not; OSError where that is so."""
    size = os.path.getsize(path) if os.path.exists(path) else 0
    try:
        with open(path, "ab") as file:
            file.write(data)
    except OSError:
        with contextlib.suppress(OSError):
            os.truncate(path, size)
            if not size:
                os.remove(path)
        raise


def _safe(word: str) -> str:
    """Return a name as part of a file's name, in which nothing stands that could mean something else."""
    return UNSAFE.sub("_", word).strip("_") or "event"


def _moment(frame: Frame) -> str:
    if not frame.live:
        return f"{max(frame.pts, 0):010.3f}"
    wall = frame.wall if frame.wall == frame.wall else time.time() - (time.monotonic() - frame.captured)
    return datetime.fromtimestamp(wall).strftime("%Y%m%d-%H%M%S")


def _forget_old(folder: str, settings: ClipSettings, newest: str) -> None:
    """Remove clips that are too old, and the oldest while all take too much; never the newest.

    Files of other names are nobody's clips and stay.
    """
    if not settings.days and not settings.megabytes:
        return
    clips: dict[str, list[tuple[str, os.stat_result]]] = {}
    for entry in os.scandir(folder):
        if OURS.fullmatch(entry.name) and entry.is_file():
            stem, suffix = os.path.splitext(entry.name)
            clip = NUMBERED.sub("", stem) if suffix == ".jpg" else stem
            with contextlib.suppress(FileNotFoundError):  # somebody carries clips away
                clips.setdefault(clip, []).append((entry.path, entry.stat()))
    clips = {stem: files for stem, files in clips.items() if files}
    aged = sorted((max(stat.st_mtime for _, stat in files), stem) for stem, files in clips.items())
    sizes = {stem: sum(stat.st_size for _, stat in files) for stem, files in clips.items()}
    total, now = sum(sizes.values()), time.time()
    for changed, stem in aged:
        too_old = settings.days and now - changed > settings.days * DAY
        too_much = settings.megabytes and total > settings.megabytes * MEGABYTE
        if stem == newest or not (too_old or too_much):
            continue
        total -= sizes[stem]
        for path, _ in clips[stem]:
            with contextlib.suppress(OSError):
                os.remove(path)

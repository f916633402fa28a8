"""Record and replay: a live session kept with its exact timing, and given again at that timing.

``record:URL?to=FOLDER`` reads URL as ever and keeps each connection as a film of its own: 0001.nut with the
packets as they came, 0001.times with when they came. ``replay:FOLDER`` is that session again, as live as it
was: each picture comes when its packet came, and a connection that was lost is lost again.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av

from engines.errors import InputError, WorkError
from streamer.frame import Frame
from streamer.sources import Unavailable, open_source
from streamer.sources.container import Opening, open_container
from streamer.sources.video import Video
from streamer.urls import redact

if TYPE_CHECKING:
    from av.packet import Packet
    from av.stream import Stream

__all__ = ["Record", "Reel", "Replay", "Tape", "open_record", "open_replay"]

# The reader may be killed at any time: what came is to be on disk. An index would only grow in memory.
NUT = {"flush_packets": "1", "write_index": "0"}
SOON = 1.0  # seconds before its time at which a recorded connection may be opened


class Tape:
    """The folder that one session is kept in."""

    def __init__(self, url: str) -> None:
        """Read ``record:URL?to=FOLDER``; InputError for another form, or if the folder holds a session."""
        self.url, _, query = url.removeprefix("record:").rpartition("?")
        key, _, folder = query.partition("=")
        if not self.url or key != "to" or not folder:
            raise InputError(f"{redact(url)}: record:URL?to=FOLDER would be right")
        self.folder = Path(folder)
        if any(self.folder.glob("*.nut")):
            raise InputError(
                f"{redact(url)}: {folder}: holds a session already, another folder would be right"
            )
        self.count = 0  # connections kept

    def next(self) -> Path:
        """Return where the next connection goes, without a suffix."""
        self.count += 1
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{self.count:04d}"


def open_record(url: str, name: str, tape: Tape | None = None) -> Record:
    """Open the source of a record: URL, and keep what it sends.

    Raises:
        InputError: the URL has another form, its source sends no packets, or what opening it raises.
    """
    tape = tape or Tape(url)
    source = open_source(tape.url, name=name)
    if not isinstance(source, Video):
        source.close()
        raise InputError(
            f"{redact(url)}: {redact(tape.url)}: "
            "only films, cameras and streams that send packets can be recorded"
        )
    try:
        return Record(source, tape.next())
    except BaseException:
        source.close()
        raise


class Record:
    """The source it keeps, and a writer beside it."""

    def __init__(self, source: Video, path: Path) -> None:
        self.name, self.live, self.info = source.name, source.live, source.info
        self.failures: Counter[str] = source.failures
        self.piles_up = source.piles_up
        self._source = source
        self._template = source.stream
        self._path = path.with_suffix(".nut")
        self._broken = False
        try:
            self._film: Any = av.open(str(self._path), "w", options=NUT)
            self._times = path.with_suffix(".times").open("w", buffering=1)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror}") from error
        self._last, self._shift = -(1 << 62), 0  # the last dts, and what is added to each
        self._kept = self._film.add_stream_from_template(self._template)
        source.listen(self._keep)

    @property
    def troubles(self) -> Counter[str]:
        """Those of the source itself."""
        return self._source.troubles

    def __iter__(self) -> Iterator[Frame]:
        return iter(self._source)

    def stop(self) -> None:
        """Ask, from any thread, that the iteration end after the frame at hand."""
        self._source.stop()

    def close(self) -> None:
        """Complete the recording and free everything; called by the thread that iterated."""
        self._source.close()
        try:
            self._film.close()
            self._times.close()
        except (OSError, av.FFmpegError) as error:
            if not self._broken:
                raise self._failure(error) from error

    def _keep(self, packet: Packet[Stream], arrived: float) -> bool:
        try:
            self._write(packet, arrived)
        except (OSError, av.FFmpegError) as error:
            self._broken = True
            raise self._failure(error) from error
        return True

    def _failure(self, error: OSError | av.FFmpegError) -> WorkError:
        return WorkError(f"{self._path}: cannot be written: {error.strerror}")

    def _write(self, packet: Packet[Stream], arrived: float) -> None:
        dts = packet.dts if packet.dts is not None else packet.pts
        if dts is None:  # as that of RTSP's first picture
            dts = max(self._last + 1, 0) - self._shift
        if dts + self._shift <= self._last:  # FFmpeg sets RTSP's clock anew at the first sender report
            self._shift = self._last + 1 - dts
        self._last = dts + self._shift
        copy: Any = av.Packet(bytes(packet))
        copy.dts, copy.time_base = self._last, packet.time_base
        copy.pts = (packet.pts if packet.pts is not None else dts) + self._shift
        copy.is_keyframe = packet.is_keyframe
        copy.stream = self._kept
        self._film.mux_one(copy)
        self._times.write(f"{arrived:.6f}\n")


class Reel:
    """A session that is played, from its first opening on."""

    def __init__(self, url: str) -> None:
        """Read ``replay:FOLDER``; InputError if there is no session in it."""
        folder = Path(url.removeprefix("replay:"))
        self._films = sorted(folder.glob("*.nut"))
        try:
            self._times = [arrivals(film.with_suffix(".times")) for film in self._films]
        except (OSError, ValueError) as error:
            raise InputError(f"{url}: damaged: {error}") from error
        self._films = [film for film, times in zip(self._films, self._times, strict=True) if times]
        self._times = [times for times in self._times if times]
        if not self._films:
            raise InputError(
                f"{url}: no session in it, a folder that record:URL?to=FOLDER wrote would be right"
            )
        self._next = 0
        self._began = float("-inf")  # time.monotonic() of the session's first packet, played

    @property
    def is_over(self) -> bool:
        """True once the last connection was taken."""
        return self._next == len(self._films)

    def is_due(self) -> bool:
        """Tell whether the time of the next connection has come."""
        first = self._times[0][0]
        due = self._began + self._times[min(self._next, len(self._times) - 1)][0] - first
        return self._began == float("-inf") or time.monotonic() >= due - SOON

    def take(self) -> tuple[Path, list[float]]:
        """Return the next connection's film, and when its packets came."""
        self._next += 1
        return self._films[self._next - 1], self._times[self._next - 1]

    def due(self, times: list[float]) -> list[float]:
        """Return when packets are due on our clock, on which the session begins with the first call."""
        if self._began == float("-inf"):
            self._began = time.monotonic()
        return [arrived + self._began - self._times[0][0] for arrived in times]


def open_replay(url: str, name: str, reel: Reel | None = None) -> Replay:
    """Open the next connection of a session.

    Raises:
        InputError: there is no session, or it is damaged.
        Unavailable: the time of the next connection has not come.
    """
    reel = reel or Reel(url)
    if reel.is_over or not reel.is_due():
        raise Unavailable(f"{url}: away, as it was when it was recorded")
    film, times = reel.take()
    video = Video(open_container(url, f"file:{film}", Opening()), url, name, live=True)
    return Replay(video, reel.due(times), is_last=reel.is_over)


class Replay:
    """One recorded connection as a live source."""

    live = True

    def __init__(self, video: Video, due: list[float], *, is_last: bool) -> None:
        self.name = video.name
        self.info = replace(video.info, frames=len(due)) if is_last else video.info
        self.failures: Counter[str] = video.failures
        self._video = video
        self._due = due
        self._fed = 0  # packets that went into the decoder
        self._is_last = is_last
        self._stopped = threading.Event()
        video.listen(self._count)

    @property
    def troubles(self) -> Counter[str]:
        """What the decoder complains of."""
        return self._video.troubles

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._video:
            due = self._due[min(self._fed, len(self._due)) - 1]
            if self._stopped.wait(max(due - time.monotonic(), 0.0)):
                return
            frame.captured = time.monotonic()
            yield frame
        if not self._is_last and not self._stopped.is_set():
            raise WorkError("connection lost, as it was when it was recorded")

    def stop(self) -> None:
        """Ask, from any thread, that the iteration end after the frame at hand."""
        self._stopped.set()
        self._video.stop()

    def close(self) -> None:
        """Free everything; called by the thread that iterated."""
        self._video.close()

    def _count(self, packet: Packet[Stream], arrived: float) -> bool:
        self._fed += 1
        return True


def arrivals(path: Path) -> list[float]:
    """Read when the packets of a connection came; a last line that was cut off is left out."""
    text = path.read_text(encoding="utf-8")
    return [float(line) for line in text[: text.rfind("\n") + 1].splitlines()]

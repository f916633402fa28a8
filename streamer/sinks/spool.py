"""Spool: records on disk on their way to a broker, in order, bounded, and still there after a kill.

A folder of segments, JSON lines in files named by the place of their first byte in the whole log, and a state
file that says how far delivery has come and which sequence number each stream has reached.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import re
import threading
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.errors import InputError
from engines.lock import try_lock

__all__ = ["Spool", "is_event"]

log = logging.getLogger(__name__)

SEGMENTS = 8  # that a full spool has; the oldest goes as a whole
SUFFIX = ".jsonl"
NAME = re.compile(r"\d{20}" + re.escape(SUFFIX), re.ASCII)
FULL = "spool is full"
DAMAGED = "spool is damaged"
REMOVED = "spool was removed"
CHUNK = 256 << 10  # bytes read at once
EVENT = re.compile(rb'\{"version":\d+,"seq":\d+,"event":')


def is_event(line: bytes) -> bool:
    """Tell whether a line that was taken from a spool is an event, not a record."""
    return EVENT.match(line) is not None


@dataclass(slots=True)
class Segment:
    """One file of the log."""

    start: int  # place of its first byte in the whole log
    size: int  # bytes
    left: int = 0  # records that were not given out yet
    is_foreign: bool = False  # found here, so that its lines may be damaged

    @property
    def end(self) -> int:
        return self.start + self.size


class Spool:
    """One thread appends; another takes, commits and syncs.

    When `append` returns a kill of this process does not lose the record any more; after `sync` a power cut
    does not either. When the log outgrows ``limit`` bytes, its oldest records go and are counted, and so are
    those that a disk in trouble loses; none of it ends the run.
    """

    def __init__(self, folder: str, limit: int) -> None:
        """Open or go on with the spool of a folder. Raises InputError where it cannot be used."""
        self.lost: Counter[str] = Counter()  # why -> records given up since this was opened
        self.appended = 0
        self._folder = Path(folder)
        self._limit = limit
        self._lock = threading.Lock()
        self._syncing = threading.Lock()  # taken before the other
        self._filled = threading.Condition(self._lock)
        self._segments: deque[Segment] = deque()
        self._unsynced: list[int] = []  # descriptors of full segments
        self._cursor = 0  # place up to which records are delivered
        self._taken = 0  # place up to which records were given out
        self._sequence: dict[str, int] = {}  # stream -> number of its next record
        self._closed = False
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._guard = self._occupy()
            self._recover()
        except OSError as error:
            raise InputError(f"spool {folder}: cannot be used: {error.strerror}") from error

    def append(self, record: dict[str, Any]) -> None:
        """Number a record within its stream and add it; one that cannot be written is counted as lost."""
        with self._lock:
            stream = record["stream"]
            number = self._sequence.get(stream, 0)
            self._sequence[stream] = number + 1
            numbered = {"version": 1, "seq": number, **record}
            text = json.dumps(numbered, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
            self._write(text.encode() + b"\n")
            self.appended += 1
            self._filled.notify()

    def take(self, most: int, timeout: float) -> tuple[list[bytes], int]:
        """Return 1..most lines without their ends, and the place to commit once they are delivered.

        The lines are empty when none came in `timeout` seconds. Lines once taken are not given out again:
        whoever took them keeps them until they are delivered.
        """
        with self._lock:
            if self._taken == self._end and not self._closed:
                self._filled.wait(timeout)
            return self._read(most), self._taken

    def commit(self, place: int) -> None:
        """Note that all up to a place is delivered; on disk with the next `sync`."""
        with self._lock:
            self._cursor = max(self._cursor, place)

    def sync(self) -> None:
        """Bring records and state to the disk itself, and remove segments that are delivered.

        Records go on being appended while a slow disk takes its time.
        """
        with self._syncing:
            with self._lock:
                if self._closed:
                    return
                state = self._state()
                full, self._unsynced = self._unsynced, []
                current = os.dup(self._file)
            try:
                for descriptor in (*full, current):
                    os.fsync(descriptor)
            finally:
                for descriptor in (*full, current):
                    os.close(descriptor)
            draft = self._draft(state, "state.synced", durable=True)
            with self._lock:
                if self._is_closed():
                    return
                if not os.fstat(self._file).st_nlink:
                    self._begin_anew()
                self._take_over(draft)
                while len(self._segments) > 1 and self._segments[0].end <= state["cursor"]:
                    self._remove()

    @property
    def overflowed(self) -> int:
        """Records given up since this was opened, for whatever reason."""
        return self.lost.total()

    @property
    def undelivered(self) -> int:
        """Bytes that wait on disk or are with whoever took them."""
        with self._lock:
            return self._end - self._cursor

    def close(self) -> None:
        """Save how far delivery came; what is left stays for the next who opens this folder."""
        with self._lock:
            if self._closed:
                return
            self._save(self._state(), durable=True)
            self._closed = True
            self._filled.notify_all()
            for descriptor in (*self._unsynced, self._file, self._guard):
                os.close(descriptor)

    def _is_closed(self) -> bool:
        return self._closed

    @property
    def _end(self) -> int:
        return self._segments[-1].end

    def _occupy(self) -> int:
        guard = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        if not try_lock(guard):
            os.close(guard)
            raise InputError(
                f"spool {self._folder}: another run delivers from it, give this one its own: ?spool=FOLDER"
            )
        return guard

    def _recover(self) -> None:
        state = self._known_state()
        self._cursor, self._sequence = state["cursor"], state["sequence"]
        for path in sorted(path for path in self._folder.iterdir() if NAME.fullmatch(path.name)):
            self._segments.append(Segment(int(path.stem), path.stat().st_size, is_foreign=True))
        if not self._segments:
            self._segments.append(Segment(max(state["cursor"], state["end"]), 0))
        self._file = self._open(self._segments[-1])
        self._cut_torn_line()
        self._cursor = self._taken = min(max(self._cursor, self._segments[0].start), self._end)
        for segment in self._segments:
            segment.left = self._count(segment, self._taken)
        self._learn_numbers(state["end"])

    def _known_state(self) -> dict[str, Any]:
        """Return the state that the last run left, a fresh one where there is none that can be used."""
        fresh: dict[str, Any] = {"cursor": 0, "end": 0, "sequence": {}}
        with contextlib.suppress(FileNotFoundError):
            text = (self._folder / "state").read_bytes()
            with contextlib.suppress(ValueError, RecursionError):
                state: dict[str, Any] = json.loads(text)
                if _is_state(state):
                    return fresh | state
            log.warning("spool %s: its state is damaged, all records in it are sent again", self._folder)
        return fresh

    def _cut_torn_line(self) -> None:
        last = self._segments[-1]
        whole = self._path(last).read_bytes().rfind(b"\n") + 1
        os.ftruncate(self._file, whole)
        last.size = whole

    def _count(self, segment: Segment, since: int) -> int:
        """Return how many lines of a segment begin at a place or behind it."""
        with open(self._path(segment), "rb") as file:
            file.seek(max(since - segment.start, 0))
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(CHUNK), b""))

    def _learn_numbers(self, known: int) -> None:
        """Take sequence numbers from the records that are younger than the state."""
        for segment in self._segments:
            if segment.end <= known:
                continue
            for line in self._path(segment).read_bytes().split(b"\n"):
                if record := _record_of(line):
                    stream, number = record["stream"], record["seq"] + 1
                    self._sequence[stream] = max(self._sequence.get(stream, 0), number)

    def _write(self, line: bytes) -> None:
        try:
            last = self._segments[-1]
            if last.size and last.size + len(line) > self._limit // SEGMENTS:
                self._begin_segment()
                last = self._segments[-1]
            done = 0
            while done < len(line):
                done += os.write(self._file, line[done:])
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._segments[-1].size)
            self.lost[_trouble(error)] += 1
            return
        last.size += len(line)
        last.left += 1
        while len(self._segments) > 1 and self._end - self._segments[0].start > self._limit:
            self._give_up(self._segments[0], FULL)

    def _begin_segment(self) -> None:
        """Go on in another file. Raises OSError, and then all is as it was."""
        fresh = Segment(self._end, 0)
        try:
            descriptor = self._open(fresh)
        except FileNotFoundError:  # the folder was removed
            self._begin_anew()
            return
        self._unsynced.append(self._file)
        self._file = descriptor
        self._segments.append(fresh)
        self._save(self._state(), durable=False)

    def _begin_anew(self) -> None:
        """Go on where somebody removed the file, or the folder with all that was in it. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._keep_occupied()
        fresh = Segment(self._end, 0)
        gone = [part for part in self._segments if not self._path(part).exists()]
        descriptor = self._open(fresh)
        os.close(self._file)
        self._file = descriptor
        self.lost[REMOVED] += sum(part.left for part in gone)
        self._segments = deque([*(part for part in self._segments if part not in gone), fresh])
        if self._next() is None:
            self._taken = self._cursor = self._end
        self._save(self._state(), durable=True)

    def _keep_occupied(self) -> None:
        """Lock the folder again if the lock was removed. Raises OSError where another run was faster."""
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(self._folder / "lock"), os.fstat(self._guard)):
                return
        try:
            guard = self._occupy()
        except InputError as error:
            raise OSError(errno.EBUSY, "another run has it") from error
        os.close(self._guard)
        self._guard = guard

    def _give_up(self, segment: Segment, reason: str) -> None:
        """Drop the oldest segment; what of it was taken is delivered, or kept by whoever took it."""
        self.lost[reason] += segment.left
        self._taken = max(self._taken, segment.end)
        self._cursor = max(self._cursor, segment.end)
        self._remove()

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            self._path(self._segments.popleft()).unlink(missing_ok=True)

    def _read(self, most: int) -> list[bytes]:
        """Take lines; those that are no records are counted and left out."""
        segment = self._next()
        if segment is None or self._closed:
            self._taken = self._end
            return []
        self._taken = max(self._taken, segment.start)  # a segment before it may be missing
        try:
            lines = self._lines(segment, most)
        except OSError as error:
            self.lost[_trouble(error)] += segment.left
            segment.left, self._taken = 0, segment.end
            self._cursor = max(self._cursor, segment.end)
            return []
        self._taken += sum(len(line) + 1 for line in lines)
        segment.left = max(segment.left - len(lines), 0)
        if not segment.is_foreign:
            return lines
        sound = [line for line in lines if _record_of(line)]
        if len(sound) < len(lines):
            self.lost[DAMAGED] += len(lines) - len(sound)
        return sound

    def _next(self) -> Segment | None:
        """Return the segment that has what was not taken yet."""
        return next((part for part in self._segments if part.size and part.end > self._taken), None)

    def _lines(self, segment: Segment, most: int) -> list[bytes]:
        with open(self._path(segment), "rb") as file:
            file.seek(self._taken - segment.start)
            data = file.read(min(CHUNK, segment.end - self._taken))
            if b"\n" not in data:
                data += file.readline()
        return data[: data.rfind(b"\n")].split(b"\n", most)[:most]

    def _open(self, segment: Segment) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        return os.open(self._path(segment), flags, 0o600)

    def _path(self, segment: Segment) -> Path:
        return self._folder / f"{segment.start:020}{SUFFIX}"

    def _state(self) -> dict[str, Any]:
        return {"cursor": self._cursor, "end": self._end, "sequence": dict(self._sequence)}

    def _save(self, state: dict[str, Any], *, durable: bool) -> None:
        self._take_over(self._draft(state, "state.new", durable=durable))

    def _draft(self, state: dict[str, Any], name: str, *, durable: bool) -> Path:
        """Write the next state beside the present one; there is none where the disk is full."""
        draft = self._folder / name
        try:
            with open(draft, "w", encoding="utf-8") as file:
                json.dump(state, file)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
        return draft

    def _take_over(self, draft: Path) -> None:
        """Replace the state as a whole; without a draft the old one stays, which repeats records at worst."""
        with contextlib.suppress(OSError):
            os.replace(draft, self._folder / "state")


def _is_state(state: object) -> bool:
    if not isinstance(state, dict):
        return False
    numbers = [state.get("cursor", 0), state.get("end", 0)]
    sequence = state.get("sequence", {})
    if isinstance(sequence, dict):
        numbers += sequence.values()
    return isinstance(sequence, dict) and all(type(number) is int and number >= 0 for number in numbers)


def _record_of(line: bytes) -> dict[str, Any]:
    """Return the record that a line is, empty where a power cut or somebody else has left another thing."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict) or not isinstance(found.get("stream"), str):
        return {}
    return found if type(found.get("seq")) is int else {}


def _trouble(error: OSError) -> str:
    return f"spool cannot be used: {error.strerror}"

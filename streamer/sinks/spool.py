"""Spool: records on disk on their way to a broker, in order, bounded, and still there after a kill.

A folder of segments, JSON lines in files named by the place of their first byte in the whole log, and a state
file that says how far delivery has come and which sequence number each stream has reached.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.errors import InputError

__all__ = ["Spool", "is_event"]

SEGMENTS = 8  # that a full spool has; the oldest goes as a whole
SUFFIX = ".jsonl"
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

    @property
    def end(self) -> int:
        return self.start + self.size


class Spool:
    """One thread appends; another takes, commits and syncs.

    When `append` returns a kill of this process does not lose the record any more; after `sync` a power cut
    does not either. When the log outgrows ``limit`` bytes, its oldest records go and are counted.
    """

    def __init__(self, folder: str, limit: int) -> None:
        """Open or go on with the spool of a folder. Raises InputError where it cannot be used."""
        self.overflowed = 0  # records given up since this was opened
        self.appended = 0
        self._folder = Path(folder)
        self._limit = limit
        self._lock = threading.Lock()
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
        """Number a record within its stream and add it; a full disk counts it as overflowed."""
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
            lines = self._read(most)
            self._taken += sum(len(line) + 1 for line in lines)
            return lines, self._taken

    def commit(self, place: int) -> None:
        """Note that all up to a place is delivered; on disk with the next `sync`."""
        with self._lock:
            self._cursor = max(self._cursor, place)

    def sync(self) -> None:
        """Bring records and state to the disk itself, and remove segments that are delivered."""
        with self._lock:
            if self._closed:
                return
            state = self._state()
            full, self._unsynced = self._unsynced, []
            current = os.dup(self._file)
        for descriptor in (*full, current):
            os.fsync(descriptor)
            os.close(descriptor)
        with self._lock:
            if self._is_closed():
                return
            self._save(state, durable=True)
            while len(self._segments) > 1 and self._segments[0].end <= state["cursor"]:
                self._remove()

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
        guard = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(guard)
            raise InputError(
                f"spool {self._folder}: another run delivers from it, give this one its own: ?spool=FOLDER"
            ) from error
        return guard

    def _recover(self) -> None:
        state: dict[str, Any] = {"cursor": 0, "end": 0, "sequence": {}}
        with contextlib.suppress(FileNotFoundError, ValueError):
            state |= json.loads((self._folder / "state").read_bytes())
        self._cursor, self._sequence = state["cursor"], state["sequence"]
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            self._segments.append(Segment(int(path.stem), path.stat().st_size))
        if not self._segments:
            self._segments.append(Segment(max(state["cursor"], state["end"]), 0))
        self._open_last()
        self._cut_torn_line()
        self._cursor = self._taken = min(max(self._cursor, self._segments[0].start), self._end)
        self._learn_numbers(state["end"])

    def _cut_torn_line(self) -> None:
        last = self._segments[-1]
        whole = self._path(last).read_bytes().rfind(b"\n") + 1
        os.ftruncate(self._file, whole)
        last.size = whole

    def _learn_numbers(self, known: int) -> None:
        """Take sequence numbers from the records that are younger than the state."""
        for segment in self._segments:
            if segment.end <= known:
                continue
            for line in self._path(segment).read_bytes().splitlines():
                record = json.loads(line)
                stream, number = record["stream"], record["seq"] + 1
                self._sequence[stream] = max(self._sequence.get(stream, 0), number)

    def _write(self, line: bytes) -> None:
        last = self._segments[-1]
        if last.size and last.size + len(line) > self._limit // SEGMENTS:
            self._begin_segment()
            last = self._segments[-1]
        try:
            done = 0
            while done < len(line):
                done += os.write(self._file, line[done:])
        except OSError:
            os.ftruncate(self._file, last.size)
            self.overflowed += 1
            return
        last.size += len(line)
        while len(self._segments) > 1 and self._end - self._segments[0].start > self._limit:
            self._give_up_oldest()

    def _begin_segment(self) -> None:
        self._unsynced.append(self._file)
        self._segments.append(Segment(self._end, 0))
        self._open_last()
        self._save(self._state(), durable=False)

    def _give_up_oldest(self) -> None:
        oldest = self._segments[0]
        lost = max(self._taken, oldest.start)  # those before it are delivered, or kept by whoever took them
        if lost < oldest.end:
            self.overflowed += self._path(oldest).read_bytes()[lost - oldest.start :].count(b"\n")
            self._taken = oldest.end
        self._cursor = max(self._cursor, oldest.end)
        self._remove()

    def _remove(self) -> None:
        self._path(self._segments.popleft()).unlink(missing_ok=True)

    def _read(self, most: int) -> list[bytes]:
        segment = next((part for part in self._segments if part.end > self._taken), None)
        if segment is None or self._closed:
            return []
        with open(self._path(segment), "rb") as file:
            file.seek(self._taken - segment.start)
            data = file.read(min(CHUNK, segment.end - self._taken))
            if b"\n" not in data:
                data += file.readline()
        return data[: data.rfind(b"\n")].split(b"\n", most)[:most]

    def _open_last(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(self._path(self._segments[-1]), flags, 0o600)

    def _path(self, segment: Segment) -> Path:
        return self._folder / f"{segment.start:020}{SUFFIX}"

    def _state(self) -> dict[str, Any]:
        return {"cursor": self._cursor, "end": self._end, "sequence": dict(self._sequence)}

    def _save(self, state: dict[str, Any], *, durable: bool) -> None:
        """Replace the state as a whole; a full disk leaves the old one, which repeats records at worst."""
        fresh = self._folder / "state.new"
        try:
            with open(fresh, "w") as file:
                json.dump(state, file)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(fresh, self._folder / "state")
        except OSError:
            fresh.unlink(missing_ok=True)

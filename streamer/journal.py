"""Journal: what became of each single frame, as a file that can be asked afterwards.

One JSON array a line: time.monotonic() seconds, stream, index, stage, and what happened there: "in", "out",
or why the frame was lost. An index of -1 stands for frames without one; then a count follows. The line in
which a source gives out a frame ends with the time at which it was captured. The first line tells what this
is, and how many events are missing because the disk did not take them.
"""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any, Protocol

from engines.errors import InputError, WorkError
from streamer.frame import Frame
from streamer.metrics import Tally

__all__ = ["Event", "Journal", "Notes", "Several", "Story", "read"]

HEAD = {"ledger": 1}  # the first line: what this is, and its version
EVERY = 0.5  # seconds between two writes
MOST = 200_000  # lines that wait for the disk; what comes then is counted and left out


class Notes(Protocol):
    """Who is told what becomes of each frame, from any thread."""

    def note(self, frame: Frame, stage: str, event: str, *, captured: bool = False) -> None: ...

    def count(self, stream: str, stage: str, event: str, frames: int) -> None: ...

    def close(self) -> None: ...


class Several:
    """Notes that several take."""

    def __init__(self, *those: Notes) -> None:
        self._those = those

    def note(self, frame: Frame, stage: str, event: str, *, captured: bool = False) -> None:
        """Tell all of a frame."""
        for one in self._those:
            one.note(frame, stage, event, captured=captured)

    def count(self, stream: str, stage: str, event: str, frames: int) -> None:
        """Tell all of so many frames."""
        for one in self._those:
            one.count(stream, stage, event, frames)

    def close(self) -> None:
        """Close all."""
        with ExitStack() as stack:
            for one in self._those:
                stack.callback(one.close)


class Journal:
    """Writes from a thread of its own, so that a slow disk holds up no frame."""

    def __init__(self, path: Path) -> None:
        self.left_out = 0  # events that the disk was too slow for, or did not take
        self._path = path
        self._failure = ""  # the last one of the disk, in its words
        self._size = 0  # bytes of whole lines
        self._lines: deque[tuple[Any, ...]] = deque()
        self._over = threading.Event()
        self._began = {"wall": time.time(), "monotonic": time.monotonic()}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = FileIO(path, "w")
            self._write(self._head())
        except OSError as error:
            raise InputError(f"--ledger {path}: cannot be written: {error.strerror}") from error
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def note(self, frame: Frame, stage: str, event: str, *, captured: bool = False) -> None:
        """Note what happened to a frame at a stage, just now."""
        line = (time.monotonic(), frame.stream, frame.index, stage, event)
        self._add((*line, frame.captured) if captured else line)

    def count(self, stream: str, stage: str, event: str, frames: int) -> None:
        """Note what happened to so many frames that have no index of their own."""
        self._add((time.monotonic(), stream, -1, stage, event, frames))

    def close(self) -> None:
        """Write what waits and close the file. Raises WorkError where the disk did not take all."""
        self._over.set()
        self._thread.join()
        try:
            if self.left_out:
                self._mark()
            self._file.close()
        except OSError as error:
            self._failure = self._failure or str(error.strerror)
        if self._failure:
            raise WorkError(f"--ledger {self._path}: {self.left_out} events are missing: {self._failure}")

    def _add(self, line: tuple[Any, ...]) -> None:
        if len(self._lines) < MOST:
            self._lines.append(line)
        else:
            self.left_out += 1

    def _run(self) -> None:
        while not self._over.wait(EVERY):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        try:
            self._write("".join(f"{json.dumps(line, separators=(',', ':'))}\n" for line in lines))
        except OSError as error:
            self._failure = str(error.strerror)
            self.left_out += len(lines)
            with suppress(OSError):
                self._mark()

    def _write(self, text: str) -> None:
        """Add whole lines, or none."""
        rest = text.encode()
        size = len(rest)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            with suppress(OSError):
                self._file.seek(self._size)
                self._file.truncate()
            raise
        self._size += size

    def _mark(self) -> None:
        """Say in the first line, which takes no more room, what is missing."""
        self._file.seek(0)
        self._file.write(self._head().encode())
        self._file.seek(self._size)

    def _head(self) -> str:
        """Return the first line, as long whatever it says."""
        return f'{json.dumps({**HEAD, **self._began})[:-1]}, "left_out": {self.left_out:>12}}}\n'


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a journal."""

    at: float  # time.monotonic() seconds
    stage: str
    what: str  # in, out, or why it was lost
    captured: float | None = None  # time.monotonic() seconds, where a source gave the frame out


@dataclass(slots=True)
class Story:
    """A journal as it is read back."""

    tallies: dict[tuple[str, str], Tally] = field(default_factory=lambda: defaultdict(Tally))  # stage, stream
    frames: dict[tuple[str, int], list[Event]] = field(default_factory=lambda: defaultdict(list))
    left_out: int = 0

    def streams(self) -> list[str]:
        """Return the names of the streams in it."""
        return list(dict.fromkeys(stream for _, stream in self.tallies))

    def unbalanced(self) -> list[str]:
        """Return one sentence for each stage and stream whose sums do not agree."""
        faults = [
            f"{stage}: {stream}: {tally.in_flight} of {tally.offered} frames unaccounted for"
            for (stage, stream), tally in self.tallies.items()
            if tally.in_flight
        ]
        return [f"ledger: {self.left_out} events are missing"] * bool(self.left_out) + faults


def read(path: Path, *, frame: int | None = None) -> Story:
    """Read a journal; the events of single frames are kept only of number `frame`.

    Raises:
        InputError: it cannot be read, or is no journal.
        WorkError: it is damaged; a last line that was cut off is none.
    """
    story = Story()
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(_whole_lines(path, file)):
                if number:
                    _take(story, line, frame)
                else:
                    story.left_out = _left_out(path, line)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except (ValueError, IndexError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise WorkError(f"{path}: damaged: {error}") from error
    return story


def _whole_lines(path: Path, file: Iterator[str]) -> Iterator[str]:
    is_empty = True
    for line in file:
        is_empty = False
        if line.endswith("\n"):
            yield line
    if is_empty:
        raise InputError(f"{path}: is empty, a file that --ledger wrote would be right")


def _left_out(path: Path, line: str) -> int:
    """Return how many events are missing by the first line of a ledger. InputError where it is of none."""
    try:
        head = json.loads(line)
    except ValueError:
        head = None
    if not isinstance(head, dict) or head.get("ledger") != HEAD["ledger"]:
        raise InputError(f"{path}: is no ledger, a file that --ledger wrote would be right")
    return int(head.get("left_out", 0))


def _take(story: Story, line: str, frame: int | None) -> None:
    at, stream, index, stage, what, *rest = json.loads(line)
    tally, count = story.tallies[stage, stream], rest[0] if index < 0 else 1
    if what == "in":
        tally.offered += count
    elif what == "out":
        tally.out += count
        tally.offered += count if rest else 0  # a source's
    else:
        tally.dropped[what] += count
        if index < 0 and stage.startswith("decode:"):
            tally.offered += count
    if index >= 0 and index == frame:
        story.frames[stream, index].append(Event(at, stage, what, rest[0] if rest else None))

"""Plans: compiled files beside a composed model, each with what it was made from, so none is used wrongly."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from engines.errors import WorkError
from engines.files import locked, write_whole

__all__ = ["LAYOUT", "Plan", "find_plan", "guarded", "keep_plan", "plan_path"]

LAYOUT = "2"  # of these files and of how plans are made; a new number makes all plans anew

Parts = Mapping[str, str]  # all that a plan depends on, by name


@dataclass(frozen=True, slots=True)
class Plan:
    """What is known of a compiled file."""

    parts: Parts
    sha256: str  # of the file
    seconds: float  # that compiling took


def plan_path(folder: Path, parts: Parts) -> Path:
    """Where a plan lies: one for each backend, precision, device and shapes; others replace it."""
    told = hashlib.sha256(f"{parts['device']} {parts['shapes']}".encode()).hexdigest()[:8]
    return folder / f"{parts['backend']}-{parts['precision']}-{told}.plan"


def find_plan(path: Path, parts: Parts) -> tuple[bytes, str]:
    """Return (plan, "") or (nothing, why): the reason is empty where there has never been one."""
    try:
        known = json.loads(_sidecar(path).read_text(encoding="utf-8"))
        plan = path.read_bytes()
        was, digest = dict(known["parts"]), known["sha256"]
    except FileNotFoundError:
        return b"", ""
    except (OSError, ValueError, KeyError, TypeError):
        return b"", f"{path.name} is damaged"
    for name, value in parts.items():
        if was.get(name) != value:
            return (
                b"",
                f"{path.name} is of another {name}: {_short(was.get(name, 'none'))}, not {_short(value)}",
            )
    if hashlib.sha256(plan).hexdigest() != digest:
        return b"", f"{path.name} is damaged"
    return plan, ""


def keep_plan(made: Path, path: Path, parts: Parts, seconds: float) -> bytes:
    """Put a file that was just made in its place, and return it. Raises WorkError where the disk is full."""
    try:
        plan = made.read_bytes()
        known = Plan(parts, hashlib.sha256(plan).hexdigest(), round(seconds, 3))
        made.replace(path)
        write_whole(_sidecar(path), json.dumps(asdict(known), indent=1).encode())
    except OSError as error:
        raise WorkError(f"{path}: {error.strerror}, the plan is not kept") from error
    return plan


@contextmanager
def guarded(
    folder: Path, suffix: str, tell: Callable[[str], object], waiting: Callable[[], object]
) -> Iterator[None]:
    """Let a library keep compiled files of its own in a folder and those in it, one process at a time.

    Those that are not as they were written are removed before: OpenVINO would compute with a damaged blob. It
    removes and writes again by itself what it cannot load, so only what it did not touch keeps its record.
    """
    sums = folder / "compiled.json"
    with locked(folder, waiting):
        known = {}
        with suppress(OSError, ValueError):
            known = dict(json.loads(sums.read_text(encoding="utf-8")))
        untouched = {}
        for name, path in _kept(folder, suffix):
            if known.get(name) == _digest(path):
                untouched[_stamp(path)] = known[name]
            else:
                tell(f"compiled again: {path.name} is {'damaged' if name in known else 'not whole'}")
                path.unlink()
        yield
        now = {name: untouched.get(_stamp(path)) or _digest(path) for name, path in _kept(folder, suffix)}
        if now != known:
            with suppress(OSError):
                write_whole(sums, json.dumps(now).encode())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _kept(folder: Path, suffix: str) -> list[tuple[str, Path]]:
    """Files of this suffix by their path from the folder."""
    return [(str(path.relative_to(folder)), path) for path in folder.rglob(f"*{suffix}")]


def _stamp(path: Path) -> tuple[str, int, int, int]:
    """What changes when a file is written."""
    seen = path.stat()
    return path.name, seen.st_ino, seen.st_size, seen.st_mtime_ns


def _sidecar(path: Path) -> Path:
    return path.with_suffix(".json")


def _short(value: str) -> str:
    return value if len(value) <= 40 else f"{value[:12]}..."

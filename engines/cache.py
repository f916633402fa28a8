"""Cache: composed models on disk, found by their content, so that what is stale or foreign is never found."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from engines import metadata
from engines.errors import InputError, WorkError
from engines.files import locked
from engines.options import Options
from engines.spec import ModelSpec

if TYPE_CHECKING:
    from engines.locate import Located

__all__ = ["LIMIT", "Entry", "Kept", "clear", "contents", "downloads", "entry", "folder"]

LIMIT = 1 << 30  # bytes; of more, the longest unused entries go
_SAFE = 3600.0  # seconds since its last use in which an entry never goes: another process may be loading it
_FRESH = "new-"  # before the names of entries that are being written
_APART = {"backends", "bench.py", "cli.py", "console.py", "plans.py"}  # code that no composition depends on


@dataclass(frozen=True, slots=True)
class Entry:
    """One composed model, its spec, what backends compiled of it, and what was found out about it."""

    path: Path

    @property
    def model(self) -> Path:
        """The composed model: an ONNX file, or an OpenVINO IR."""
        ir = self.path / "model.xml"
        return ir if ir.exists() else self.path / "model.onnx"

    def spec(self) -> ModelSpec | None:
        """The model's spec, or None where the entry has not been stored, is damaged, or another user's."""
        try:
            spec = metadata.from_json((self.path / "spec.json").read_text(encoding="utf-8"))
            os.utime(self.path)
        except (OSError, ValueError, TypeError, AttributeError):
            return None
        return spec

    def drop_if_damaged(self) -> bool:
        """Remove the entry where a file of it is not as it was stored; True where that was done."""
        try:
            stored = json.loads((self.path / "stored.json").read_text(encoding="utf-8"))
            whole = all(_digest((self.path / name).read_bytes()) == digest for name, digest in stored.items())
            whole = whole and not (self.path / "lock").is_dir()
        except (OSError, ValueError, AttributeError):
            whole = not self.path.exists()
        if not whole:
            shutil.rmtree(self.path, ignore_errors=True)
        return not whole

    def store(self, composed: Mapping[str, bytes], spec: ModelSpec) -> None:
        """Make the entry of these files by name, whole or not at all; WorkError where the disk is full."""
        files = dict(composed) | {"spec.json": metadata.to_json(spec).encode()}
        files["stored.json"] = json.dumps({name: _digest(data) for name, data in files.items()}).encode()
        fresh: Path | None = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)  # it may have been removed meanwhile
            fresh = Path(tempfile.mkdtemp(prefix=_FRESH, dir=self.path.parent))
            for name, content in files.items():
                (fresh / name).write_bytes(content)
        except OSError as error:
            if fresh:
                shutil.rmtree(fresh, ignore_errors=True)
            raise WorkError(
                f"{self.path.parent}: {error.strerror}, the composed model is not kept"
            ) from error
        try:
            fresh.rename(self.path)
        except OSError:  # another process was first, with the same content
            shutil.rmtree(fresh)
        _prune(self.path.parent)

    def remember(self, question: str, answer: str) -> None:
        """Keep what was measured of this model, by the exact question."""
        with suppress(OSError):
            _note(self.path, question).write_text(json.dumps([question, answer]), encoding="utf-8")

    def recall(self, question: str) -> str | None:
        """What was kept for this question, or None."""
        with suppress(OSError, ValueError):
            asked, answer = json.loads(_note(self.path, question).read_text(encoding="utf-8"))
            if asked == question:
                return str(answer)
        return None


def folder() -> Path:
    """Where the cache lives: $XDG_CACHE_HOME/streamer/engines, by default ~/.cache/streamer/engines.

    For a user who has no home, as in some containers, it lasts as long as the process.
    """
    home = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(home) if home else Path.home() / ".cache") / "streamer" / "engines"
    except RuntimeError:
        return _own_root() / "streamer" / "engines"


def downloads() -> Path:
    """Where public models are downloaded to, a folder for each: .../streamer/models."""
    return folder().with_name("models")


@dataclass(frozen=True, slots=True)
class Kept:
    """One entry, for people."""

    path: Path
    model: str  # its name
    compiled: tuple[str, ...]  # by which backends
    size: int  # bytes
    used: float  # when last, seconds since 1970


def contents() -> list[Kept]:
    """Return what is in the cache, the last used first."""
    found = []
    for path in folder().glob("*/spec.json"):
        with suppress(OSError, ValueError, KeyError, TypeError):  # it is gone meanwhile, damaged or foreign
            found.append(_kept(path.parent))
    return sorted(found, key=lambda kept: kept.used, reverse=True)


def clear() -> int:
    """Remove all but what another process is compiling into; returns the bytes that are free again.

    What belongs to another user stays. Raises InputError where the folder cannot be read.
    """
    freed = 0
    try:
        paths = list(folder().iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except OSError as error:
        raise InputError(f"{folder()}: {error.strerror}, a folder that can be read is needed") from error
    for path in paths:
        with suppress(OSError):  # it is busy, gone by itself, or another's
            if path.name.startswith(_FRESH) and _age(path) < _SAFE:
                continue
            size = _size(path)
            with locked(path, _busy) if _lockable(path) else nullcontext():
                _remove(path)
            freed += size - (_size(path) if path.exists() else 0)
    return freed


def entry(located: Located, options: Options, graph: str = "") -> Entry:
    """Return the place of a model made of these files, as they were read, with these options, by this code.

    ``graph`` tells the graphs of one model apart.
    """
    seen = hashlib.sha256(_code().encode())
    for path, file in located.files.items():
        seen.update(path.name.encode() + bytes.fromhex(file.sha256))
    seen.update(
        repr((options.batch, options.candidates, options.labels, options.video)).encode() + graph.encode()
    )
    name = seen.hexdigest()[:32]
    path = _root() / name
    return Entry(path if _usable(path) else _own_root() / name)


def _kept(path: Path) -> Kept:
    name = json.loads((path / "spec.json").read_text(encoding="utf-8"))["name"]
    compiled = {plan.name.rpartition("-")[0].replace("-", " ") for plan in path.glob("*.plan")}
    compiled |= {"openvino" for _ in path.rglob("*.blob")}
    return Kept(path, name, tuple(sorted(compiled)), _size(path), path.stat().st_mtime)


def _busy() -> None:
    raise BlockingIOError


def _lockable(path: Path) -> bool:
    """Whether that is an entry with a lock, or room for one."""
    return path.is_dir() and not (path / "lock").is_dir()


def _usable(path: Path) -> bool:
    """Whether this user may read an entry, lock it and add to it, or make it."""
    if not path.exists():
        return True
    lock = path / "lock"  # another user's where that one compiled first what this one composed
    return os.access(path, os.R_OK | os.W_OK | os.X_OK) and (not lock.exists() or os.access(lock, os.W_OK))


def _root() -> Path:
    """The cache's folder, or one for this process alone where that cannot be written."""
    root = folder()
    try:
        root.mkdir(parents=True, exist_ok=True)
        if os.access(root, os.W_OK):
            return root
    except OSError:
        pass
    return _own_root()


@cache
def _own_root() -> Path:
    root = Path(tempfile.mkdtemp(prefix="streamer-engines-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root


@cache
def _code() -> str:
    """A digest of the source that composes and proves: a composition of other code is another one."""
    seen, package = hashlib.sha256(), Path(__file__).parent
    for source in sorted(package.rglob("*.py")):
        if source.relative_to(package).parts[0] not in _APART:
            seen.update(source.read_bytes())
    return seen.hexdigest()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _note(path: Path, question: str) -> Path:
    return path / f"{hashlib.sha256(question.encode()).hexdigest()[:16]}.json"


def _prune(root: Path) -> None:
    """Let the longest unused go, until the rest is within the limit."""
    total = 0
    with suppress(OSError):
        for path in sorted(root.iterdir(), key=_age):
            total += _size(path)
            if total > LIMIT and _age(path) > _SAFE:
                total -= _size(path)
                _remove(path)


def _age(path: Path) -> float:
    """Seconds since its last use; what seems yet to come, as the clock was put back, is as far from now."""
    return abs(time.time() - path.stat().st_mtime)


def _size(path: Path) -> int:
    """Bytes of a file, or of all in a folder."""
    inside = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in inside if file.is_file())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)

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
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from engines import metadata
from engines.options import Options
from engines.spec import ModelSpec

__all__ = ["Entry", "downloads", "entry", "folder"]

_KEPT = 32  # entries; of more, the longest unused go
_SAFE = 3600.0  # seconds since its last use in which an entry never goes: another process may be loading it


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
        """The model's spec, or None where the entry has not been stored."""
        try:
            text = (self.path / "spec.json").read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        os.utime(self.path)
        return metadata.from_json(text)

    def store(self, composed: Mapping[str, bytes], spec: ModelSpec) -> None:
        """Make the entry of these files by name, whole or not at all."""
        fresh = Path(tempfile.mkdtemp(prefix="new-", dir=self.path.parent))
        for name, content in composed.items():
            (fresh / name).write_bytes(content)
        (fresh / "spec.json").write_text(metadata.to_json(spec), encoding="utf-8")
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
    """Where the cache lives: $XDG_CACHE_HOME/streamer/engines, by default ~/.cache/streamer/engines."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "streamer" / "engines"


def downloads() -> Path:
    """Where public models are downloaded to, a folder for each: .../streamer/models."""
    return folder().with_name("models")


def entry(sources: list[Path], options: Options) -> Entry:
    """Return the place of a model made of these files with these options, by this code."""
    seen = hashlib.sha256(_code().encode())
    for source in sources:
        seen.update(source.name.encode() + hashlib.sha256(source.read_bytes()).digest())
    seen.update(repr((options.batch, options.candidates, options.labels)).encode())
    return Entry(_root() / seen.hexdigest()[:32])


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
    """A digest of this package's own source: a composition of other code is another one."""
    seen = hashlib.sha256()
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        seen.update(source.read_bytes())
    return seen.hexdigest()


def _note(path: Path, question: str) -> Path:
    return path / f"{hashlib.sha256(question.encode()).hexdigest()[:16]}.json"


def _prune(root: Path) -> None:
    with suppress(OSError):
        entries = sorted(root.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in entries[_KEPT:]:
            if time.time() - old.stat().st_mtime > _SAFE:
                shutil.rmtree(old, ignore_errors=True)

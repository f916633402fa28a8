"""Files that a run leaves: each whole or not at all, and one sentence when the disk does not take it."""

from __future__ import annotations

from pathlib import Path

from engines.errors import WorkError
from engines.files import write_whole

__all__ = ["write"]


def write(path: Path, data: bytes) -> None:
    """Write a file and the folders above it; WorkError if that fails, and what was there is still there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
    except OSError as error:
        kept = "; the file before it is kept" if path.is_file() else ""
        raise WorkError(f"{path}: cannot be written: {error.strerror}{kept}") from error

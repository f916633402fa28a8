"""Files: written whole or not at all, made by one process at a time, and refused before the work for them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from engines.errors import InputError
from engines.lock import lock, try_lock

__all__ = ["check_place", "draft_of", "keep_inputs", "locked", "write_whole"]


def check_place(path: Path, where: str, inputs: Iterable[Path] = ()) -> None:
    """Raise InputError, before long work, where ``path`` cannot be written or is one of the ``inputs``.

    ``where`` names the wish.
    """
    folder = path.parent
    if os.path.isdir(path):
        wrong = "a folder"
    elif not os.path.isdir(folder):
        wrong = f"{folder} is a file" if os.path.exists(folder) else f"no folder {folder}"
    elif not os.access(path if os.path.exists(path) else folder, os.W_OK):
        wrong = "Permission denied"
    else:
        keep_inputs(path, where, inputs)
        return
    raise InputError(f"{where}: {path}: {wrong}, a file that can be written is right")


def keep_inputs(path: Path, where: str, inputs: Iterable[Path]) -> None:
    """Raise InputError where ``path`` is one of the files that are read, by this name or another."""
    if path.exists() and any(one.exists() and path.samefile(one) for one in inputs):
        raise InputError(f"{where}: {path}: is an input itself, another place is right")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that nobody ever reads half of it. Raises OSError, and then leaves what was there."""
    draft = draft_of(path)
    try:
        draft.write_bytes(data)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def draft_of(path: Path) -> Path:
    """Return where this process writes a file before it takes its place: beside it, by a name of its own."""
    return path.with_name(f".{path.name}.{os.getpid()}")


@contextlib.contextmanager
def locked(folder: Path, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Hold a folder's lock, against other processes and threads; ``waiting`` is called once if it is taken.

    The system lets go of it when a process ends, in whatever way.
    """
    with (folder / "lock").open("wb") as file:
        if not try_lock(file.fileno()):
            waiting()
            lock(file.fileno())
        yield

"""Pull: the files of public models, downloaded whole or not at all, and known by their sha256 ever after.

A download that was cut goes on where it ended. The digest is the card's; where the card has none, it
is that of the first download, recorded beside the file.
"""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

from engines.cache import downloads
from engines.cards import Origin, origin_of
from engines.errors import WorkError
from engines.locate import card_named

__all__ = ["pull"]

Progress = Callable[[int, int], object]  # bytes so far, bytes in all (0 = unknown)

_TIMEOUT = 30.0  # seconds without a byte
_CHUNK = 1 << 18


def pull(name: str, progress: Progress = lambda done, total: None) -> Path:
    """Download the model of a card in configs/models; returns its path in the cache.

    What is there already is checked and kept. Raises InputError for an unknown name and WorkError where the
    file cannot be had, is cut short, or is another than the card means.
    """
    card = card_named(name)
    origin = origin_of(card)
    folder = downloads() / card.stem
    folder.mkdir(parents=True, exist_ok=True)
    if origin.file.endswith(".xml"):
        weights = origin.file.removesuffix(".xml") + ".bin"
        _have(folder / weights, origin.url.removesuffix(".xml") + ".bin", origin, progress)
    return _have(folder / origin.file, origin.url, origin, progress)


def _have(path: Path, url: str, origin: Origin, progress: Progress) -> Path:
    record = path.with_name(path.name + ".sha256")
    recorded = record.read_text().strip() if record.is_file() else ""
    wanted = origin.digests.get(path.name, recorded)
    if path.is_file() and wanted and _digest(path) == wanted:
        return path
    part = path.with_name(path.name + ".part")
    _download(url, part, progress)
    seen = _digest(part)
    if wanted and seen != wanted:
        part.unlink()
        raise WorkError(f"{url}: sha256: {seen}, {wanted} is right; the file has changed, it is not used")
    record.write_text(seen + "\n")
    os.replace(part, path)
    return path


def _download(url: str, part: Path, progress: Progress) -> None:
    """Fetch what is missing of a file. Raises WorkError; what has come stays."""
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            going_on = answer.status == 206
            length = int(answer.headers.get("Content-Length") or 0)
            total = length + have if going_on and length else length
            _write(answer, part, have if going_on else 0, total, progress)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is missing, or the file has become shorter
            return
        raise WorkError(f"{url}: HTTP {error.code} {error.reason}") from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise WorkError(f"{url}: {reason}; run it again to go on where it ended") from error


def _write(answer: Any, part: Path, have: int, total: int, progress: Progress) -> None:
    with part.open("r+b" if have else "wb") as file:
        file.seek(have)
        file.truncate()
        done = have
        progress(done, total)
        while chunk := answer.read(_CHUNK):
            file.write(chunk)
            done += len(chunk)
            progress(done, total)
    if total and done < total:
        raise ConnectionError(f"cut after {done} of {total} bytes")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Pull: the files of public models, downloaded whole or not at all, and known by their sha256 ever after.

A download that was cut goes on where it ended, if the server says that the file is still the same or the
card's digest will. Where the card has no digest, it is that of the first download that could be read as what
its name says, recorded beside the file.
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
from engines.files import locked
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
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder, lambda: progress(0, 0)):  # two at once would write into one part
            if origin.file.endswith(".xml"):
                weights = origin.file.removesuffix(".xml") + ".bin"
                _have(folder / weights, origin.url.removesuffix(".xml") + ".bin", origin, progress)
            return _have(folder / origin.file, origin.url, origin, progress)
    except OSError as error:
        raise WorkError(f"{folder}: {error.strerror or error}, the model is not kept") from error


def _have(path: Path, url: str, origin: Origin, progress: Progress) -> Path:
    record = path.with_name(path.name + ".sha256")
    recorded = record.read_text().strip() if record.is_file() else ""
    wanted = origin.digests.get(path.name, recorded)
    if path.is_file() and wanted and _digest(path) == wanted:
        return path
    part = path.with_name(path.name + ".part")
    _download(url, part, progress, is_known=bool(wanted))
    seen = _digest(part)
    if wanted and seen != wanted:
        _forget(part)
        raise WorkError(f"{url}: sha256: {seen}, {wanted} is right; the file has changed, it is not used")
    if not wanted and (fault := _fault(part, path.suffix)):
        size = part.stat().st_size
        _forget(part)
        raise WorkError(f"{url}: {fault} came, {size} bytes, a whole {path.suffix} file is right; not used")
    _forget(_tag(part))
    record.write_text(seen + "\n")
    os.replace(part, path)
    return path


def _download(url: str, part: Path, progress: Progress, *, is_known: bool) -> None:
    """Fetch what is missing of a file, or all of it where it may be another by now; what has come stays.

    ``is_known``: its digest will tell. Raises WorkError.
    """
    tag = _tag(part)
    same = tag.read_text() if tag.is_file() else ""
    have = part.stat().st_size if part.is_file() and (same or is_known) else 0
    asked = {"Range": f"bytes={have}-"} if have else {}
    request = urllib.request.Request(url, headers=asked | ({"If-Range": same} if have and same else {}))
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            seen = _validator(answer.headers)
            going_on = bool(have) and answer.status == 206
            if not going_on or seen == same or is_known:
                tag.write_text(seen)
                length = int(answer.headers.get("Content-Length") or 0)
                total = length + have if going_on and length else length
                _write(answer, part, have if going_on else 0, total, progress)
                return
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise WorkError(f"{url}: HTTP {error.code} {error.reason}") from error
        if is_known and not same:  # nothing is missing, or the file has become shorter: the digest tells
            return
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise WorkError(f"{url}: {reason}; run it again to go on where it ended") from error
    _forget(part)
    _download(url, part, progress, is_known=is_known)


def _validator(headers: Any) -> str:
    """Return by what the server knows this version of the file again; "" where it does not say."""
    strong = str(headers.get("ETag") or "")
    return strong if strong and not strong.startswith("W/") else str(headers.get("Last-Modified") or "")


def _tag(part: Path) -> Path:
    return part.with_name(part.name + ".tag")


def _forget(part: Path) -> None:
    for path in (part, _tag(part)):
        path.unlink(missing_ok=True)


def _fault(path: Path, suffix: str) -> str:
    """Return what a file is instead of a whole one of this kind, "" where it is one."""
    with path.open("rb") as file:
        start = file.read(64).lstrip().lower()
    if not start:
        return "an empty file"
    if start.startswith((b"<!doctype", b"<html")):
        return "a web page"
    is_whole = {".onnx": _is_network, ".xml": _is_ir}.get(suffix)
    return "no network, or part of one," if is_whole and not is_whole(path) else ""


def _is_network(path: Path) -> bool:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except DecodeError:
        return False
    return bool(graph.node and graph.output)


def _is_ir(path: Path) -> bool:
    from xml.etree import ElementTree

    try:
        return ElementTree.parse(path).getroot().tag == "net"
    except ElementTree.ParseError:
        return False


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

"""Where a model lies: a path, a card, or the name of one that is shipped."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engines.errors import InputError, WorkError, nearest
from engines.external import files_beside
from engines.shipped import file_of, names

__all__ = ["Located", "card_named", "locate"]

_CARDS = Path(__file__).parent / "known"  # in a checkout a link to configs/models
_KEY, _BETWEEN = ".key.onnx", ".between.onnx"  # how the two files of a model for video end
# what only a training file has at its top: `trainers export` leaves a model beside it under the same name
_TRAINING = re.compile(
    r"^(?:(?:seed|val_every|data|augment|optim|loss|start|teacher)\s*:|model\s*:\s*(?:[{#]|$))", re.MULTILINE
)
_SUFFIXES = (".onnx", ".yaml", ".yml", ".xml")


@dataclass(frozen=True, slots=True)
class Located:
    """The files that make one model."""

    model: Path  # .onnx, or .xml of an OpenVINO IR
    card: Path | None  # .yaml that describes it, beside it or given itself
    between: Path | None  # of a model for video, the file for frames between key frames
    files: Mapping[Path, File]  # all whose content matters, as they were read

    @property
    def sources(self) -> list[Path]:
        """The paths of all files whose content matters."""
        return list(self.files)

    def check_same(self) -> None:
        """Raise WorkError where a file is another than was read: parts of both would go for the first."""
        for path, file in self.files.items():
            if not path.exists() or file.stamp != _stamp(path):
                raise WorkError(f"model: {path}: it was changed while it was read, start again")


@dataclass(frozen=True, slots=True)
class File:
    """A file's content, as it was once."""

    sha256: str
    stamp: tuple[int, ...]  # what changes when it is written or replaced


def locate(model: str | Path) -> Located:
    """Find a model by path (.onnx, .xml or a .yaml card), shipped name, or name of a card.

    Raises InputError for what is not there, or cannot be read by this user.
    """
    if not isinstance(model, str | Path) or not str(model):
        raise InputError(
            f"model: {model!r}, the path of an .onnx or .xml file or a .yaml card, or a name, is needed"
        )
    try:
        return _located(model)
    except OSError as error:
        raise InputError(
            f"model: {error.filename or model}: {error.strerror}, a file that can be read is needed"
        ) from error


def _located(model: str | Path) -> Located:
    path = Path(model)
    if str(model) in names():
        return _beside(file_of(str(model)))
    if path.suffix.lower() not in _SUFFIXES and not path.exists() and len(path.parts) == 1:
        cards = {card.stem: card for card in _CARDS.glob("*.yaml")}
        if str(model) not in cards:
            known = [*names(), *sorted(cards)]
            raise InputError(
                f"model: {str(model)!r}: no model of this name{nearest(str(model), known)}; known: "
                f"{', '.join(known) or 'none'}; a path ends in .onnx, .xml or .yaml"
            )
        path = cards[str(model)]
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise InputError(
            f"model: {path}: {what}, the path of an .onnx or .xml file or a .yaml card is needed"
        )
    if path.suffix.lower() in (".yaml", ".yml"):
        from engines.cards import between_of, model_of

        if not _describes(path):
            raise InputError(
                f"model: {path}: a training file, the .onnx file that `trainers export` writes is needed"
            )
        found = model_of(path)
        return _whole(found, path, between_of(path) or _between(found), _read(found))
    return _beside(path)


def card_named(name: str) -> Path:
    """Return the card of this name in configs/models. Raises InputError."""
    path = _CARDS / f"{name}.yaml"
    if not path.is_file():
        known = sorted(card.stem for card in _CARDS.glob("*.yaml"))
        raise InputError(
            f"model: {name!r}: no card of this name{nearest(name, known)}; known: "
            f"{', '.join(known) or 'none'}"
        )
    return path


def _beside(path: Path) -> Located:
    """A card beside the file comes before one that knows the file by its content."""
    if path.name.endswith(_BETWEEN):
        key = path.with_name(path.name.removesuffix(_BETWEEN) + _KEY)
        raise InputError(f"model: {path}: it is for frames between key frames, {key.name} is to be given")
    read = _read(path)
    cards = [path.with_suffix(suffix) for suffix in (".yaml", ".yml")]
    card = next((card for card in cards if _describes(card)), None) or _by_content(read[path])
    named = None
    if card is not None:
        from engines.cards import between_of

        named = between_of(card)
    return _whole(path, card, named or _between(path), read)


def _whole(model: Path, card: Path | None, between: Path | None, read: dict[Path, File]) -> Located:
    """A model of whose files the first graph is read, and the rest is now."""
    files = read | (_read(between) if between else {}) | ({card: _file(card)} if card else {})
    return Located(model, card, between, files)


def _read(graph: Path) -> dict[Path, File]:
    """A graph's file and those that hold its weights, as far as they are there; each is read once."""
    if graph.suffix.lower() == ".xml":
        weights = graph.with_suffix(".bin")
        return {path: _file(path) for path in (graph, weights) if path.exists()}
    stamp, data = _stamp(graph), graph.read_bytes()
    found = {graph: File(hashlib.sha256(data).hexdigest(), stamp)}
    return found | {path: _file(path) for path in files_beside(graph, data)}


def _file(path: Path) -> File:
    stamp = _stamp(path)
    with path.open("rb") as opened:
        return File(hashlib.file_digest(opened, "sha256").hexdigest(), stamp)


def _stamp(path: Path) -> tuple[int, ...]:
    seen = path.stat()
    return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns


def _describes(path: Path) -> bool:
    """Tell whether a file is there and is a card; only its text is looked at, so it may still be wrong."""
    return path.is_file() and not _TRAINING.search(path.read_text(encoding="utf-8", errors="replace"))


def _between(key: Path) -> Path | None:
    """The file for frames between key frames, by the names that `trainers export` gives the two."""
    path = key.with_name(key.name.removesuffix(_KEY) + _BETWEEN)
    return path if key.name.endswith(_KEY) and path.is_file() else None


def _by_content(file: File) -> Path | None:
    from engines.cards import digest_of

    return {digest_of(card): card for card in sorted(_CARDS.glob("*.yaml"))}.get(file.sha256)

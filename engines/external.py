"""Weights that lie outside of their ONNX file, in files beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from engines.errors import InputError

__all__ = ["files_beside", "load_weights"]

_RECORD = b"\x0a\x08location\x12"  # before the length of a file's name and the name, as protobuf writes them
_DEFAULT, _EXTERNAL = 0, 1  # onnx.TensorProto.DataLocation


def load_weights(model: Any, path: Path) -> None:
    """Put the weights that files beside ``path`` hold into an onnx.ModelProto.

    Raises InputError for a file that is missing, short or elsewhere than in the model's folder.
    """
    for tensor in _outside(model.graph):
        told = {entry.key: entry.value for entry in tensor.external_data}
        file = _file(told.get("location", ""), path)
        start, length = int(told.get("offset", 0)), int(told.get("length", -1))
        with file.open("rb") as opened:
            opened.seek(start)
            tensor.raw_data = opened.read(length)
        if len(tensor.raw_data) < length:
            ends = start + len(tensor.raw_data)
            raise InputError(
                f"{path}: weights: {file.name!r} ends at byte {ends} of {start + length}, copy it again"
            )
        del tensor.external_data[:]
        tensor.data_location = _DEFAULT


def files_beside(path: Path, data: bytes) -> list[Path]:
    """Return the files that hold weights of an ONNX file of this content, those that are there.

    The content is not read as a graph, only looked through.
    """
    names = {
        data[end + 1 : end + 1 + data[end]].decode(errors="replace")
        for end in (found.end() for found in re.finditer(re.escape(_RECORD), data))
        if end < len(data)
    }
    found = []
    for name in sorted(names):
        with suppress(InputError):  # it is told where the model is read
            found.append(_file(name, path))
    return found


def _file(name: str, path: Path) -> Path:
    """The file of this name beside the model, or beside what the model's name is a link to."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or ".." in parts or Path(name).is_absolute() or PurePosixPath(name).is_absolute():
        raise InputError(f"{path}: weights: in {name!r}, only files in the model's own folder are read")
    for folder in (path.parent, path.resolve().parent):
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{path}: weights: {name!r} is missing beside the file, copy it there")


def _outside(graph: Any) -> Iterator[Any]:
    """Every tensor of a graph, those in its nodes included, whose data lie elsewhere."""
    stored = [*graph.initializer]
    for node in graph.node:
        for attribute in node.attribute:
            stored += [attribute.t, *attribute.tensors]
            for inner in (attribute.g, *attribute.graphs):
                yield from _outside(inner)
    yield from (tensor for tensor in stored if tensor.data_location == _EXTERNAL)

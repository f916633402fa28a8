"""The model's own words: what an ONNX file says of itself in its metadata, in our key and in Ultralytics'.

Ours is one entry, ``streamer``: a JSON object of `ModelSpec`'s fields. `write` adds Ultralytics' keys (names,
stride, task, imgsz, kpt_shape; values as Python literals), which many tools read.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from engines.errors import InputError
from engines.facts import Facts, checked, keypoints_for
from engines.spec import ModelSpec

__all__ = ["KEY", "from_json", "read", "to_json", "write"]

KEY = "streamer"
_NOT_TOLD = ("notes", "reasons")  # fields that a file does not say of itself
_MOST_CLASSES = 100_000  # what a wrong key of a name would otherwise fill with numbers


def write(model: Any, spec: ModelSpec, stride: int = 32) -> None:
    """Put ``spec`` into an onnx.ModelProto, in place; what it said before under these keys is replaced."""
    width, height = spec.size
    values = {
        KEY: to_json(replace(spec, notes=(), reasons=())),
        "names": repr(dict(enumerate(spec.classes))),
        "task": spec.task,
        "stride": str(stride),
        "imgsz": repr([height, width]),
    }
    if spec.keypoints:
        values["kpt_shape"] = repr([len(spec.keypoints), 3])
    kept = {entry.key: entry.value for entry in model.metadata_props if entry.key not in values}
    del model.metadata_props[:]
    for key, value in (kept | values).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value


def read(metadata: Mapping[str, str], where: str, told: Collection[str] = ()) -> Facts:
    """Return what the metadata of a file says; nothing where it is of neither kind.

    Facts that are ``told`` already are not looked for: a card stands above a damaged entry. Raises InputError
    for other damaged entries, and for what Ultralytics' keys say that cannot be run.
    """
    if KEY in metadata:
        return _ours(metadata[KEY], where, told)
    if "names" in metadata and "task" in metadata:
        return _ultralytics(metadata, where, told)
    if "names" in metadata and "stride" in metadata and "classes" not in told:  # YOLOv5 and v7 of their own
        return Facts("metadata of the file (YOLO)", {"classes": _names(metadata["names"], where)})
    return Facts("metadata")


def to_json(spec: ModelSpec) -> str:
    """Write a spec as one JSON object of its fields."""
    return json.dumps(asdict(spec))


def from_json(text: str) -> ModelSpec:
    """Read what `to_json` wrote."""
    known = {field.name for field in fields(ModelSpec)}
    return ModelSpec(**{key: _frozen(value) for key, value in json.loads(text).items() if key in known})


def _ours(text: str, where: str, told: Collection[str]) -> Facts:
    at = f"{where}: metadata {KEY!r}"
    try:
        values = json.loads(text)
    except ValueError as error:
        if "layout" in told:
            return Facts("metadata")
        raise InputError(f"{at}: not JSON: {error}") from error
    if not isinstance(values, dict):
        if "layout" in told:
            return Facts("metadata")
        raise InputError(f"{at}: {_short(text)}, an object of facts such as {{'task': 'detect'}} is right")
    left = {key: value for key, value in values.items() if key not in told and key not in _NOT_TOLD}
    return Facts("metadata of the file", {key: checked(key, value, at) for key, value in left.items()})


def _ultralytics(metadata: Mapping[str, str], where: str, told: Collection[str]) -> Facts:
    readers: dict[str, tuple[str, Callable[[str, str], Any]]] = {  # fact -> key, how it is read
        "task": ("task", _task),
        "classes": ("names", _names),
        "size": ("imgsz", _size),
    }
    values = {
        fact: understand(metadata[key], where)
        for fact, (key, understand) in readers.items()
        if fact not in told and key in metadata
    }
    if "layout" not in told:
        values |= _layout(metadata, where)
    if values.get("task", metadata["task"]) == "pose" and "keypoints" not in told:
        values |= keypoints_for(_joints(metadata.get("kpt_shape", "[17, 3]"), where))
    return Facts("metadata of the file (Ultralytics)", values)


def _task(text: str, where: str) -> str:
    if text not in ("detect", "segment", "pose", "classify"):
        raise InputError(f"{where}: task: {text!r}, one of detect, segment, pose, classify is right")
    return text


def _names(text: str, where: str) -> tuple[str, ...]:
    """Class names in the order of their numbers; a number without a name is called by it."""
    names = _literal(text)
    wrong = InputError(
        f"{where}: metadata 'names': {_short(text)}, names by number as {{0: 'person', 1: 'car'}} or a list "
        "of names is right, or a card that says classes"
    )
    if isinstance(names, (list, tuple)):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise wrong
    try:
        numbered = {int(str(key)): name for key, name in names.items()}
    except ValueError as error:
        raise wrong from error
    if not all(isinstance(name, (str, int)) and not isinstance(name, bool) for name in numbered.values()):
        raise wrong
    if min(numbered) < 0 or max(numbered) >= _MOST_CLASSES or len(numbered) < len(names):
        raise wrong
    return tuple(str(numbered.get(number, f"class_{number}")) for number in range(max(numbered) + 1))


def _size(text: str, where: str) -> tuple[int, int]:
    """Width and height; one number stands for both."""
    size = _literal(text)
    sides = list(size) if isinstance(size, (list, tuple)) else [size]
    if len(sides) not in (1, 2) or not all(_positive(side) for side in sides):
        raise InputError(
            f"{where}: metadata 'imgsz': {_short(text)}, [height, width] in pixels is right, or a card that "
            "says size"
        )
    return sides[-1], sides[0]


def _joints(text: str, where: str) -> int:
    shape = _literal(text)
    if not isinstance(shape, (list, tuple)) or len(shape) != 2 or not all(map(_positive, shape)):
        raise InputError(
            f"{where}: metadata 'kpt_shape': {_short(text)}, [keypoints, values of each] is right, or a card "
            "that says keypoints"
        )
    return int(shape[0])


def _layout(metadata: Mapping[str, str], where: str) -> dict[str, Any]:
    """The layouts that only metadata tells: rows that need no suppression, of two kinds."""
    given = _literal(metadata.get("args", "{}"))
    if not isinstance(given, dict):
        raise InputError(
            f"{where}: metadata 'args': {_short(metadata['args'])}, a dict such as {{'nms': True}} is right, "
            "or a card that says layout"
        )
    if metadata.get("head") == "RTDETRDecoder":
        return {"layout": "ultralytics-rtdetr"}
    if given.get("nms") or _literal(metadata.get("end2end", "")) is True:
        return {"layout": "ultralytics-end2end"}
    return {}


def _positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _literal(text: str) -> Any:
    """A value in JSON's form or in Python's; what is neither stays text."""
    for read_value in (json.loads, ast.literal_eval):
        try:
            return read_value(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    return text


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value

"""The model's own words: what an ONNX file says of itself in its metadata, in our key and in Ultralytics'.

Ours is one entry, ``streamer``: a JSON object of `ModelSpec`'s fields. `write` adds Ultralytics' keys (names,
stride, task, imgsz, kpt_shape; values as Python literals), which many tools read.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from engines.errors import InputError
from engines.facts import Facts, checked, keypoints_for
from engines.spec import ModelSpec

__all__ = ["KEY", "from_json", "read", "to_json", "write"]

KEY = "streamer"


def write(model: Any, spec: ModelSpec, stride: int = 32) -> None:
    """Put ``spec`` into an onnx.ModelProto, in place; what it said before under these keys is replaced."""
    width, height = spec.size
    values = {
        KEY: to_json(replace(spec, reasons=())),
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


def read(metadata: Mapping[str, str], where: str) -> Facts:
    """Return what the metadata of a file says; nothing where it is of neither kind.

    Raises InputError for a damaged entry, and for what Ultralytics' keys say that cannot be run.
    """
    if KEY in metadata:
        return _ours(metadata[KEY], where)
    if "names" in metadata and "task" in metadata:
        return _ultralytics(metadata, where)
    if "names" in metadata and "stride" in metadata:  # YOLOv5 and v7 of their own repositories
        return Facts("metadata of the file (YOLO)", {"classes": _names(metadata["names"])})
    return Facts("metadata")


def to_json(spec: ModelSpec) -> str:
    """Write a spec as one JSON object of its fields."""
    return json.dumps(asdict(spec))


def from_json(text: str) -> ModelSpec:
    """Read what `to_json` wrote."""
    known = {field.name for field in fields(ModelSpec)}
    return ModelSpec(**{key: _frozen(value) for key, value in json.loads(text).items() if key in known})


def _ours(text: str, where: str) -> Facts:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise InputError(f"{where}: metadata {KEY!r}: not JSON: {error}") from error
    at = f"{where}: metadata {KEY!r}"
    return Facts("metadata of the file", {k: checked(k, v, at) for k, v in values.items() if k != "reasons"})


def _ultralytics(metadata: Mapping[str, str], where: str) -> Facts:
    task = metadata["task"]
    if task not in ("detect", "segment", "pose", "classify"):
        raise InputError(f"{where}: task: {task!r}, one of detect, segment, pose, classify is right")
    values: dict[str, Any] = {"task": task, "classes": _names(metadata["names"])}
    if metadata.get("head") == "RTDETRDecoder":
        values["layout"] = "ultralytics-rtdetr"
    elif _literal(metadata.get("args", "{}")).get("nms"):
        values["layout"] = "ultralytics-end2end"
    if "imgsz" in metadata:
        height, width = _literal(metadata["imgsz"])
        values["size"] = (width, height)
    if task == "pose":
        joints, _ = _literal(metadata.get("kpt_shape", "[17, 3]"))
        values |= keypoints_for(joints)
    return Facts("metadata of the file (Ultralytics)", values)


def _names(text: str) -> tuple[str, ...]:
    names = _literal(text)
    ordered = [name for _, name in sorted(names.items())] if isinstance(names, dict) else list(names)
    return tuple(map(str, ordered))


def _literal(text: str) -> Any:
    """A Python literal; what is none stays text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value

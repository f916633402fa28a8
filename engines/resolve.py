"""Resolution: everything a ModelSpec says, each fact from the first that knows it.

An explicit card comes before the metadata inside the file, and that before recognition by names and shapes. A
file of unknown layout is refused, with what was seen and what would help.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from engines.cards import read_card
from engines.engine import TensorSpec
from engines.errors import InputError, nearest
from engines.facts import FIELDS, Facts
from engines.layouts import LAYOUTS, UnsureError, recogniser
from engines.locate import Located
from engines.metadata import read
from engines.network import Network, fix_size, read_between, without
from engines.spec import ModelSpec

__all__ = ["resolve", "resolve_between"]

_WHOLE = ("uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")  # numbers that hold a pixel
_AS_THEY_ARE: dict[str, Any] = {"scale": 1.0, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def resolve(network: Network, located: Located) -> tuple[Network, ModelSpec]:
    """Return the network fixed to one size, and its spec with the reason of each fact. Raises InputError."""
    where = str(located.model)
    told = [read_card(located.card)] if located.card else []
    told.append(_pixels(network, where))
    told.append(read(network.metadata, where, _merge(told).keys()))
    told.append(_input(network, where))
    network = _split(network, _merge(told), located)
    network = fix_size(network, _size(_merge(told), network, where))
    told.append(_recognise(network, _merge(told), where))
    told.append(Facts("name of the file", {"name": located.model.stem.removesuffix(".key")}))
    if network.state or _merge(told).keys() & {"state", "between"}:
        told.insert(0, _video(network, located))
    values = _merge(told)
    if "classes" not in values:
        raise InputError(f"{where}: classes: the file does not tell them, a card must say 'classes: [...]'")
    reasons = {
        key: next((facts for facts in told if key in facts.values), Facts("default")) for key in FIELDS
    }
    notes = values.pop("notes", ())
    spec = ModelSpec(
        **values,
        notes=notes,
        reasons=tuple(
            "; ".join([f"{key}: {facts.source}", *_said(key, notes)]) for key, facts in reasons.items()
        ),
    )
    _check(spec, network, where)
    return network, spec


def resolve_between(network: Network, spec: ModelSpec, located: Located) -> Network | None:
    """Return the network for frames between key frames, fixed to the size of that of key frames; or None.

    ``network`` is what `read_network` gave for the key frames. Raises InputError where the two do not fit.
    """
    if located.between is None:
        return None
    key, between = read_between(located.between, network)
    between = fix_size(replace(between, state=fix_size(key, spec.size).state), spec.size)
    known = {"size": spec.size, "layout": spec.layout, "task": spec.task, "classes": spec.classes}
    _recognise(between, known, str(located.between))
    return between


def _split(network: Network, values: dict[str, Any], located: Located) -> Network:
    """The state apart from the outputs; nobody takes it where there is no file for frames between."""
    if located.between is not None:
        return read_between(located.between, network)[0]
    return replace(without(network, values.get("state", ())), state=())


def _video(network: Network, located: Located) -> Facts:
    """Where its other file is away, a model for video is one of pictures."""
    name = located.between.name if located.between else ""
    state = tuple(tensor.name for tensor in network.state)
    return Facts(f"file {name}" if name else "no file for frames between", {"between": name, "state": state})


def _merge(told: list[Facts]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for facts in reversed(told):
        merged |= facts.values
    return merged


def _said(key: str, notes: tuple[str, ...]) -> list[str]:
    """The notes on one fact."""
    return [text for note in notes for name, _, text in [note.partition(": ")] if name == key]


def _pixels(network: Network, where: str) -> Facts:
    """A network that takes whole numbers takes pixels as they are; a share of 255 would leave it black."""
    name, dtype = network.input.name, network.input.dtype
    if dtype.startswith(("float", "bfloat")):
        return Facts("type of the input")
    if dtype not in _WHOLE:
        raise InputError(
            f"{where}: input: {name} is {dtype}, floats or one of {', '.join(_WHOLE)} are needed"
        )
    return Facts(f"type of the input ({dtype}: pixels as they are)", _AS_THEY_ARE)


def _input(network: Network, where: str) -> Facts:
    try:
        width, height = network.size
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return Facts("shape of the input", {"size": (width, height)} if width and height else {})


def _size(values: dict[str, Any], network: Network, where: str) -> tuple[int, int]:
    if "size" not in values:
        raise InputError(f"{where}: size: left open by the file, a card must say 'size: [width, height]'")
    width, height = values["size"]
    fixed = network.size
    if (fixed[0] or width, fixed[1] or height) != (width, height):
        raise InputError(f"{where}: size: {width}x{height}, the file is fixed to {fixed[0]}x{fixed[1]}")
    return width, height


def _recognise(network: Network, known: dict[str, Any], where: str) -> Facts:
    """Ask every family, or the one that is known, whether the outputs are its own."""
    wanted = known.get("layout")
    if wanted is not None and wanted not in LAYOUTS:
        raise InputError(
            f"{where}: layout: {wanted!r}, one of {', '.join(LAYOUTS)} is right{nearest(wanted, LAYOUTS)}"
        )
    found, unsure = {}, {}
    for name in [wanted] if wanted else LAYOUTS:
        try:
            values = recogniser(name)(network, known)
        except UnsureError as error:
            unsure[name] = str(error)
            continue
        if values is not None:
            found[name] = values
    if len(found) == 1:
        ((name, values),) = found.items()
        return Facts(f"shapes of the outputs ({name})", {"layout": name, **values})
    outputs = ", ".join(map(_seen, network.outputs))
    card = f"a card {where.rsplit('.', 1)[0]}.yaml"
    if unsure and not found:
        choices = " or ".join(f"'layout: {name}'" for name in unsure)
        raise InputError(
            f"{where}: layout: outputs {outputs} could be of {' or '.join(unsure)}: "
            f"{next(iter(unsure.values()))}; {card} must say {choices}"
        )
    problem = (
        f"{wanted!r} does not fit" if wanted else "unknown" if not found else f"one of {', '.join(found)}"
    )
    given = f", task {known['task']}" if "task" in known else ""
    given += f", {len(known['classes'])} classes" if "classes" in known else ""
    raise InputError(
        f"{where}: layout: {problem}: input {_seen(network.input)}, outputs {outputs}{given}; "
        f"{card} can say layout ({', '.join(LAYOUTS)}), task, classes, keypoints, "
        "size, resize, pad, colour, scale, mean, std"
    )


def _check(spec: ModelSpec, network: Network, where: str) -> None:
    if not spec.classes and spec.task != "embed":
        raise InputError(f"{where}: classes: none, a card must name them")
    for key in ("keypoints", "skeleton"):
        if getattr(spec, key) and spec.task != "pose":
            raise InputError(f"{where}: {key}: a model of task {spec.task} gives none, only one of task pose")
    for pair in spec.skeleton:
        if max(pair) >= len(spec.keypoints) or min(pair) < 0:
            raise InputError(
                f"{where}: skeleton: {list(pair)}, pairs of 0..{len(spec.keypoints) - 1} are right"
            )
    if not all(spec.std) or not spec.scale:
        raise InputError(f"{where}: std and scale: {spec.std} and {spec.scale}, nothing may be 0")
    if network.input.dtype in _WHOLE:
        for key, right in _AS_THEY_ARE.items():
            if getattr(spec, key) != right:
                raise InputError(
                    f"{where}: {key}: {getattr(spec, key)}, the input is {network.input.dtype} and takes "
                    f"pixels as they are: {right} is right"
                )


def _seen(tensor: TensorSpec) -> str:
    """A tensor for people: name (shape) type; an open axis is '?'."""
    return f"{tensor.name} ({','.join(str(axis or '?') for axis in tensor.shape)}) {tensor.dtype}"

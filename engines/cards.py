"""Cards: a YAML file beside an ONNX file (same name, .yaml) that says what the file itself does not.

Its keys are the fields of `engines.spec.ModelSpec`, plus ``model``: the path of the model's file, relative to
the card, where the card is given in the model's place. A card of a public model says as well where the file
comes from: ``url``, ``licence``, ``sha256`` (by which the file is known under any name), and for the weights
of an OpenVINO IR ``weights_sha256``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.cache import downloads
from engines.errors import InputError
from engines.facts import Facts, checked

__all__ = ["Origin", "between_of", "digest_of", "model_of", "origin_of", "read_card"]

_ORIGIN = ("url", "licence", "sha256", "weights_sha256")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the file of a public model comes from."""

    file: str  # its name
    url: str
    licence: str  # "" where the card does not say
    digests: dict[str, str]  # sha256 by name of file, of those that the card knows


def read_card(path: Path) -> Facts:
    """Read and check a card. Raises InputError with file and line."""
    values = {
        key: checked(key, value, f"{path}:{line}")
        for key, (line, value) in _load(path).items()
        if key != "model" and key not in _ORIGIN
    }
    return Facts(f"card {path.name}", values)


def model_of(path: Path) -> Path:
    """Return the ONNX file that a card describes: its key ``model``, else the file of the card's own name."""
    card = _load(path)
    line, named = card.get("model", (1, path.with_suffix(".onnx").name))
    if Path(str(named)).suffix.lower() in (".yaml", ".yml"):
        raise InputError(
            f"{path}:{line}: model: {str(named)!r}: another card, the path of an .onnx or .xml file is right"
        )
    pulled = downloads() / path.stem / Path(str(named)).name
    for model in (path.parent / str(named), pulled):
        if model.is_file():
            return model
    what = (
        f"`engines pull {path.stem}` downloads it"
        if "url" in card
        else "a path relative to the card is needed"
    )
    raise InputError(f"{path}:{line}: model: {str(named)!r}: no such file, {what}")


def between_of(path: Path) -> Path | None:
    """Return the file that a card names for frames between key frames, or None; InputError if it is away.

    Only the text is looked at: the card may still be wrong elsewhere.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    named = re.search(r"^between:[ \t]*[\"']?([^\s\"'#]+)", text, re.MULTILINE)
    if named is None:
        return None
    found = path.parent / named[1]
    if not found.is_file():
        line = text.count("\n", 0, named.start()) + 1
        raise InputError(
            f"{path}:{line}: between: {named[1]!r}: no such file, a path relative to the card is needed"
        )
    return found


def origin_of(path: Path) -> Origin:
    """Return where the file of a card comes from. Raises InputError where the card does not say."""
    card = {key: str(value) for key, (_, value) in _load(path).items() if key in (*_ORIGIN, "model")}
    if "url" not in card:
        raise InputError(f"{path}: url: none, this card does not say where its model comes from")
    name = Path(card.get("model", path.with_suffix(".onnx").name)).name
    digests = {
        name: card.get("sha256", ""),
        str(Path(name).with_suffix(".bin")): card.get("weights_sha256", ""),
    }
    known = {file: digest for file, digest in digests.items() if digest}
    return Origin(name, card["url"], card.get("licence", ""), known)


def digest_of(path: Path) -> str:
    """Return the sha256 that a card names, "" for none; only looks at the text, so that many can be asked."""
    found = re.search(r"^sha256: *([0-9a-f]{64})", path.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else ""


def _load(path: Path) -> dict[str, tuple[int, Any]]:
    """Key -> (line, value) of the card's one mapping."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{path}:{line}: not YAML: {error.problem}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not YAML: a text of 'key: value' lines is needed") from error
    if not isinstance(values, dict) or root is None:
        raise InputError(f"{path}:1: a card is a list of 'key: value' lines, such as 'layout: yolox'")
    lines: dict[str, int] = {}
    for key, _ in root.value:
        line = key.start_mark.line + 1
        if key.value in lines:
            raise InputError(
                f"{path}:{line}: {key.value}: said already in line {lines[key.value]}, once is right"
            )
        lines[str(key.value)] = line
    return {str(key): (lines.get(str(key), 1), value) for key, value in values.items()}

"""Cards: a YAML file beside an ONNX file (same name, .yaml) that says what the file itself does not.

Its keys are the fields of `engines.spec.ModelSpec`, plus ``model``: the path of the ONNX file, relative to
the card, where the card is given in the model's place.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engines.errors import InputError
from engines.facts import Facts, checked

__all__ = ["model_of", "read_card"]


def read_card(path: Path) -> Facts:
    """Read and check a card. Raises InputError with file and line."""
    values = {
        key: checked(key, value, f"{path}:{line}")
        for key, (line, value) in _load(path).items()
        if key != "model"
    }
    return Facts(f"card {path.name}", values)


def model_of(path: Path) -> Path:
    """Return the ONNX file that a card describes: its key ``model``, else the file of the card's own name."""
    line, named = _load(path).get("model", (1, path.with_suffix(".onnx").name))
    model = path.parent / str(named)
    if not model.is_file():
        raise InputError(
            f"{path}:{line}: model: {str(named)!r}: no such file, a path relative to the card is needed"
        )
    return model


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
    lines = {key.value: key.start_mark.line + 1 for key, _ in root.value}
    return {str(key): (lines.get(str(key), 1), value) for key, value in values.items()}

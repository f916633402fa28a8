"""The models that come with the package: truly trained weights, each an ONNX file that describes itself."""

from __future__ import annotations

from pathlib import Path

from engines.spec import ModelSpec

__all__ = ["FOLDER", "models", "names"]

FOLDER = Path(__file__).parent / "weights"


def names() -> list[str]:
    """Return the names that `engines.load` takes."""
    return sorted(path.stem for path in FOLDER.glob("*.onnx"))


def models() -> list[ModelSpec]:
    """Return what the shipped models are, in the order of their names."""
    from engines.description import describe

    return [describe(name).spec for name in names()]

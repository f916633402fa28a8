"""The models that come with the package: truly trained weights, each an ONNX file that describes itself."""

from __future__ import annotations

from pathlib import Path

from engines.spec import ModelSpec

__all__ = ["FOLDER", "file_of", "models", "names"]

FOLDER = Path(__file__).parent / "weights"


def names() -> list[str]:
    """Return the names that `engines.load` takes."""
    stems = {path.stem for path in FOLDER.glob("*.onnx") if not path.stem.endswith(".between")}
    return sorted(stem.removesuffix(".key") for stem in stems)


def file_of(name: str) -> Path:
    """Return the file of a shipped model; of one for video that of its key frames."""
    key = FOLDER / f"{name}.key.onnx"
    return key if key.is_file() else FOLDER / f"{name}.onnx"


def models() -> list[ModelSpec]:
    """Return what the shipped models are, in the order of their names."""
    from engines.description import describe

    return [describe(name).spec for name in names()]

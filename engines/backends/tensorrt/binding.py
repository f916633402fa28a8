"""Binding: one TensorRT library, 8.5 to 11 or TensorRT for RTX, behind the calls that all of them share.

Values of its enumerations have moved between versions, members came and went: they are asked by name, always.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from engines.errors import InputError

__all__ = ["OLDEST", "Binding", "load_binding"]

OLDEST = (8, 5)
_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "BOOL": "bool",
}


def load_binding(name: str) -> Binding:
    """Import ``tensorrt`` or ``tensorrt_rtx``. Raises InputError where it is missing, broken or too old."""
    try:
        module = import_module(name)
    except ImportError as error:
        raise InputError(f"backend: {name}: {error}; pip install {name.replace('_', '-')}") from error
    return Binding(module)


class Binding:
    """The library as a module, and what differs between versions."""

    def __init__(self, module: Any) -> None:
        self.trt = module
        self.name = "tensorrt_rtx" if "rtx" in module.__name__ else "tensorrt"
        self.rtx = self.name == "tensorrt_rtx"
        self.version = str(module.__version__)
        self._numbers = tuple(int(number) for number in re.findall(r"\d+", self.version)[:2])
        if not self.rtx and self._numbers < OLDEST:
            raise InputError(f"backend: tensorrt: version {self.version}, 8.5 or newer is needed")

    @property
    def tells_progress(self) -> bool:
        """Whether a build tells how far it is, and can be told to end."""
        return hasattr(self.trt, "IProgressMonitor")

    @property
    def weakly_typed(self) -> bool:
        """Whether the builder chooses types by flags; later versions take them from the file."""
        return not self.rtx and self._numbers < (10, 0)

    @property
    def shares_profiles(self) -> bool:
        """Whether several contexts may use one optimisation profile of open shapes."""
        return not self.weakly_typed or self.has("PreviewFeature", "PROFILE_SHARING_0806")

    def has(self, enumeration: str, name: str) -> bool:
        """Whether this version knows a member of one of its enumerations."""
        return hasattr(getattr(self.trt, enumeration, None), name)

    def bits(self, enumeration: str, *names: str) -> int:
        """A bit mask of those named members that this version knows."""
        kind = getattr(self.trt, enumeration)
        return sum(1 << int(getattr(kind, name)) for name in names if self.has(enumeration, name))

    def dtype(self, kind: Any) -> str:
        """numpy's name for an element type of the library. Raises InputError for one that numpy has not."""
        for name, ours in _DTYPES.items():
            if self.has("DataType", name) and kind == getattr(self.trt.DataType, name):
                return str(np.dtype(ours))
        raise InputError(f"{self.name}: tensors of {kind} cannot be read")

    def logger(self, say: Callable[[bool, str], None]) -> Any:
        """Return a logger for the library: ``say(is_error, text)`` hears errors and warnings."""
        severity = self.trt.ILogger.Severity
        base: Any = self.trt.ILogger

        class Logger(base):  # type: ignore[misc]
            def __init__(self) -> None:
                base.__init__(self)

            def log(self, level: Any, text: str) -> None:
                if level <= severity.WARNING:
                    say(bool(level <= severity.ERROR), text)

        return Logger()

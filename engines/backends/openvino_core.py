"""The one Core of OpenVINO that a process has, and keeps."""

from __future__ import annotations

import functools
from typing import Any

__all__ = ["openvino_core"]


@functools.cache
def openvino_core() -> Any:
    """Return openvino.Core(), always the same.

    Each Core gives its thread a stack for signals, and puts back on its end the one that it found.
    Of two Cores that do not end in the reverse order of their beginnings, the last puts back a stack that is
    gone, and the next signal, Ctrl-C say, kills the process (seen with OpenVINO 2026.4). One that never ends
    cannot.
    """
    import openvino

    return openvino.Core()

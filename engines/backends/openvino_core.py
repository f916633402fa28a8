"""OpenVINO, imported so that it tells nobody, and the one Core of it that a process has, and keeps."""

from __future__ import annotations

import functools
import sys
from typing import Any

__all__ = ["openvino", "openvino_core"]

TELEMETRY = "openvino_telemetry"


def _import() -> Any:
    """Import OpenVINO as it is where its package of telemetry is not installed.

    Where it is, the import reports itself to a server of analytics, from a thread and a process of its own
    (seen with OpenVINO 2026.4). Whoever uses that package later finds it as usual.
    """
    hidden = TELEMETRY not in sys.modules
    if hidden:
        sys.modules[TELEMETRY] = None  # type: ignore[assignment]
    try:
        import openvino
    finally:
        if hidden:
            del sys.modules[TELEMETRY]
    return openvino


openvino = _import()


@functools.cache
def openvino_core() -> Any:
    """Return openvino.Core(), always the same.

    Each Core gives its thread a stack for signals, and puts back on its end the one that it found.
    Of two Cores that do not end in the reverse order of their beginnings, the last puts back a stack that is
    gone, and the next signal, Ctrl-C say, kills the process (seen with OpenVINO 2026.4). One that never ends
    cannot.
    """
    return openvino.Core()

"""GStreamer, where it is present: which of its elements, and its RTSP server for the system's Python."""

from __future__ import annotations

import functools
import shutil
import subprocess

__all__ = ["PYTHON", "has_elements", "has_rtsp_server"]

PYTHON = "/usr/bin/python3"  # the one that GObject's packages are installed for
_SERVER = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"


@functools.cache
def has_elements(*names: str) -> bool:
    """Whether GStreamer is installed with these elements."""
    inspect = shutil.which("gst-inspect-1.0")
    return inspect is not None and all(_succeeds(inspect, name) for name in names)


@functools.cache
def has_rtsp_server() -> bool:
    """Whether the system's Python can serve RTSP by GStreamer."""
    return shutil.which(PYTHON) is not None and _succeeds(PYTHON, "-c", _SERVER)


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True).returncode == 0

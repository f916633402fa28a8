"""The ffmpeg program, for what must run in a process that can be killed."""

from __future__ import annotations

import functools
import shutil
import subprocess

__all__ = ["find_ffmpeg"]


@functools.cache
def find_ffmpeg(protocol: str = "") -> str:
    """Return the path of an ffmpeg, one that reads this protocol if any is named; "" if there is none."""
    return next((path for path in _candidates() if not protocol or protocol in _protocols(path)), "")


def _candidates() -> list[str]:
    found = []
    try:
        import imageio_ffmpeg

        found.append(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        pass
    return [*found, *filter(None, [shutil.which("ffmpeg")])]


def _protocols(path: str) -> list[str]:
    asked = [path, "-hide_banner", "-protocols"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, timeout=10, check=False).stdout.split()
    except (OSError, subprocess.TimeoutExpired):
        return []

"""Cameras on this machine: through Video4Linux2, by number or device path; elsewhere through OpenCV."""

from __future__ import annotations

import glob
import sys
from dataclasses import dataclass

import av
from av.error import FFmpegError, FileNotFoundError, PermissionError

from streamer.sources import Source, Unavailable
from streamer.sources.capture import open_capture
from streamer.sources.container import reason
from streamer.sources.video import Video
from streamer.urls import read_query

__all__ = ["Options", "devices", "open_camera"]

FORMATS = (
    "mjpeg",
    "yuyv422",
    "",
)  # asked for in this order: USB carries full rates compressed only; "" = any
BUSY = 16  # EBUSY


@dataclass(frozen=True, slots=True)
class Options:
    """The keys of ``0?key=value&...``; what is left out is the driver's choice."""

    size: tuple[int, int] = (0, 0)  # width, height in pixels
    fps: float = 0.0

    def __post_init__(self) -> None:
        if min(self.size) < 0 or (0 in self.size) != (self.size == (0, 0)):
            raise ValueError(f"size: {self.size[0]}x{self.size[1]}, a size such as 1280x720 would be right")
        if not 0 <= self.fps <= 1000:
            raise ValueError(f"fps: {self.fps:g}, a rate above 0 and up to 1000 would be right")


def open_camera(url: str, name: str) -> Source:
    """Open ``0``, with ``?size=1280x720&fps=30`` as one likes; on Linux ``/dev/video0`` and the like too.

    Times are the driver's on Linux, those of arrival elsewhere, on the monotonic clock.

    Raises:
        InputError: an unknown key, an impossible value, or a path where cameras go by number.
        Unavailable: it is not there (the message lists those that are), in use, or cannot do what is asked.
    """
    options = read_query(url, Options())
    where = url.removeprefix("camera:").partition("?")[0]
    opener = _open_device if sys.platform == "linux" else open_capture
    return opener(where, options, url, name)


def devices() -> list[str]:
    """Return the paths of this machine's video devices; some may be outputs or a camera's second node."""
    return sorted(glob.glob("/dev/video*")) + sorted(glob.glob("/dev/v4l/by-id/*"))


def _open_device(where: str, options: Options, url: str, name: str) -> Video:
    device = f"/dev/video{where}" if where.isdecimal() else where
    wanted: dict[str, str] = {}
    if any(options.size):
        wanted["video_size"] = f"{options.size[0]}x{options.size[1]}"
    if options.fps:
        wanted["framerate"] = f"{options.fps:g}"
    for form in FORMATS:
        asked = wanted | ({"input_format": form} if form else {})
        try:
            container = av.open(device, "r", format="v4l2", options=asked)
        except FFmpegError as error:
            failure = error
            if isinstance(error, FileNotFoundError | PermissionError) or error.errno == BUSY:
                break
        else:
            return Video(container, url, name, live=True)
    lasting = not isinstance(failure, FileNotFoundError) and failure.errno != BUSY
    raise Unavailable(f"{url}: {_explain(failure, options)}", lasting=lasting) from failure


def _explain(error: FFmpegError, options: Options) -> str:
    there = ", ".join(devices()) or "none"
    if isinstance(error, FileNotFoundError):
        return f"no such camera, there are: {there}"
    if isinstance(error, PermissionError):
        return "not permitted, a user in the group 'video' may open it"
    if error.errno == BUSY:
        return "in use by another program"
    asked = " with the size and fps asked for" if options != Options() else ""
    return f"gives no pictures{asked}: {reason(error)}"

"""A window on the screen: the newest picture of every stream, side by side."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from engines.errors import InputError
from engines.letterbox import place
from engines.spec import ModelSpec
from streamer.frame import Frame
from streamer.sinks import Closed
from streamer.sinks.address import Address
from streamer.sources import SourceInfo
from streamer.urls import read_query

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["WindowSink"]

# OpenCV aborts the whole process where its window system cannot be reached, so a child tries first.
PROBE = "import cv2; cv2.namedWindow('probe', cv2.WINDOW_NORMAL); cv2.waitKey(1); cv2.destroyAllWindows()"
PROBE_SECONDS = 20.0
REFRESH = 1 / 60  # seconds; several streams may bring more pictures than a screen shows
QUIT = {ord("q"), ord("Q"), 27}


@dataclass(frozen=True, slots=True)
class Settings:
    """How to show."""

    size: tuple[int, int] = (1280, 720)  # most pixels, width and height, that all tiles take together

    def __post_init__(self) -> None:
        if min(self.size) < 32 or max(self.size) > 16_384:
            raise ValueError(f"size: {self.size[0]}x{self.size[1]}, must be from 32 to 16384 pixels")


class WindowSink:
    """Shows the frames of all streams as tiles of one window: ``window:`` or ``window:Title?size=1280x720``.

    Open, write and close it on the main thread. q, Esc and the window's own button end the run.
    """

    def __init__(self, address: Address, info: SourceInfo, spec: ModelSpec) -> None:
        self.check(address)
        self._title = address.path or "streamer"
        self._limit = read_query(address.url, Settings()).size
        self._tiles: dict[str, int] = {}
        self._lock = threading.Lock()  # around a use of the tiles
        self._canvas: NDArray[np.uint8] = np.zeros((0, 0, 3), np.uint8)
        self._tile = (0, 0)
        self._shown = 0.0

    @staticmethod
    def check(address: Address) -> None:
        """Raise InputError for an option, or where there is no display to open a window on."""
        read_query(address.url, Settings())
        _probe(address.url)

    def write(self, frame: Frame) -> None:
        """Show a frame. Raises Closed once the user has closed the window."""
        with self._lock:
            self._fill(frame)
        if len(self._tiles) == 1 or time.monotonic() - self._shown >= REFRESH:
            self._show()

    def forget(self, stream: str) -> None:
        """Give the tile of a stream that was removed to the others, whose next pictures fill them anew."""
        with self._lock:
            self._tiles.clear()

    def poll(self) -> None:
        """Serve the window while no frame comes; call it some times a second. Raises Closed."""
        import cv2

        if not self._shown:
            return
        if cv2.pollKey() & 0xFF in QUIT or cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1:
            raise Closed(f"window {self._title!r} was closed")

    def close(self) -> None:
        """Close the window."""
        import cv2

        if self._shown:
            cv2.destroyWindow(self._title)
            cv2.pollKey()

    def _fill(self, frame: Frame) -> None:
        """Put a picture into its stream's tile."""
        from streamer.planes import scale_rgb

        if frame.stream not in self._tiles:
            self._tiles[frame.stream] = len(self._tiles)
            self._lay_out(frame.size)
        column, row = self._place(frame.stream)
        width, height = self._tile
        spot = place(frame.size, self._tile, "letterbox")
        tile = self._canvas[row * height : (row + 1) * height, column * width : (column + 1) * width]
        scale_rgb(
            frame.planes,
            tile[spot.top : spot.top + spot.size[1], spot.left : spot.left + spot.size[0]],
        )

    def _columns(self) -> int:
        return math.ceil(math.sqrt(len(self._tiles)))

    def _place(self, stream: str) -> tuple[int, int]:
        row, column = divmod(self._tiles[stream], self._columns())
        return column, row

    def _lay_out(self, size: tuple[int, int]) -> None:
        """Make room for one more stream; tiles fill with the next pictures."""
        columns = self._columns()
        rows = math.ceil(len(self._tiles) / columns)
        room = self._limit[0] // columns, self._limit[1] // rows
        if len(self._tiles) == 1:
            ratio = min(room[0] / size[0], room[1] / size[1], 1.0)
            room = max(round(size[0] * ratio), 1), max(round(size[1] * ratio), 1)
        self._tile = room
        self._canvas = np.zeros((rows * room[1], columns * room[0], 3), np.uint8)
        if self._shown:
            self._resize_window()

    def _show(self) -> None:
        import cv2

        if not self._shown:
            os.environ.setdefault(
                "QT_LOGGING_RULES", "default.warning=false"
            )  # it misses fonts we do not use
            cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
            self._resize_window()
        cv2.imshow(self._title, cv2.cvtColor(self._canvas, cv2.COLOR_RGB2BGR))
        self._shown = time.monotonic()
        self.poll()

    def _resize_window(self) -> None:
        import cv2

        cv2.resizeWindow(self._title, self._canvas.shape[1], self._canvas.shape[0])


def _probe(url: str) -> None:
    """Raise InputError where a window cannot be opened; loads OpenCV."""
    import cv2  # noqa: F401 - before anything loads PyAV, see _is_foreign

    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        raise InputError(f"{url}: no display: DISPLAY is not set, write to a file or run on a desktop")
    display = os.environ.get("DISPLAY", "")
    if not _takes_windows(display):
        raise InputError(f"{url}: no display: {display!r} takes no window, write to a file or fix DISPLAY")

    if _is_foreign():
        raise InputError(
            f"{url}: PyAV was loaded before OpenCV, whose windows then hang: import cv2 before av"
        )


def _is_foreign() -> bool:
    """Tell whether OpenCV's window system got PyAV's X11 libraries.

    Both wheels bring a libxcb-shm of one name, and the first one loaded serves both; PyAV's talks to a libxcb
    of its own, so that Qt waits for ever for an answer (seen with av 18.1.0 and opencv-python 5.0.0.93).
    """
    try:
        with open("/proc/self/maps", encoding="utf-8") as maps:
            loaded = [line for line in maps if "libxcb-shm" in line]
    except OSError:
        return False
    return any("av.libs" in line for line in loaded) and not any("opencv" in line for line in loaded)


@lru_cache
def _takes_windows(display: str) -> bool:
    try:
        child = subprocess.run(
            [sys.executable, "-c", PROBE], capture_output=True, timeout=PROBE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return child.returncode == 0

"""Cameras by number through OpenCV, where there is no Video4Linux2: macOS, Windows."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.errors import InputError, WorkError
from streamer import planes
from streamer.frame import Frame
from streamer.sources import SourceInfo, Unavailable
from streamer.sources.timeline import TICK

if TYPE_CHECKING:
    from streamer.sources.camera import Options

__all__ = ["BACKENDS", "Capture", "Device", "open_capture"]

Picture = NDArray[np.uint8]

# Of the two that Windows has, Media Foundation takes up to 20 s to open a camera, and seconds for each wish
# (opencv/opencv#17687, #26495). DirectShow opens sooner, and gives up a read after a second.
BACKENDS: dict[str, int] = {"darwin": cv2.CAP_AVFOUNDATION, "win32": cv2.CAP_DSHOW}
ALLOWED = {
    "darwin": "is this terminal allowed in System Settings > Privacy & Security > Camera?",
    "win32": "are desktop apps allowed in Settings > Privacy & security > Camera?",
}
MOST = 99  # OpenCV takes larger numbers for those of its backends
LOOKED_AT = 5  # numbers that are tried to tell which cameras are there
TURN = 10.0  # seconds to wait while another camera is being opened
SILENCE = 3.0  # seconds without a picture after which the camera is lost; a read may fail now and then
PAUSE = 0.02  # seconds after a read that failed, which it may have done at once

# OpenCV keeps DirectShow's cameras in one table without a lock, and to close one that was opened twice takes
# it from whoever else reads it. So cameras are opened in turn, and none twice.
_turn = threading.Lock()
_held: set[int] = set()  # numbers that are open in this process


class Device(Protocol):
    """What is used of a `cv2.VideoCapture` that is open."""

    def read(self) -> tuple[bool, Picture | None]: ...

    def get(self, key: int) -> float: ...

    def release(self) -> None: ...


def open_capture(where: str, options: Options, url: str, name: str) -> Capture:
    """Open the camera of a number; size and rate are wishes, of which the driver makes what it can.

    Raises:
        InputError: no number of a camera.
        Unavailable: it does not open, or gives no picture.
    """
    if not where.isdecimal() or int(where) > MOST:
        raise InputError(f"{url}: cameras go by number here, 0 to {MOST}: 0 would be right for the first")
    index = int(where)
    if not _turn.acquire(timeout=TURN):
        raise Unavailable(f"{url}: another camera is being opened and does not answer")
    try:
        if index in _held:
            raise Unavailable(f"{url}: in use by another stream of this program")
        device = _open(index)
        if device is None:
            raise Unavailable(f"{url}: {_explain(_others(index))}")
        _wish(device, options)
        _held.add(index)
    finally:
        _turn.release()
    return Capture(device, url, name, freed=partial(_held.discard, index))


class Capture:
    """An open camera as a live source; its first picture is read on opening.

    A read lasts until the driver gives up, and to release a camera meanwhile can crash the process: `close`
    leaves that to the thread that reads, if one does.
    """

    live = True

    def __init__(
        self, device: Device, url: str, name: str, *, freed: Callable[[], None] = lambda: None
    ) -> None:
        """Take over an open device; ``freed`` is called once it is released."""
        self.name = name
        self.failures: Counter[str] = Counter()
        self._url = url
        self._device = device
        self._freed = freed
        self._using = threading.Lock()  # the device
        self._stopped = threading.Event()
        self._closed = False
        self._released = False
        try:
            self._first = self._read()
            if self._first is None:
                raise Unavailable(f"{url}: opens but gives no picture: is it free, and {_is_allowed()}")
            rate = device.get(cv2.CAP_PROP_FPS)
        except BaseException:
            self.close()
            raise
        height, width = self._first[0].shape[:2]
        self.info = SourceInfo(
            size=(width, height),
            fps=rate if 0 < rate <= 1000 else 0.0,  # drivers that do not know it say 0, -1 or NaN
            codec="rawvideo",
            pixel_format="bgr24",
        )

    def __iter__(self) -> Iterator[Frame]:
        taken, self._first = self._first, None
        began, pts = taken[1] if taken else 0.0, -TICK
        index = 0
        while taken is not None:
            bgr, captured = taken
            pts = max(captured - began, pts + TICK)
            yield Frame(self.name, index, pts, planes.from_bgr(bgr), captured, live=True)
            index += 1
            taken = self._read()
        if not self._stopped.is_set():
            raise WorkError(f"{self._url}: connection lost: no picture for {SILENCE:g} s")

    def stop(self) -> None:
        """Ask, from any thread, that the iteration end after the frame at hand."""
        self._stopped.set()

    def close(self) -> None:
        """Free everything, from any thread; what is being read is freed by who reads it."""
        self._closed = True
        self._stopped.set()
        self._let_go()

    def _read(self) -> tuple[Picture, float] | None:
        """Return the next picture, (H, W, 3) BGR, and when it came; None if none does, or once stopped."""
        until = time.monotonic() + SILENCE
        while not self._stopped.is_set():
            bgr = self._try()
            captured = time.monotonic()
            if bgr is not None and bgr.size:  # an infrared camera's is grey
                return cv2.cvtColor(bgr, cv2.COLOR_GRAY2BGR) if bgr.ndim == 2 else bgr, captured
            if captured >= until:
                return None
            self._stopped.wait(PAUSE)
        return None

    def _try(self) -> Picture | None:
        bgr = None
        with self._using, suppress(cv2.error):
            if not self._stopped.is_set():
                bgr = self._device.read()[1]
        if self._closed:
            self._let_go()
        return bgr

    def _let_go(self) -> None:
        """Release the device, once, unless it is being read: its reader comes here when that is over."""
        if not self._using.acquire(blocking=False):
            return
        try:
            if not self._released:
                self._released = True
                self._device.release()
                self._freed()
        finally:
            self._using.release()


def _open(index: int) -> Any:
    """Return a `cv2.VideoCapture`, None if it does not open: without what OpenCV logs then."""
    logging = cv2.utils.logging
    level = logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        device = cv2.VideoCapture(index, BACKENDS.get(sys.platform, cv2.CAP_ANY))
    finally:
        logging.setLogLevel(level)
    return device if device.isOpened() else None


def _wish(device: Any, options: Options) -> None:
    width, height = options.size
    if width:
        device.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        device.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
    if options.fps:
        device.set(cv2.CAP_PROP_FPS, options.fps)
    # USB carries large pictures at their full rate compressed only. The last wish, for DirectShow forgets it
    # with any other; AVFoundation chooses for itself.
    if sys.platform == "win32" and (width or options.fps):
        device.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))


@cache  # to try a camera switches it on, so not with each attempt at one that is away
def _others(index: int) -> tuple[int, ...]:
    """Return the numbers of cameras that are there beside one that does not open."""
    there = []
    for other in range(LOOKED_AT):
        device = _open(other) if other != index and other not in _held else None
        if device is not None:
            device.release()
        if device is not None or other in _held:
            there.append(other)
    return tuple(there)


def _explain(others: tuple[int, ...]) -> str:
    if others:
        return f"no such camera, or in use by another program, there are: {', '.join(map(str, others))}"
    return f"no camera opens: is one plugged in and free, and {_is_allowed()}"


def _is_allowed() -> str:
    return ALLOWED.get(sys.platform, "may this user open it?")

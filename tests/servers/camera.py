"""A camera for sinks: numbered pictures written in time, from a thread of its own; and waiting for others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from streamer import planes as pixels
from streamer.frame import Frame
from streamer.sinks import Sink

from .clip import moving
from .sound import Track, up_to

__all__ = ["FPS", "PICTURES", "SIZE", "Camera", "until"]

SIZE = (320, 180)
FPS = 30.0
PICTURES = [
    pixels.from_rgb(moving(number, SIZE), subsampling=(2, 2), full_range=False) for number in range(256)
]


class Camera:
    """Writes numbered pictures, and their sound, to a sink, in time, from its own thread."""

    def __init__(self, sink: Sink, stream: str = "cam", sound: Track | None = None) -> None:
        self.written = 0
        self._sound, self._sounded = sound, 0
        self._sink = sink
        self._stream = stream
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        while not self._stopped.wait(max(began + self.written / FPS - time.monotonic(), 0)):
            number = self.written
            planes = PICTURES[number % len(PICTURES)]
            frame = Frame(self._stream, number, number / FPS, planes, live=True)
            if self._sound is not None:
                frame.audio = up_to(self._sound, frame.pts, self._sounded)
                self._sounded += len(frame.audio)
            self._sink.write(frame)
            self.written += 1


def until(condition: Callable[[], bool], seconds: float = 40.0) -> None:
    """Wait for what another thread or process does; fail if it does not come."""
    limit, tick = time.monotonic() + seconds, threading.Event()
    while not condition():
        assert time.monotonic() < limit, "it did not come"
        tick.wait(0.01)

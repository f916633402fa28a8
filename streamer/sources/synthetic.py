"""A source that needs no file: moving people, cars and balls, with the exact truth of every picture."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from engines.detections import Detections
from engines.errors import InputError
from engines.scenes import Scene
from streamer import planes
from streamer.frame import Frame
from streamer.sources import SourceInfo
from streamer.urls import read_query, redact

__all__ = ["Options", "Synthetic", "open_synthetic"]


@dataclass(frozen=True, slots=True)
class Options:
    """The keys of ``synthetic:?key=value&...``."""

    size: tuple[int, int] = (640, 360)  # width, height in pixels
    fps: float = 30.0
    count: int = 300  # pictures, 0 = without end
    seed: int = 0
    held_out: bool = False  # draw with the appearances that no training has seen
    live: bool = False  # give out each picture when its time has come

    def __post_init__(self) -> None:
        if not all(64 <= side <= 8192 for side in self.size):
            raise ValueError(f"size: {self.size[0]}x{self.size[1]}, sides from 64 to 8192 would be right")
        if not 0 < self.fps <= 1000:
            raise ValueError(f"fps: {self.fps:g}, a rate above 0 and up to 1000 would be right")
        if self.count < 0 or self.seed < 0:
            raise ValueError(f"count, seed: {self.count}, {self.seed}, whole numbers from 0 would be right")


def open_synthetic(url: str, name: str) -> Synthetic:
    """Open ``synthetic:?size=640x360&fps=30&count=300&seed=0&held_out=0&live=0``, each key optional.

    Raises:
        InputError: an unknown key, an impossible value, or what is no query.
    """
    rest = url.partition(":")[2]
    if rest and not rest.startswith("?"):
        raise InputError(f"{redact(url)}: {redact(rest)!r}, synthetic:?count=100 is the form")
    return Synthetic(read_query(url, Options()), name)


class Synthetic:
    """Renders a scene as 4:2:0 BT.709 limited range, as a camera would send it."""

    def __init__(self, options: Options, name: str) -> None:
        self.name = name
        self.live = options.live
        self.failures: Counter[str] = Counter()
        self.info = SourceInfo(
            size=options.size,
            fps=options.fps,
            frames=options.count,
            duration=options.count / options.fps,
            codec="synthetic",
            pixel_format="yuv420p",
        )
        self._options = options
        self._scene = Scene(options.size, options.fps, options.seed, options.held_out)
        self._stopped = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        began, index, fps = time.monotonic(), 0, self._options.fps
        while not self._stopped.is_set() and (not self._options.count or index < self._options.count):
            rgb, _ = self._scene.render(index)
            picture = planes.from_rgb(rgb, subsampling=(2, 2), matrix="bt709", full_range=False)
            if self.live and self._stopped.wait(max(began + index / fps - time.monotonic(), 0.0)):
                return
            yield Frame(self.name, index, index / fps, picture, time.monotonic(), duration=1 / fps)
            index += 1

    def truth(self, index: int) -> Detections:
        """Return what is really in picture ``index``: boxes, masks, keypoints and ids, all exact."""
        found: Detections = self._scene.render(index)[1]
        return found

    def stop(self) -> None:
        """Ask, from any thread, that the iteration end after the frame at hand."""
        self._stopped.set()

    def close(self) -> None:
        """Free everything: there is nothing."""

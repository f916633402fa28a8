"""Frame: one picture on its way through the graph, and Planes: its pixels as they were decoded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from engines.detections import EMPTY, Detections
from streamer.audio import AudioPacket

if TYPE_CHECKING:
    from streamer.analytics.events import Event
    from streamer.analytics.watch import Sign

__all__ = ["Frame", "Matrix", "Planes"]

Matrix = Literal["bt601", "bt709", "bt2020"]
Plane = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """One picture in planar 8-bit YUV 4:2:0, 4:2:2 or 4:4:4, upright, with square pixels.

    The arrays may be views into the decoder's own buffers, which it still predicts from: never write to them;
    `copy()` gives planes that may be drawn on. Rows may be strided; pixels of a row are contiguous.
    """

    y: Plane  # (H, W)
    u: Plane  # (ceil(H / sy), ceil(W / sx)), sx and sy being 1 or 2
    v: Plane  # as u
    matrix: Matrix = "bt601"
    full_range: bool = False  # False: luma 16..235
    owner: object = field(default=None, repr=False)  # keeps the memory behind the arrays alive

    @property
    def size(self) -> tuple[int, int]:
        """Width, height in pixels."""
        return self.y.shape[1], self.y.shape[0]

    @property
    def subsampling(self) -> tuple[int, int]:
        """Luma pixels per chroma sample, (sx, sy): (2, 2) for 4:2:0, (2, 1) for 4:2:2, (1, 1) for 4:4:4."""
        return 2 if self.u.shape[1] < self.y.shape[1] else 1, 2 if self.u.shape[0] < self.y.shape[0] else 1

    def __repr__(self) -> str:
        (width, height), (sx, sy) = self.size, self.subsampling
        span = "full" if self.full_range else "limited"
        return f"Planes({width}x{height} 4:{4 // sx}:{4 // sx if sy == 1 else 0} {self.matrix} {span})"

    def __reduce__(self) -> tuple[type[Planes], tuple[object, ...]]:
        """Pickle and copy the pixels without the memory that they lie in, which cannot leave its process."""
        return Planes, (self.y.copy(), self.u.copy(), self.v.copy(), self.matrix, self.full_range)


@dataclass(slots=True, eq=False)
class Frame:
    """One picture of one stream, and what is known of it; RGB: `streamer.planes.to_rgb(frame.planes)`."""

    stream: str
    index: int  # as decoded, from 0; frames dropped later leave a gap
    pts: float  # seconds in the source's own time
    planes: Planes
    captured: float = 0.0  # time.monotonic() when it arrived from the outside
    wall: float = float("nan")  # Unix time of capture where the sender tells it
    duration: float = 0.0  # seconds until the next frame, 0 = unknown
    detections: Detections = EMPTY
    live: bool = False  # time runs on without us, so its age matters
    cuts: int = 0  # connections, rounds and the like before: pictures of another number do not follow it
    damaged: bool = False  # the decoder lacked data of it, or of a picture that it is predicted from
    lost: Detections = EMPTY  # tracks that are not seen now, where they are thought to be
    events: tuple[Event, ...] = ()  # what happened since the last frame that was inferred, or handed on
    signs: tuple[Sign, ...] = ()  # lines and zones as they stand now
    speeds: dict[int, float] = field(default_factory=dict)  # track -> metres per second, where it is measured
    inferred: bool = False  # False: the detections are older than the picture, or predicted (`--every N`)
    key_index: int = -1  # of the key frame that its detections rest on, its own for one; -1: no such model
    file: str = ""  # the picture's own path, where each has one
    audio: tuple[AudioPacket, ...] = ()  # the stream's sound, demuxed since the frame before

    @property
    def size(self) -> tuple[int, int]:
        """Width, height in pixels, as displayed."""
        return self.planes.size

    def __repr__(self) -> str:
        width, height = self.size
        return f"Frame({self.stream!r} #{self.index} {self.pts:.3f}s {width}x{height} {self.detections!r})"

"""Studio: the pictures of one stream, drawn and encoded once for all sinks that show them, while one does."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from streamer.frame import Frame
from streamer.sinks.broadcast import Encoded, Encoder, Settings

if TYPE_CHECKING:
    from streamer.overlay import Overlay

__all__ = ["Share", "Studio"]

WAITING = 64  # pictures that wait for one sink; more are given up until the next to begin with
FAR = 64, 5.0  # an index further back, or seconds further away, than this begin another stretch of the stream


Place = tuple[int, float]  # of a frame in its stream: index, pts


class Studio:
    """Draws and encodes what is asked for. Sinks call it from threads of their own.

    Who brings a frame first has it drawn and encoded, for all; who comes later takes what is there. So all
    get the same pictures, though each may have missed other frames, and none waits for another's network.
    """

    def __init__(
        self,
        overlays: Callable[[], Sequence[Overlay]] = tuple,
        fps: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Draw what ``overlays`` gives when it is first needed; ``fps``: of the stream, 0 = unknown."""
        self.fps = fps
        self.encoded = 0  # pictures that went through an encoder
        self._make = overlays
        self._overlays: Sequence[Overlay] | None = None
        self._lock = threading.Lock()
        self._drawn: tuple[Frame, Frame] | None = None  # the last one, as it came and as it is shown
        self._sessions: dict[tuple[Settings, int], _Session] = {}

    @property
    def encoders(self) -> int:
        """Encoders at work: none while nobody watches."""
        return sum(session.encoder is not None for session in list(self._sessions.values()))

    def draw(self, frame: Frame) -> Frame:
        """Return the frame with the overlays drawn on planes of its own, or itself where there are none."""
        with self._lock:
            if self._overlays is None:
                self._overlays = self._make()
            if not self._overlays:
                return frame
            from streamer.overlay.draw import draw

            if self._drawn is None or self._drawn[0] is not frame:
                drawn = draw(frame, self._overlays)
                if drawn is frame:
                    return frame
                self._drawn = (frame, drawn)
            return self._drawn[1]

    def share(self, settings: Settings, *, width: int = 0) -> Share:
        """Return a part in the encoder of these settings; at most ``width`` pixels wide, 0 = as they come."""
        key = (settings.plain(), width)
        with self._lock:
            session = self._sessions.setdefault(key, _Session(self, *key))
        return Share(session)


class Share:
    """One sink's part in an encoder, from its first `write` to its `rest`."""

    def __init__(self, session: _Session) -> None:
        self._session = session
        self._parts: deque[Encoded] = deque()
        self._is_apart = True  # what comes is of no use before one that can be begun with

    @property
    def encoder(self) -> Encoder:
        """The encoder that made what `write` returned."""
        assert self._session.encoder is not None
        return self._session.encoder

    def write(self, frame: Frame, *, key: bool = False) -> list[Encoded]:
        """Return the pictures that are new since the last call, in order; the first can be begun with.

        ``key`` asks for another such one. Raises OSError, av.FFmpegError.
        """
        session = self._session
        with session.lock:
            if self not in session.shares:
                session.shares.append(self)
                self._is_apart = key = True
            session.encode(frame, key=key)
            parts = list(self._parts)
            self._parts.clear()
        return parts

    def rest(self) -> None:
        """Take no part until the next `write`; the last to leave ends the encoder."""
        session = self._session
        with session.lock:
            if self in session.shares:
                session.shares.remove(self)
            self._parts.clear()
            if not session.shares:
                session.close()

    def offer(self, part: Encoded) -> bool:
        """Keep a picture for the next `write`; False if one to begin with is needed."""
        if len(self._parts) >= WAITING:
            self._parts.clear()
            self._is_apart = True
        if part.is_key:
            self._is_apart = False
        if not self._is_apart:
            self._parts.append(part)
        return not self._is_apart


class _Session:
    """One encoder and those who share it; all under its lock."""

    def __init__(self, studio: Studio, settings: Settings, width: int) -> None:
        self.lock = threading.Lock()
        self.encoder: Encoder | None = None
        self.shares: list[Share] = []
        self._studio = studio
        self._settings = settings
        self._width = width
        self._last: Place | None = None  # of the last frame that was encoded
        self._wants_key = False

    def encode(self, frame: Frame, *, key: bool) -> None:
        """Encode a frame for all shares, unless it or a later one was."""
        self._wants_key |= key
        if self._last is not None and _is_passed(frame, self._last):
            return
        drawn = self._studio.draw(frame)
        if self.encoder is None:
            self.encoder = Encoder(drawn, self._settings, fps=self._studio.fps(), width=self._width)
        key, self._wants_key, self._last = self._wants_key, False, (frame.index, frame.pts)
        self._studio.encoded += 1
        for part in self.encoder.encode(drawn, key=key):
            for share in self.shares:
                if not share.offer(part):
                    self._wants_key = True

    def close(self) -> None:
        """End the encoder."""
        encoder, self.encoder, self._last = self.encoder, None, None
        if encoder is not None:
            encoder.close()


def _is_passed(frame: Frame, last: Place) -> bool:
    """Tell whether a frame, or one that followed it, was encoded already."""
    return 0 <= last[0] - frame.index < FAR[0] and abs(last[1] - frame.pts) < FAR[1]  # time may fall back

"""Link: one attempt at a source in a thread of its own, which alone opens, reads and closes it.

libavformat can hold a thread for as long as its time-outs allow, and a container must not be closed under a
thread that reads from it. So nobody waits for this thread: whoever loses interest leaves it, and it tidies up
after itself when FFmpeg lets go of it.
"""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterator
from traceback import clear_frames

from engines.errors import InputError, WorkError
from streamer.frame import Frame
from streamer.inbox import Aborted, Inbox
from streamer.sources import Source, SourceInfo, Unavailable

__all__ = ["BACKLOG", "Link", "Lost", "newest"]

SPAN = 0.15  # seconds of a stream from which its pace is told
PACE = 0.8  # of real time; what comes faster had piled up
CATCHING_UP = 5.0  # seconds after which pictures are given out in any case
CAPACITY = 2  # frames between the reader and whoever receives them
BACKLOG = "old when we joined"  # reason why pictures are not given out


_READERS: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
_LAST_WAIT = 1.0  # seconds at the end of the process


class Lost(Exception):  # noqa: N818 - a state, not a defect
    """There is no connection, or none any more; the message says why, without secrets."""

    def __init__(
        self, reason: str, *, lasting: bool = False, absent: bool = False, final: bool = False
    ) -> None:
        super().__init__(reason)
        self.lasting = lasting  # not mended by waiting: a wrong password, a path that is not there
        self.absent = absent  # the server knows no such path, as one that has just begun, too
        self.final = final  # the source has an end, and this is it


class Link:
    """A source that is being opened and, if it is live or ``hand_over`` is False, read."""

    def __init__(self, name: str, opener: Callable[[], Source], *, hand_over: bool = False) -> None:
        self.settled = threading.Event()  # it was opened, or failed to
        self.source: Source | None = None
        self.error: BaseException | None = None
        self._opener = opener
        self._hand_over = hand_over
        self._is_orphan = False  # handed over: its thread has ended and does not close it
        self._lock = threading.Lock()
        self._left = threading.Event()
        self._inbox: Inbox[Frame] = Inbox()
        self._lane = self._inbox.lane(name, capacity=CAPACITY)
        self._thread = threading.Thread(target=self._run, name=f"read:{name}", daemon=True)
        _READERS.add(self._thread)
        self._thread.start()

    @property
    def info(self) -> SourceInfo | None:
        """What the source is, once it is open."""
        return self.source.info if self.source is not None else None

    @property
    def refusal(self) -> BaseException | None:
        """Why it could not be opened; None where it was, though it may be lost since, or is not yet."""
        return self.error if self.source is None else None

    @property
    def failures(self) -> Counter[str]:
        """Reason -> pictures that could not be decoded."""
        return self.source.failures if self.source is not None else Counter()

    @property
    def troubles(self) -> Counter[str]:
        """What else went wrong, as far as the source tells: packets lost, complaints of the decoder."""
        found: Counter[str] = getattr(self.source, "troubles", None) or Counter()
        return found

    def receive(self, timeout: float) -> Frame | None:
        """Return the next frame, or None if none comes in time.

        Raises:
            Lost: none will come any more.
        """
        try:
            frames = self._inbox.take(1, deadline=time.perf_counter() + timeout)
        except Aborted:
            raise Lost("left") from None
        if frames:
            return frames[0]
        if self._inbox.ended:
            raise self._loss()
        return None

    def keep(self) -> Source | None:
        """Return the source if it was handed over; otherwise read it here, now or once it is open."""
        with self._lock:
            if self._hand_over and self.source is not None and not self.source.live:
                return self.source
            self._hand_over = False
            return None

    def leave(self) -> None:
        """Lose interest; never blocks. The thread closes the source as soon as FFmpeg returns to it.

        Whoever has taken over a source from it closes that, and does not leave.
        """
        with self._lock:
            self._left.set()
            source = self.source
            is_orphan, self._is_orphan = self._is_orphan, False
        if source is not None:
            source.stop()
            if is_orphan:
                source.close()
        self._inbox.abort()

    def _run(self) -> None:
        try:
            source = self._opener()
        except BaseException as error:
            clear_frames(error.__traceback__)  # else pictures and packets live as long as the error
            self.error = error
            self.settled.set()
            self._lane.close()
            return
        with self._lock:
            self.source = source
            self._is_orphan = self._hand_over and not source.live and not self._left.is_set()
            handed_over = self._is_orphan
            self.settled.set()
        if not handed_over:
            self._read(source)

    def _read(self, source: Source) -> None:
        try:
            if not self._left.is_set():
                for frame in newest(source) if getattr(source, "piles_up", False) else source:
                    self._lane.put(frame)
        except Aborted:
            pass
        except BaseException as error:
            self.error = error
        finally:
            source.close()
            self._lane.close()

    def _loss(self) -> Lost:
        error = self.error
        if error is None:
            source = self.source
            is_over = source is not None and (not source.live or source.info.frames > 0)
            return Lost("the stream ended", final=is_over)
        if isinstance(error, Unavailable):
            return Lost(str(error), lasting=error.lasting, absent=error.absent)
        if isinstance(error, InputError):
            return Lost(str(error), lasting=True)
        if isinstance(error, WorkError):
            return Lost(str(error))
        return Lost(f"{type(error).__name__}: {error}")


def newest(source: Source) -> Iterator[Frame]:
    """Yield a live source's frames without those that had piled up before it was open.

    FFmpeg reads up to seconds of a stream before it gives out the first picture. These then come faster than
    they were made, until we have caught up.
    """
    frames = iter(source)
    arrivals: deque[tuple[float, float]] = deque()  # captured and pts, over the last SPAN seconds of pts
    began = 0.0
    for frame in frames:
        arrivals.append((frame.captured, frame.pts))
        while len(arrivals) > 2 and frame.pts - arrivals[1][1] >= SPAN:
            arrivals.popleft()
        waited, step = frame.captured - arrivals[0][0], frame.pts - arrivals[0][1]
        began = began or frame.captured
        if (step >= SPAN and waited >= PACE * step) or frame.captured - began > CATCHING_UP:
            yield frame
            break
        source.failures[BACKLOG] += 1
    yield from frames


@atexit.register
def _await_readers() -> None:
    """Let readers that were left close their sources: FFmpeg crashes if the process is torn down under it."""
    until = time.monotonic() + _LAST_WAIT
    for thread in list(_READERS):
        if thread.ident is None:  # a Ctrl-C came before it was started
            continue
        thread.join(max(until - time.monotonic(), 0.0))

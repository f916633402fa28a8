"""Reconnect: the one wrapper around every live source that keeps it going, whatever happens to it.

It waits with time-outs, joins anew with growing pauses, and withholds what is no real picture. The stream's
name, index, time and counts go on through all of it.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from streamer.audio import AudioPacket, carry, move
from streamer.frame import Frame
from streamer.sources import SourceInfo
from streamer.sources.link import Lost
from streamer.sources.quarantine import Quarantine

__all__ = ["Backoff", "Connection", "Health", "Patience", "Reconnect"]

State = Literal["connecting", "playing", "stalled", "frozen", "waiting", "stopped"]
UNKNOWN = SourceInfo((0, 0))
LOOK = 0.25  # seconds between two looks at the clock while nothing comes
JUMP = 2.0  # seconds by which a stream's time may run ahead of ours between two pictures


class Connection(Protocol):
    """One connection to a source, as Link is one."""

    @property
    def info(self) -> SourceInfo | None: ...

    @property
    def failures(self) -> Counter[str]: ...

    @property
    def troubles(self) -> Counter[str]: ...

    def receive(self, timeout: float) -> Frame | None:
        """Return the next frame, None after `timeout` seconds; raise Lost if none will come."""

    def leave(self) -> None:
        """Let go of it at once, from any thread."""


class Clock(Protocol):
    """Time as the wrapper sees it; a test's own runs faster."""

    def now(self) -> float:
        """Return monotonic seconds."""

    def wait(self, seconds: float) -> bool:
        """Wait, or until `interrupt`; True if interrupted."""

    def interrupt(self) -> None:
        """End every wait, present and future."""


class RealClock:
    """The machine's clock."""

    def __init__(self) -> None:
        self._interrupted = threading.Event()
        self.now = time.monotonic

    def wait(self, seconds: float) -> bool:
        """Wait, or until `interrupt`; True if interrupted."""
        return self._interrupted.wait(max(seconds, 0.0))

    def interrupt(self) -> None:
        """End every wait, present and future."""
        self._interrupted.set()


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the wrapper waits for what, in seconds."""

    opening: float = 20.0  # for the first picture of a connection
    stall: float = 5.0  # for the next picture
    shortest: float = 0.5  # pause before the second attempt, doubled for each one after it
    longest: float = 30.0  # pause at most; also after a refusal that waiting does not mend
    good: float = 1.0  # of pictures, after which the pauses begin anew
    knock: float = 0.5  # between two looks, during a pause, at whether the port is open again


class Backoff:
    """Pauses between attempts: doubled each time, with jitter so that cameras do not go in step."""

    def __init__(self, patience: Patience, seed: int | None = None) -> None:
        self._patience = patience
        self._random = random.Random(seed)
        self._next = patience.shortest

    def pause(self, *, lasting: bool) -> float:
        """Return the seconds from the start of the attempt that failed to the start of the next."""
        if lasting:
            return self._patience.longest * self._random.uniform(0.75, 1.0)
        seconds, self._next = self._next, min(self._next * 2, self._patience.longest)
        return seconds * self._random.uniform(0.75, 1.0)

    def reset(self) -> None:
        """Begin with the shortest pause again."""
        self._next = self._patience.shortest


@dataclass(frozen=True, slots=True)
class Health:
    """How a live stream is, at one moment."""

    state: State = "connecting"
    since: float = 0.0  # time.monotonic() of the last change of state
    reason: str = ""  # of the last loss, without secrets
    is_lasting: bool = False  # the last loss is not mended by waiting
    losses: int = 0  # connections that had given pictures and were lost
    attempts: int = 0  # connections begun


class Reconnect:
    """A live source that never ends but by `stop`; iterate it once, in one thread."""

    live = True

    def __init__(
        self,
        name: str,
        connect: Callable[[], Connection],
        *,
        first: Connection | None = None,
        patience: Patience = Patience(),
        quarantine: Quarantine | None = None,
        clock: Clock | None = None,
        knock: Callable[[], bool] | None = None,
        say: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        """Wrap what ``connect`` begins; ``first`` is a connection begun already.

        ``knock`` tells whether the source's port takes connections; it may be wrong. ``say`` is told of each
        change worth a line.
        """
        self.name = name
        self.info = (first.info if first is not None else None) or UNKNOWN
        self.failures: Counter[str] = Counter()
        self.troubles: Counter[str] = Counter()  # packets lost, complaints of the decoder
        self.health = Health(attempts=int(first is not None))
        self._connect = connect
        self._connection = first
        self._patience = patience
        self._quarantine = quarantine or Quarantine()
        self._clock: Clock = clock or RealClock()
        self._knock = knock
        self._say = say
        self._backoff = Backoff(patience)
        self._stopped = False
        self._index = 0  # of the next picture
        self._last: tuple[float, float] | None = None  # captured and pts of the last picture
        self._sound: tuple[AudioPacket, ...] = ()  # of pictures withheld, for the next one given out
        self._is_mute = False  # the connection's sound is not the one that was described
        self._is_tried = False  # a connection was renewed because of a frozen picture, in vain so far

    def __iter__(self) -> Iterator[Frame]:
        try:
            while not self._stopped:
                began = self._clock.now()
                try:
                    yield from self._play(began)
                except Lost as lost:
                    if lost.final:
                        return
                    self._rest(began, lost)
        finally:
            self._enter("stopped")
            self._let_go()

    def stop(self) -> None:
        """Ask, from any thread, that the iteration end; it does so at once, whatever it waits for."""
        self._stopped = True
        self._clock.interrupt()
        connection = self._connection
        if connection is not None:
            connection.leave()

    def close(self) -> None:
        """Free everything; never blocks."""
        self.stop()

    def _play(self, began: float) -> Iterator[Frame]:
        connection = self._connection or self._begin()
        limit, last, offset = self._patience.opening, began, None
        base, known, troubled = self._index, Counter[str](), Counter[str]()
        try:
            while not self._stopped:
                frame = connection.receive(LOOK)
                now = self._clock.now()
                known = self._count(connection.failures, known, self.failures)
                troubled = self._count(connection.troubles, troubled, self.troubles)
                if frame is None:
                    if now - last > limit:
                        raise Lost(f"no picture for {now - last:.0f} s")
                    if limit == self._patience.stall and now - last > 2 * LOOK:
                        self._enter("stalled")
                    continue
                if offset is None:
                    began = now
                    self._welcome(connection)
                elif now - began > self._patience.good:
                    self._backoff.reset()
                limit, last = self._patience.stall, now
                offset = self._follow(frame, offset, base)
                frame.audio, self._sound = carry(self._sound, frame.audio), ()
                verdict = self._quarantine.judge(frame)
                if verdict:
                    self._sound = frame.audio
                    self.failures[verdict] += 1
                    self._withhold(verdict)
                else:
                    self._is_tried = False
                    self._enter("playing")
                    yield frame
        finally:
            self._count(connection.failures, known, self.failures)
            self._count(connection.troubles, troubled, self.troubles)
            self._let_go()

    def _begin(self) -> Connection:
        self._enter("connecting")
        self._connection = connection = self._connect()
        if self._stopped:  # `stop` may have come before there was anything to leave
            connection.leave()
        return connection

    def _welcome(self, connection: Connection) -> None:
        self._take_up(connection.info or self.info)
        if self.health.reason:
            self._say(f"{self.name}: connected{' again' if self._last else ''}")
            self.health = replace(self.health, reason="", is_lasting=False)

    def _take_up(self, info: SourceInfo) -> None:
        """Describe the source as it is now; but for its sound, which sinks were told of once."""
        known, now = self.info.audio, info.audio
        self._is_mute = known is not None and now is not None and replace(now, others=known.others) != known
        if self._is_mute and now is not None:
            self._say(f"{self.name}: the sound is another one than before ({now.codec}), left out")
        self.info = info if known is None else replace(info, audio=known)

    def _follow(self, frame: Frame, offset: float | None, base: int) -> float:
        """Let a picture follow the stream's number and time; return what its own time is shifted by."""
        frame.stream = self.name
        frame.index += base
        frame.live = True
        frame.audio = () if self._is_mute else frame.audio
        frame.cuts = self.health.attempts
        self._index = frame.index + 1
        own = frame.pts
        if self._last is not None:
            captured, pts = self._last
            passed = max(frame.captured - captured, 0.001)
            leap = own + offset - pts if offset is not None else 0.0
            if offset is None or leap <= 0 or leap - passed > JUMP:
                offset = pts + passed - own
        offset = offset or 0.0
        frame.pts = own + offset
        self._last = (frame.captured, frame.pts)
        if offset:
            frame.audio = move(frame.audio, offset, self.info.audio)
        return offset

    def _withhold(self, verdict: str) -> None:
        if verdict != "frozen":
            return
        self._enter("frozen")
        if not self._is_tried:
            self._is_tried = True
            raise Lost("the picture is frozen")

    def _rest(self, began: float, lost: Lost) -> None:
        """Pause before the next attempt; an open port where none was ends the pause."""
        if self._stopped:
            return
        # A server that knows no such path after it has given pictures is starting anew, and has it soon.
        lasting = lost.lasting and not (lost.absent and self._last is not None)
        had_pictures = self.health.state in ("playing", "stalled", "frozen")
        if str(lost) != self.health.reason:
            again = ", to be mended by you; tried again now and then" if lasting else ", trying again"
            self._say(f"{self.name}: {lost}{again}")
        self.health = replace(
            self.health,
            reason=str(lost),
            is_lasting=lasting,
            losses=self.health.losses + had_pictures,
        )
        self._enter("waiting")
        pause = self._backoff.pause(lasting=lasting)
        due = max(began + pause, self._clock.now() + pause / 4)
        was_open = self._knock is None or had_pictures or self._knock()
        while not self._stopped and (left := due - self._clock.now()) > 0:
            if self._clock.wait(min(left, self._patience.knock)):
                return
            if self._knock is not None and not was_open and self._knock():
                return

    def _enter(self, state: State) -> None:
        if state == self.health.state:
            return
        begun = self.health.attempts + (state == "connecting")
        self.health = replace(self.health, state=state, since=self._clock.now(), attempts=begun)

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.leave()

    @staticmethod
    def _count(seen: Counter[str], known: Counter[str], into: Counter[str]) -> Counter[str]:
        """Add to ``into`` what a connection counted since ``known``; return what is known now."""
        seen = Counter(seen)  # at one moment: the connection's own thread goes on counting
        into.update(seen - known)
        return seen

"""Chaos: faults on purpose, to test a set-up: ``chaos:URL?stall=5s@30s&drop=1%&eof@60s&seed=1``.

Times count from the first opening and go on over reconnects, so each fault that has a time comes once.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from engines.errors import InputError, WorkError, nearest
from streamer import planes as pixels
from streamer.durations import seconds_of
from streamer.frame import Frame, Planes
from streamer.sources import Source, SourceInfo, Unavailable, open_source
from streamer.urls import redact

if TYPE_CHECKING:
    from av.packet import Packet
    from av.stream import Stream

__all__ = ["Chaos", "Fault", "Plan", "open_chaos"]

SPELLS = ("black", "freeze", "refuse", "stall")  # last for a while: KEY=DURATION@WHEN
STEPS = ("clock", "eof", "resize")  # happen once: clock=SHIFT@WHEN, eof@WHEN, resize@WHEN
SHARES = ("corrupt", "drop")  # of the packets: KEY=PERCENT%
KNOWN = (*SPELLS, *STEPS, *SHARES, "jitter", "seed")
UNCODED = "wrapped_avframe"  # FFmpeg's name: a packet holds a structure of pointers, which must stay whole
SPOILT = 8  # bytes that are changed in a corrupt packet


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault that has a time."""

    kind: str  # of SPELLS or STEPS
    at: float  # seconds from the first opening
    amount: float = 0.0  # seconds: how long it lasts, or by how much the clock jumps


class Plan:
    """The faults of a URL, and how far they have come."""

    def __init__(self, url: str) -> None:
        """Read ``chaos:URL?...``; what follows the last question mark is ours.

        Raises:
            InputError: an unknown key or an impossible value.
        """
        self.url, mark, query = url.removeprefix("chaos:").rpartition("?")
        if not mark:
            self.url, query = query, ""
        self.faults: list[Fault] = []
        self.drop = self.corrupt = self.jitter = 0.0
        self._random = random.Random(0)
        self._began = -1.0
        self._done: set[Fault] = set()
        for word in filter(None, query.split("&")):
            try:
                self._read(word)
            except ValueError as error:
                if isinstance(error, InputError):
                    raise
                raise InputError(f"{redact(url)}: {word}: {error}") from error

    def begin(self) -> None:
        """Let time run, if it does not yet."""
        if self._began < 0:
            self._began = time.monotonic()

    def now(self) -> float:
        """Return the seconds since `begin`."""
        return time.monotonic() - self._began

    def left(self, kind: str) -> float:
        """Return for how many more seconds a spell of this kind lasts; 0 if there is none."""
        now = self.now()
        lefts = (
            fault.at + fault.amount - now for fault in self.faults if fault.kind == kind and fault.at <= now
        )
        return max(*lefts, 0.0, 0.0)

    def due(self, kind: str) -> list[Fault]:
        """Return the faults of this kind whose time has come since the last call."""
        now = self.now()
        due = [fault for fault in self.faults if fault.kind == kind and fault.at <= now]
        fresh = [fault for fault in due if fault not in self._done]
        self._done.update(fresh)
        return fresh

    def chance(self, share: float) -> bool:
        """Throw the dice: True in so large a share of all calls."""
        return share > 0 and self._random.random() < share

    def delay(self) -> float:
        """Return a random delay in seconds, up to the jitter."""
        return self._random.uniform(0, self.jitter) if self.jitter else 0.0

    def spoil(self, data: bytes) -> bytes:
        """Return the data with some bytes of its second half changed."""
        spoilt = bytearray(data)
        for _ in range(SPOILT if data else 0):
            spoilt[self._random.randrange(len(spoilt) // 2, len(spoilt))] ^= 0xFF
        return bytes(spoilt)

    def _read(self, word: str) -> None:
        told, has_time, when = word.partition("@")
        key, _, value = told.partition("=")
        if key not in KNOWN:
            hint = nearest(key, KNOWN) or f", known are {', '.join(KNOWN)}"
            raise ValueError(f"unknown key {key!r}{hint}")
        if bool(has_time) != (key in SPELLS + STEPS):
            raise ValueError(f"takes {'a' if not has_time else 'no'} time, as in {EXAMPLES[key]}")
        if key in SHARES:
            share = float(value.removesuffix("%")) / 100 if value.endswith("%") else float(value)
            if not 0 <= share <= 1:
                raise ValueError("a share from 0% to 100% would be right")
            setattr(self, key, share)
        elif key == "jitter":
            self.jitter = seconds_of(value)
        elif key == "seed":
            self._random.seed(int(value))
        else:
            self.faults.append(Fault(key, seconds_of(when), seconds_of(value) if value else 0.0))


EXAMPLES = {key: f"{key}=5s@30s" for key in SPELLS} | {
    "clock": "clock=-2s@45s",
    "eof": "eof@60s",
    "resize": "resize@90s",
    "corrupt": "corrupt=0.1%",
    "drop": "drop=1%",
    "jitter": "jitter=40ms",
    "seed": "seed=1",
}


def open_chaos(url: str, name: str, plan: Plan | None = None) -> Chaos:
    """Open what the URL wraps, and spoil it.

    Raises:
        InputError: a key that is unknown, or what opening the source itself raises.
    """
    plan = plan or Plan(url)
    plan.begin()
    if plan.left("refuse"):
        raise Unavailable(f"{redact(url)}: refused on purpose")
    source = open_source(plan.url, name=name)
    if plan.corrupt and source.info.codec == UNCODED:
        source.close()
        raise InputError(
            f"{redact(url)}: corrupt: {UNCODED}: pictures that are not coded, drop would be right"
        )
    return Chaos(source, plan)


class Chaos:
    """A live source: one that is not gives its pictures when their time has come."""

    live = True

    def __init__(self, source: Source, plan: Plan) -> None:
        self.name = source.name
        self.info: SourceInfo = source.info
        self.failures: Counter[str] = source.failures
        self._source = source
        self._plan = plan
        self._stopped = threading.Event()
        self._shift = 0.0  # seconds by which the clock has jumped
        self._is_half = False  # the pictures are half as wide and high
        self._frozen: Planes | None = None
        listen = getattr(source, "listen", None)
        self._has_packets = listen is not None
        if listen is not None:
            listen(self._tap)

    @property
    def troubles(self) -> Counter[str]:
        """Those of the source itself."""
        found: Counter[str] = getattr(self._source, "troubles", None) or Counter()
        return found

    @property
    def piles_up(self) -> bool:
        """As the source itself."""
        return bool(getattr(self._source, "piles_up", False))

    def __iter__(self) -> Iterator[Frame]:
        plan, began = self._plan, -1.0
        for frame in self._source:
            if not self._source.live:
                began = began if began >= 0 else time.monotonic() - frame.pts
                self._stopped.wait(max(began + frame.pts - time.monotonic(), 0.0))
                frame.captured = time.monotonic()
            self._stopped.wait(plan.left("stall") or plan.delay())
            if self._stopped.is_set():
                return
            if plan.due("eof") or plan.left("refuse"):
                raise WorkError("connection lost on purpose")
            if not self._has_packets and plan.chance(plan.drop):
                self.failures["lost on purpose"] += 1
                continue
            frame.damaged = frame.damaged or (not self._has_packets and plan.chance(plan.corrupt))
            yield self._change(frame)

    def stop(self) -> None:
        """Ask, from any thread, that the iteration end after the frame at hand."""
        self._stopped.set()
        self._source.stop()

    def close(self) -> None:
        """Free everything; called by the thread that iterated."""
        self._source.close()

    def _change(self, frame: Frame) -> Frame:
        plan = self._plan
        self._shift += sum(fault.amount for fault in plan.due("clock"))
        self._is_half ^= len(plan.due("resize")) % 2 == 1
        frame.pts += self._shift
        if self._is_half:
            width, height = frame.size
            frame.planes = pixels.scale(frame.planes, (max(width // 4 * 2, 2), max(height // 4 * 2, 2)))
        if plan.left("black"):
            frame.planes = blackened(frame.planes)
        self._frozen = (self._frozen or pixels.copy(frame.planes)) if plan.left("freeze") else None
        if self._frozen is not None:
            frame.planes = self._frozen
        return frame

    def _tap(self, packet: Packet[Stream], arrived: float) -> bool:
        """Lose or spoil a packet of the source before it is decoded; False if it is lost."""
        if self._plan.chance(self._plan.drop):
            return False
        if self._plan.chance(self._plan.corrupt):
            packet.update(self._plan.spoil(bytes(packet)))
        return True


def blackened(planes: Planes) -> Planes:
    """Return a black picture of the same form."""
    black = np.full_like(planes.y, 0 if planes.full_range else 16)
    return replace(planes, y=black, u=np.full_like(planes.u, 128), v=np.full_like(planes.v, 128), owner=None)

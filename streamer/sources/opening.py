"""Opening the sources of a run side by side, each by a thread that nobody has to wait for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from engines.errors import InputError
from streamer.sources import DECODED, Source, Unavailable, is_local, open_source, stream_name
from streamer.sources.knock import knocker
from streamer.sources.link import Link
from streamer.sources.quarantine import KINDS, Quarantine
from streamer.sources.reconnect import Reconnect
from streamer.urls import redact, scheme

__all__ = ["Opening", "settle"]

GRACE = 3.0  # seconds that the first sources to open wait for those that may be live
LOOK = 0.05  # seconds


class Opening:
    """A source on its way: opened once, and wrapped to last if it is live."""

    def __init__(
        self,
        url: str,
        name: str = "",
        *,
        withheld: Sequence[str] = KINDS,
        say: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self._shown = redact(url)
        self._name = name or stream_name(url)
        self._opener, self._knock = opener_of(url, self._name)
        self._withheld = frozenset(withheld)
        self._say = say
        self.is_local = is_local(url)
        self.link = Link(self._name, self._opener, hand_over=True)

    def source(self) -> Source:
        """Return the source: itself if it has an end, else wrapped, open already or not.

        Raises:
            InputError: it can never be opened, or is a file that has not opened so far.
        """
        if self.is_local and not self.link.settled.is_set():
            raise InputError(f"{self._shown}: does not open, is it a pipe that nobody writes to?")
        refusal = self.link.refusal
        if refusal is not None and not isinstance(refusal, Unavailable):
            raise refusal
        return self.link.keep() or Reconnect(
            self._name,
            lambda: Link(self._name, self._opener),
            first=self.link,
            quarantine=Quarantine(self._withheld),
            knock=self._knock,
            say=self._say,
        )


def opener_of(url: str, name: str) -> tuple[Callable[[], Source], Callable[[], bool] | None]:
    """Return what opens a URL, again and again, and what tells whether it is worth trying, if anything does.

    What goes on from one opening to the next, the faults of a chaos: or the session of a record: or replay:,
    is made here, once.

    Raises:
        InputError: the plan, or the folder of the session, cannot be used.
    """
    kind = scheme(url)
    if kind == "chaos":
        from streamer.sources.chaos import Plan, open_chaos

        return partial(open_chaos, url, name, Plan(url)), None
    if kind == "record":
        from streamer.sources.record import Tape, open_record

        tape = Tape(url)
        return partial(open_record, url, name, tape), knocker(tape.url)
    if kind == "replay":
        from streamer.sources.record import Reel, open_replay

        reel = Reel(url)
        return partial(open_replay, url, name, reel), reel.is_due
    return partial(open_source, url, name=name), knocker(DECODED.sub("", url))


def settle(
    openings: Sequence[Opening], *, wait: bool = False, patient: Callable[[], bool] = lambda: True
) -> list[Source]:
    """Return all sources as soon as it is known how they do; those that are away are tried on for ever.

    Files are waited for, however slowly they open, as long as one is `patient`: what is taken for live loses
    frames.

    If none of several can be opened, or a lone one cannot, that is an error unless told to `wait` for them.

    Raises:
        InputError: one can never be opened, or none can now.
    """
    links = [opening.link for opening in openings]
    try:
        _await(openings, patient)
        sources = [opening.source() for opening in openings]
        away = [link.refusal for link in links if isinstance(link.refusal, InputError)]
        if len(away) == len(links) and not wait:
            raise away[0]
    except BaseException:
        for link in links:
            link.leave()
        raise
    return sources


def _await(openings: Sequence[Opening], patient: Callable[[], bool]) -> None:
    """Wait until all files are settled, and the others too, or one is open and their grace is over."""
    opened_at = float("inf")
    for opening in sorted(openings, key=lambda opening: not opening.is_local):
        while not opening.link.settled.wait(LOOK):
            if not patient():
                return
            if opened_at == float("inf") and any(other.link.source is not None for other in openings):
                opened_at = time.monotonic()
            if not opening.is_local and time.monotonic() - opened_at > GRACE:
                return

"""Delivery: the thread that takes records from a spool to wherever they go, until they arrive."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from streamer.sinks.spool import Spool
from streamer.sources.reconnect import Backoff, Patience
from streamer.urls import redact

__all__ = ["Away", "Courier", "Delivery", "Refused"]

log = logging.getLogger(__name__)

BATCH = 500  # records that are sent and acknowledged together
LOOK = 0.25  # seconds between two looks at whether to end, and at an idle connection
SYNC = 0.5  # seconds between two syncs: of that much at most is sent again what a kill of ours cut off
SAY = 1.0  # seconds between two lines about losses
LONGEST = 200  # characters of what the far end says that are told
PAUSES = Patience(shortest=0.25, longest=4.0, good=0.0)


class Away(Exception):  # noqa: N818 - a state, not a defect
    """The far end cannot be reached now; what it has not acknowledged is sent again."""


class Refused(Exception):  # noqa: N818 - it is about one record, and final
    """The far end will never take these records, however often they are sent."""


class Courier(Protocol):
    """One connection, made when it is constructed; every call is bounded in time and may raise Away."""

    def send(self, lines: list[bytes]) -> None:
        """Send records in order and return once the far end has them all. Raises Refused."""

    def idle(self) -> None:
        """Look after a connection over which nothing is to be sent now."""

    def close(self) -> None:
        """Let go of it; never raises."""


class Delivery:
    """Runs until `close`; nobody waits for it but `close`, and that with a limit."""

    def __init__(self, name: str, spool: Spool, connect: Callable[[], Courier]) -> None:
        self.counts: Counter[str] = Counter()  # delivered, refused, lost connections
        self._name = name  # without secrets
        self._spool = spool
        self._connect = connect
        self._backoff = Backoff(PAUSES)
        self._stopped = threading.Event()
        self._lines: list[bytes] = []  # taken and not yet delivered
        self._place = 0  # where they end
        self._most = BATCH  # that are sent together: fewer where so many were not taken in time
        self._synced = self._said = time.monotonic()
        self._known: Counter[str] = Counter()  # why -> lost records that were spoken of
        self._trouble = self._spool_trouble = ""  # what was said last
        self._thread = threading.Thread(target=self._run, name=f"deliver:{name}", daemon=True)
        self._thread.start()

    def close(self, linger: float) -> None:
        """Deliver what is left for at most `linger` seconds, end, and say what stays in the spool."""
        until = time.monotonic() + linger
        while self._spool.undelivered and time.monotonic() < until and self._thread.is_alive():
            self._stopped.wait(0.01)
        self._stopped.set()
        self._thread.join(LOOK * 4)
        self._sync()  # a folder that was removed is found out
        self._say_losses()
        if left := self._spool.undelivered:
            log.warning("%s: %d bytes of records stay in the spool for the next run", self._name, left)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._converse()
            except Exception as error:  # whatever a client library raises, records are kept and sent again
                self.counts["lost connections"] += 1
                kind = "" if isinstance(error, Away) else f"{type(error).__name__}: "
                trouble = _told(f"{kind}{error}")
                if trouble != self._trouble:
                    self._trouble = trouble
                    log.warning("%s: %s, records are kept and sent later", self._name, trouble)
                self._rest(self._backoff.pause(lasting=False))
        self._sync()

    def _converse(self) -> None:
        courier = self._connect()
        try:
            while not self._stopped.is_set():
                self._sync_now_and_then()
                if not self._lines:
                    self._lines, self._place = self._spool.take(BATCH, LOOK)
                if self._lines:
                    self._deliver(courier)
                else:
                    self._spool.commit(self._place)  # past lines that were damaged
                    courier.idle()
        finally:
            courier.close()

    def _deliver(self, courier: Courier) -> None:
        while self._lines and not self._stopped.is_set():
            sent = self._lines[: self._most]
            try:
                courier.send(sent)
                self.counts["delivered"] += len(sent)
                del self._lines[: len(sent)]
            except Refused as refused:
                self._deliver_singly(courier, len(sent), str(refused))
            except Exception:
                self._most = max(self._most // 2, 1)
                raise
            self._most = min(self._most + self._most // 8 + 1, BATCH)
            self._backoff.reset()
            if self._trouble:
                self._trouble = ""
                log.warning("%s: connected again", self._name)
            self._sync_now_and_then()
        if not self._lines:
            self._spool.commit(self._place)

    def _deliver_singly(self, courier: Courier, count: int, reason: str) -> None:
        """Find the records that are refused among the next so many, count them, and deliver the others."""
        for _ in range(count):
            try:
                courier.send(self._lines[:1])
                self.counts["delivered"] += 1
            except Refused as refused:
                self.counts["refused"] += 1
                reason = str(refused)
            del self._lines[0]
        log.warning("%s: %s; refused so far: %d", self._name, _told(reason), self.counts["refused"])

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._stopped.wait(min(left, LOOK)):
            self._sync_now_and_then()

    def _sync_now_and_then(self) -> None:
        now = time.monotonic()
        if now - self._synced > SYNC:
            self._sync()
        if now - self._said > SAY:
            self._said = now
            self._say_losses()

    def _sync(self) -> None:
        self._synced = time.monotonic()
        try:
            self._spool.sync()
            self._spool_trouble = ""
        except OSError as error:
            trouble = error.strerror or str(error)
            if trouble != self._spool_trouble:
                self._spool_trouble = trouble
                log.warning("%s: spool: %s", self._name, trouble)

    def _say_losses(self) -> None:
        lost = self._spool.lost.copy()
        for reason, fresh in (lost - self._known).items():
            log.warning("%s: %s, %d records lost, %d in all", self._name, reason, fresh, lost[reason])
        self._known = lost


def _told(words: str) -> str:
    """Return words of the far end as one line that is safe to print."""
    plain = "".join(char if char.isprintable() else " " for char in redact(words))
    return plain if len(plain) <= LONGEST else plain[: LONGEST - 3] + "..."

"""NATS: each record a message on a subject, acknowledged by the server, or by JetStream where it is asked."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, ClassVar

from streamer.sinks.delivery import Away, Refused
from streamer.sinks.place import Place
from streamer.sinks.publish import Options

__all__ = ["NatsCourier"]

PATIENCE = 5.0  # seconds for which the server may take to answer


@dataclass(frozen=True, slots=True)
class NatsOptions(Options):
    """NATS' own."""

    jetstream: bool = False  # wait until a stream of JetStream has stored each record


class NatsCourier:
    """The client's event loop runs only inside our calls, in the thread of the delivery."""

    options: ClassVar[Options] = NatsOptions()
    needs: ClassVar[tuple[str, str]] = ("nats", "nats-py")
    port: ClassVar[int] = 4222
    path: ClassVar[str] = "subject"
    form: ClassVar[tuple[str, str]] = (
        r"[^\s.*>]+(\.[^\s.*>]+)*",
        "words between dots, without blanks, * and >",
    )

    def __init__(self, place: Place, options: NatsOptions) -> None:
        self._subject, self._jetstream = place.path, options.jetstream
        self._loop = asyncio.new_event_loop()
        self._client: Any = None
        logging.getLogger("nats").setLevel(logging.CRITICAL)  # its own words are Away's
        try:
            self._run(self._connect(place))
        except Away:
            self.close()
            raise

    def send(self, lines: list[bytes]) -> None:
        """Publish records; return once the server has answered for them all."""
        self._run(self._send(lines))

    def idle(self) -> None:
        """Answer the server's pings."""
        self._run(asyncio.sleep(0.001))
        if not self._client.is_connected:
            raise Away("connection lost")

    def close(self) -> None:
        """Close connection and loop."""
        if self._client is not None:
            with contextlib.suppress(Away):
                self._run(self._client.close())
        with contextlib.suppress(Exception):
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _connect(self, place: Place) -> None:
        import nats

        async def ignore(error: Exception) -> None:
            return

        self._client = await nats.connect(
            f"nats://{place.authority}",
            user=place.user or None,
            password=place.password or None,
            connect_timeout=PATIENCE,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            error_cb=ignore,
        )

    async def _send(self, lines: list[bytes]) -> None:
        if self._jetstream:
            stream = self._client.jetstream(timeout=PATIENCE)
            # Each is on its way in its turn; waiting for one answer before the next would take a way there
            # and back for each record, which a far server's would not do in time for a whole batch.
            await asyncio.gather(*(stream.publish(self._subject, line) for line in lines))
            return
        for line in lines:
            await self._client.publish(self._subject, line)
        await self._client.flush(PATIENCE)

    def _run(self, work: Coroutine[Any, Any, Any]) -> None:
        from nats.errors import Error, MaxPayloadError

        try:
            self._loop.run_until_complete(asyncio.wait_for(work, PATIENCE * 2))
        except MaxPayloadError as error:
            raise Refused(str(error)) from error
        except (Error, OSError, TimeoutError) as error:
            raise Away(str(error) or type(error).__name__) from error

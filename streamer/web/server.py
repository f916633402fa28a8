"""Server: the web's one thread, with the event loop in it; nothing of asyncio gets out."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from engines.errors import InputError
from streamer.sinks import Taken
from streamer.web.app import make_app
from streamer.web.guard import App, Guard
from streamer.web.settings import Listen
from streamer.web.shows import Shows

if TYPE_CHECKING:
    from streamer.pipeline import Pipeline

__all__ = ["Server", "bind"]

BACKLOG = 128
HURRY = 10.0  # seconds that a connection has to send its first request
PING = 15.0  # seconds between two pings of a WebSocket, and for which an answer may take
SEND_BUFFER = 256 * 1024  # bytes that the kernel holds for a slow viewer; more would only be seen later
GRACE = 1  # seconds that open replies have at the end
MOST_HEADERS = 16 * 1024  # bytes


class Prompt(H11Protocol):
    """Closes a connection on which no request comes."""

    def connection_made(self, transport: Any) -> None:
        """Begin to wait."""
        super().connection_made(transport)
        self._hurry = self.loop.call_later(HURRY, self._give_up)

    def handle_events(self) -> None:
        """Stop waiting with the first whole request."""
        super().handle_events()
        if vars(self)["cycle"] is not None:
            self._hurry.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._hurry.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        transport, cycle = self.transport, vars(self)["cycle"]
        if cycle is None and transport.get_protocol() is self:  # a WebSocket has one of its own
            transport.abort()


class Server:
    """Serves one pipeline on a socket that is bound already."""

    def __init__(self, listening: socket.socket, listen: Listen, pipeline: Pipeline, shows: Shows) -> None:
        self._socket = listening
        self._listen = listen
        self._pipeline = pipeline
        self._shows = shows
        self._serving = threading.Event()
        self._server: uvicorn.Server | None = None
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    def start(self) -> None:
        """Begin to serve, and return once connections are taken."""
        self._thread.start()
        self._serving.wait()

    def close(self) -> None:
        """End every reply and the thread."""
        if self._server is not None:
            self._server.should_exit = True
        self._thread.join(GRACE + 4.0)

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(self._serve())

    async def _serve(self) -> None:
        app: App = make_app(self._pipeline, self._shows, self._listen.settings.viewers)
        config = uvicorn.Config(
            Guard(app, self._listen),
            http=Prompt,
            ws="websockets-sansio",
            lifespan="off",
            log_config=None,
            log_level="critical",  # Guard tells what goes wrong inside
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws_per_message_deflate=False,  # video does not shrink
            ws_max_size=1024,
            ws_ping_interval=PING,
            ws_ping_timeout=PING,
            h11_max_incomplete_event_size=MOST_HEADERS,
            timeout_graceful_shutdown=GRACE,
        )
        self._server = uvicorn.Server(config)
        self._serving.set()
        await self._server.serve(sockets=[self._socket])


def bind(listen: Listen) -> socket.socket:
    """Return a socket that listens.

    Raises:
        Taken: another process has the port.
        InputError: the address is not this machine's, or not ours to use.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        opened = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InputError(f"http://{listen.host}:{listen.port}: {error.strerror}") from error
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)  # its connections take it over
        opened.bind(address)
        opened.listen(BACKLOG)
    except OSError as error:
        opened.close()
        refused = Taken if error.errno == errno.EADDRINUSE else InputError
        raise refused(
            f"http://{listen.host}:{listen.port}: cannot be listened on: {error.strerror}, "
            "another port or address of this machine would be right"
        ) from error
    return opened

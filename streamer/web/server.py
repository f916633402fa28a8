"""Server: the web's one thread, with the event loop in it; nothing of asyncio gets out."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import sys
import threading
import time
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

log = logging.getLogger(__name__)

BACKLOG = 64
MOST_CONNECTIONS = 256  # and twice the viewers, if that is more; less where the system allows few files
FILES = 4  # of so many files that may be open one may be a connection
SAY = 1.0  # seconds between two lines about what goes wrong outside of a request
HURRY = 10.0  # seconds that a connection has to send its first request
PING = 15.0  # seconds between two pings of a WebSocket, and for which an answer may take
SEND_BUFFER = 256 * 1024  # bytes that the kernel holds for a slow viewer; more would only be seen later
GRACE = 1  # seconds that open replies have at the end
MOST_HEADERS = 16 * 1024  # bytes


class Prompt(H11Protocol):
    """Closes a connection on which no request comes: in time, or as soon as others need its place."""

    most = MOST_CONNECTIONS  # at one time

    def connection_made(self, transport: Any) -> None:
        """Begin to wait; beyond the bound the one that has waited longest goes, else this one."""
        super().connection_made(transport)
        self._hurry = self.loop.call_later(HURRY, self._give_up)
        if len(self.connections) > self.most:
            idle = [one for one in self.connections if isinstance(one, Prompt) and one.is_idle]
            min(idle, key=lambda one: one.deadline).drop()

    @property
    def is_idle(self) -> bool:
        """True until a first whole request has come."""
        return vars(self)["cycle"] is None

    @property
    def deadline(self) -> float:
        """When it is given up, in the loop's time."""
        return self._hurry.when()

    def drop(self) -> None:
        """Cut it."""
        self.connections.discard(self)
        self.transport.abort()

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
        if self.is_idle and self.transport.get_protocol() is self:  # a WebSocket has one of its own
            self.drop()


class Complaints:
    """Says what goes wrong in the event loop outside of a request: one line a second at most."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._said = -SAY  # time.monotonic()
        self._unsaid = 0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Hear of an error, as asyncio tells it."""
        now = time.monotonic()
        if now - self._said < SAY:
            self._unsaid += 1
            return
        words = [str(context["message"])]
        if error := context.get("exception"):
            words.append(f"{type(error).__name__}: {error}")
        if self._unsaid:
            words.append(f"and {self._unsaid} more")
        self._said, self._unsaid = now, 0
        log.error("%s: %s", self._where, ", ".join(words))


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
        class Bounded(Prompt):
            most = _most_connections(self._listen.settings.viewers)

        listen = self._listen
        asyncio.get_running_loop().set_exception_handler(Complaints(f"http://{listen.host}:{listen.port}"))
        app: App = make_app(self._pipeline, self._shows, self._listen.settings.viewers)
        config = uvicorn.Config(
            Guard(app, self._listen),
            http=Bounded,
            backlog=BACKLOG,  # asyncio takes so many at once, before any of them can be cut
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


def _most_connections(viewers: int) -> int:
    wanted = max(MOST_CONNECTIONS, 2 * viewers)
    if sys.platform == "win32":
        return wanted
    import resource

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = files // FILES if files != resource.RLIM_INFINITY else MOST_CONNECTIONS
    return max(min(wanted, allowed), 1)


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
        if sys.platform != "win32":  # where it would let two processes have one port
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

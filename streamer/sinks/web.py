"""The live page as a sink: ``http://127.0.0.1:8080``; everything behind it is in streamer.web."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from engines.errors import InputError
from engines.spec import ModelSpec
from streamer.frame import Frame
from streamer.sinks.address import Address
from streamer.sources import SourceInfo
from streamer.urls import redact
from streamer.web.settings import Listen, read_listen

if TYPE_CHECKING:
    from streamer.pipeline import Pipeline
    from streamer.web.server import Server

__all__ = ["WebSink"]

NEEDED = ("starlette", "uvicorn", "websockets", "prometheus_client")


class WebSink:
    """Shows all streams, with the pipeline's figures and controls, to whoever opens the page.

    It draws and encodes only while somebody watches, and once for all of them. It serves from `attend` on.
    """

    def __init__(self, address: Address, info: SourceInfo, spec: ModelSpec) -> None:
        listen = _checked(address)
        from streamer.web.server import bind
        from streamer.web.shows import Shows

        self._listen: Listen = listen
        self._shows = Shows(listen.settings, spec)
        self._socket = bind(listen)
        self._servers: list[Server] = []
        self.port: int = self._socket.getsockname()[1]  # the one that was free, where 0 was asked for

    @staticmethod
    def check(address: Address) -> None:
        """Raise InputError for what is not installed, and for an address that cannot be listened on."""
        listen = _checked(address)
        from streamer.web.server import bind

        bind(listen).close()

    def attend(self, pipeline: Pipeline) -> None:
        """Serve this pipeline's figures and controls from now on."""
        from streamer.sinks.studio import Studio
        from streamer.web.server import Server

        def studio(stream: str) -> Studio:
            member = pipeline.streams.get(stream)
            return member.studio if member is not None else Studio()  # of a frame that outlives its stream

        self._shows.studio = studio
        server = Server(self._socket, self._listen, pipeline, self._shows)
        self._servers.append(server)
        server.start()

    def write(self, frame: Frame) -> None:
        """Show one frame to those who watch; no viewer can hold it up."""
        self._shows.write(frame)

    def forget(self, stream: str) -> None:
        """End the show of a stream that was removed."""
        self._shows.forget(stream)

    def close(self) -> None:
        """End every viewer's stream, and free the port."""
        self._shows.close()
        for server in self._servers:
            server.close()
        self._socket.close()


def _checked(address: Address) -> Listen:
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise InputError(
            f"{redact(address.url)}: the live page needs {', '.join(missing)}: pip install 'streamer[web]'"
        )
    return read_listen(address.url)

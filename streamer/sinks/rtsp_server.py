"""An RTSP server in a thread of its own: it hands on RTP packets that others make, over TCP and UDP.

RTSP 1.0 by RFC 2326: OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, TEARDOWN, GET_PARAMETER and SET_PARAMETER; Basic
authorisation by RFC 7617; H.264 described by RFC 6184, its parameter sets in the stream itself; sound is
a track of its own.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import logging
import re
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Coroutine
from typing import Any, ClassVar
from urllib.parse import unquote

from engines.errors import InputError
from streamer.sinks.rtsp_lines import Line, open_line

__all__ = ["PAYLOAD", "Channel", "RtspServer"]

log = logging.getLogger(__name__)

PAYLOAD = 96  # RTP's payload type
VIDEO, SOUND = 0, 1  # tracks
MOST_CLIENTS = 64
LONGEST_HEAD = 8192  # bytes of a request's lines
LONGEST_BODY = 65_536
FULLEST = 1 << 20  # bytes that wait for one client; what comes then is not for it
PATIENCE = 10.0  # seconds for which a client may take nothing of what waits
IDLE = 60.0  # seconds for which a client that does not play may stay silent; told as the time-out
HURRY = 10.0  # seconds that a client has to ask for something that it may have
SILENCE = 2  # time-outs after which a viewer by UDP of whom nothing is heard is gone
BACKLOG = 64  # pictures on their way from the encoder's thread to ours
CSEQ = re.compile(r"[0-9]{1,10}")
VERBS = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, TEARDOWN, GET_PARAMETER, SET_PARAMETER"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Channel:
    """What one name on the server stands for. `send` belongs to one thread; the rest to the server's."""

    def __init__(self, name: str, login: str, loop: asyncio.AbstractEventLoop) -> None:
        self.name = name
        self.login = login  # user:password that is asked for, "" = none
        self.sound: tuple[str, ...] = ()  # what SDP says of the track of sound, none = there is none now
        self.viewers: tuple[Client, ...] = ()
        self.newcomers = False  # somebody waits for a keyframe
        self.counts: Counter[str] = Counter()  # pictures sent, pictures skipped for slow clients
        self._loop = loop
        self._waiting = 0  # pictures handed over and not sent yet
        self._sounding = 0  # and so of the sound of frames

    def send(self, packets: list[bytes], *, is_key: bool, at: float = 0.0, report: bytes = b"") -> None:
        """Hand the RTP packets of the picture at a second to whoever watches; never blocks.

        ``report`` is one of the track of sound, for those who hear it.
        """
        if self._waiting >= BACKLOG:
            self.counts["skipped"] += 1
            self.newcomers = True
            return
        self._waiting += 1
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._deliver, packets, is_key, at, report)

    def send_sound(self, pieces: list[tuple[float, list[bytes]]]) -> None:
        """Hand sound, each packet's second and its RTP packets, to whoever hears it; never blocks."""
        if not pieces or self._sounding >= BACKLOG:
            return
        self._sounding += 1
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._deliver_sound, pieces)

    def _deliver_sound(self, pieces: list[tuple[float, list[bytes]]]) -> None:
        self._sounding -= 1
        for viewer in self.viewers:
            if not viewer.is_apart:
                viewer.send([packet for at, piece in pieces if at >= viewer.begin for packet in piece], SOUND)

    def _deliver(self, packets: list[bytes], is_key: bool, at: float, report: bytes) -> None:
        self._waiting -= 1
        self.counts["sent"] += 1
        for viewer in self.viewers:
            if is_key and viewer.is_apart:
                viewer.is_apart, viewer.begin = False, at
            if viewer.is_apart:
                continue
            if report:
                viewer.send([report], SOUND)
            if not viewer.send(packets):
                self.counts["skipped"] += 1
                viewer.is_apart = True
            elif viewer.lags:
                viewer.lags = False
        if any(viewer.is_apart and not viewer.lags for viewer in self.viewers):
            self.newcomers = True


class Client:
    """One connection and how packets reach it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.session = secrets.token_hex(8)
        self.channel: Channel | None = None
        self.is_apart = True  # pictures are of no use to it before a keyframe
        self.lags = False  # it took nothing for a while
        self.is_known = False  # it has asked for something that it may have
        self.heard = time.monotonic()  # when it last asked for or reported something
        self.begin = 0.0  # seconds of the stream, of the picture that it began with
        self._since = 0.0  # time.monotonic() from which on it took nothing
        self._lines: dict[int, Line] = {}  # by track

    def send(self, packets: list[bytes], track: int = VIDEO) -> bool:
        """Send a track's packets, if it is wanted; False where the client is too slow for them."""
        line = self._lines.get(track)
        if line is None:
            return True
        if not line.by_udp and self.writer.transport.is_closing():
            return True  # its end is on its way
        if line.waiting > FULLEST:
            self.lags = True
            if not line.by_udp:
                self._lose_patience()
            return False
        self._since = 0.0
        line.send(packets)
        return True

    def _lose_patience(self) -> None:
        now = time.monotonic()
        self._since = self._since or now
        if now - self._since > PATIENCE:
            self.writer.transport.abort()

    async def set_up(self, asked: str, track: int) -> str:
        """Choose how a track goes by a Transport header; return the answer to it, "" where none suits."""
        self.unset(track)
        opened = await open_line(asked, track, self.writer, self._hear)
        if opened is None:
            return ""
        self._lines[track], answer = opened
        return answer

    def _hear(self) -> None:
        self.heard = time.monotonic()

    @property
    def left(self) -> float | None:
        """Seconds for which it may say nothing more; None where a connection that takes data says enough."""
        if not self.is_known:
            return max(self.heard + HURRY - time.monotonic(), 0.0)
        plays = self.channel is not None and self in self.channel.viewers
        if plays and not any(line.by_udp for line in self._lines.values()):
            return None
        return max(self.heard + (SILENCE if plays else 1) * IDLE - time.monotonic(), 0.0)

    async def answer(self, text: str) -> None:
        """Send the answer to a request, and wait while too much waits for the client already."""
        self.writer.write(text.encode())
        await asyncio.wait_for(self.writer.drain(), PATIENCE)

    @property
    def is_set_up(self) -> bool:
        """True once it is known how packets go."""
        return bool(self._lines)

    def unset(self, *tracks: int) -> None:
        """Let go of how these tracks go, or all."""
        for track in tracks or tuple(self._lines):
            if line := self._lines.pop(track, None):
                line.close()


class RtspServer:
    """One listening port; `at` gives the server of an address, `release` ends it after its last user."""

    _running: ClassVar[dict[tuple[str, int], RtspServer]] = {}
    _guard: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def at(cls, host: str, port: int) -> RtspServer:
        """Return the server of this address, started if need be; port 0 is any free one, for one user.

        Raises InputError where it cannot listen there.
        """
        with cls._guard:
            server = cls._running.get((host, port))
            if server is None:
                server = cls(host, port)
                if port:
                    cls._running[host, port] = server
            server._users += 1
            return server

    def __init__(self, host: str, port: int) -> None:
        self._key = (host, port)
        self._users = 0
        self._channels: dict[str, Channel] = {}
        self._clients: set[Client] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"rtsp:{port}", daemon=True)
        self._thread.start()
        try:
            self._call(self._listen(host, port))
        except OSError as error:
            self._end()
            raise InputError(f"rtsp://{host}:{port}: cannot listen: {error.strerror}") from error
        if host not in LOOPBACK:
            log.warning("rtsp://%s:%d: open to the network", host, self.port)

    def release(self) -> None:
        """Let go of the server; its last user ends it."""
        with self._guard:
            self._users -= 1
            if self._users:
                return
            self._running.pop(self._key, None)
        self._call(self._close())
        self._end()

    def open(self, name: str, login: str = "") -> Channel:
        """Add a name to what is served. Raises InputError where it is served already."""
        channel = Channel(name, login, self._loop)
        with self._guard:
            if name in self._channels:
                raise InputError(
                    f"rtsp://{self._key[0]}:{self.port}/{name}: two sinks, give each its own name"
                )
            self._channels[name] = channel
        return channel

    def shut(self, channel: Channel) -> None:
        """End a channel and the connections of those who watch it."""
        with self._guard:
            self._channels.pop(channel.name, None)
        self._call(self._cut(channel))

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10.0)

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10.0)
        self._loop.close()

    async def _listen(self, host: str, port: int) -> None:
        self._server = await asyncio.start_server(self._serve, host, port, limit=LONGEST_HEAD)
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def _cut(self, channel: Channel) -> None:
        for client in tuple(self._clients):
            if client.channel is channel:
                _hang_up(client.writer)

    async def _close(self) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._clients) >= MOST_CLIENTS and not self._make_room():
            writer.write(b"RTSP/1.0 503 Service Unavailable\r\n\r\n")
            _hang_up(writer)
            return
        client = Client(reader, writer)
        self._clients.add(client)
        self._tasks.add(task)
        try:
            _keep_alive(writer)
            await self._converse(client)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, ValueError):
            pass  # it went, said nothing for too long, or something else than RTSP
        except asyncio.CancelledError:
            pass  # the server ends; asyncio's streams of Python 3.11 would tell of it as of a fault
        finally:
            self._leave(client)
            client.unset()
            _hang_up(writer)
            self._clients.discard(client)
            self._tasks.discard(task)

    def _make_room(self) -> bool:
        """Cut whoever has long been here and uses it least; False where all are about to watch."""
        idle = [client for client in self._clients if not client.is_set_up]
        if not idle:
            return False
        least = min(idle, key=lambda client: (client.is_known, client.heard))
        least.writer.transport.abort()
        self._clients.discard(least)
        return True

    async def _converse(self, client: Client) -> None:
        while True:
            start = await _first_byte(client)
            if start == b"$":  # a receiver's report
                head = await asyncio.wait_for(client.reader.readexactly(3), PATIENCE)
                size = int.from_bytes(head[1:], "big")
                await asyncio.wait_for(client.reader.readexactly(size), PATIENCE)
                continue
            head = start + await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), PATIENCE)
            request, *lines = head.decode("latin-1").strip().split("\r\n")
            fields = {key.strip().lower(): value.strip() for key, _, value in map(_split, lines)}
            if body := int(fields.get("content-length", "0")):
                if not 0 < body <= LONGEST_BODY:
                    raise ValueError("body")
                await asyncio.wait_for(client.reader.readexactly(body), PATIENCE)
            number = fields.get("cseq", "0")
            if not CSEQ.fullmatch(number):
                raise ValueError("CSeq")
            status, extra, content = await self._answer(client, request, fields)
            reply = [f"RTSP/1.0 {status}", f"CSeq: {number}", "Server: streamer", *extra]
            if content:
                reply.append(f"Content-Length: {len(content.encode())}")
            await client.answer("\r\n".join([*reply, "", content]))
            if status.startswith("200") and request.startswith("PLAY "):
                self._join(client)
            if request.startswith("TEARDOWN "):
                return

    async def _answer(
        self, client: Client, request: str, fields: dict[str, str]
    ) -> tuple[str, list[str], str]:
        """Return status, headers and body of the answer to a request."""
        verb, _, rest = request.partition(" ")
        url, _, version = rest.partition(" ")
        if version != "RTSP/1.0":
            raise ValueError(request)
        if verb == "OPTIONS":
            client.is_known |= not any(channel.login for channel in self._channels.values())
            return "200 OK", [f"Public: {VERBS}"], ""
        channel = self._channels.get(_name_of(url))
        if channel is None and verb in ("DESCRIBE", "SETUP"):
            return "404 Not Found", [], ""
        channel = channel or client.channel
        if channel is not None and not _is_welcome(channel.login, fields.get("authorization", "")):
            return "401 Unauthorized", ['WWW-Authenticate: Basic realm="streamer"'], ""
        client.is_known |= channel is not None
        session = [f"Session: {client.session};timeout={IDLE:.0f}"]
        sound = channel.sound if channel is not None else ()
        if verb == "DESCRIBE":
            base = f"Content-Base: {url.rstrip('/')}/"
            return "200 OK", [base, "Content-Type: application/sdp"], _sdp(_name_of(url), sound)
        if verb == "SETUP":
            track = _track_of(url)
            if track != VIDEO and not (track == SOUND and sound):
                return "404 Not Found", [], ""
            self._leave(client)
            if client.channel is not channel:
                client.unset()
            client.channel = channel
            transport = await client.set_up(fields.get("transport", ""), track)
            if not transport:
                return "461 Unsupported Transport", [], ""
            return "200 OK", [*session, f"Transport: {transport}"], ""
        if verb == "PLAY":
            if not client.is_set_up:
                return "455 Method Not Valid in This State", [], ""
            return "200 OK", [*session, "Range: npt=now-"], ""
        if verb in ("PAUSE", "TEARDOWN"):
            self._leave(client)
            return "200 OK", session, ""
        if verb in ("GET_PARAMETER", "SET_PARAMETER"):
            return "200 OK", session, ""
        return "501 Not Implemented", [f"Public: {VERBS}"], ""

    def _join(self, client: Client) -> None:
        channel = client.channel
        if channel is not None and client not in channel.viewers:
            client.is_apart = True
            client.writer.transport.set_write_buffer_limits(2 * FULLEST, FULLEST)  # pictures end at FULLEST
            channel.viewers = (*channel.viewers, client)
            channel.newcomers = True

    def _leave(self, client: Client) -> None:
        channel = client.channel
        if channel is not None:
            channel.viewers = tuple(other for other in channel.viewers if other is not client)


def _keep_alive(writer: asyncio.StreamWriter) -> None:
    """Let the system find out that a client is gone though its connection was never closed."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(round(IDLE), 1))


def _hang_up(writer: asyncio.StreamWriter) -> None:
    """Close a connection once what waits for it is taken, or is not for too long."""
    writer.close()
    asyncio.get_running_loop().call_later(PATIENCE, writer.transport.abort)


async def _first_byte(client: Client) -> bytes:
    """Wait for what a client says next. Raises TimeoutError once nothing was heard of it for too long."""
    while True:
        try:
            byte = await asyncio.wait_for(client.reader.readexactly(1), client.left)
        except TimeoutError:
            if client.left:  # it has reported by UDP meanwhile
                continue
            raise
        if client.is_known:
            client.heard = time.monotonic()
        return byte


def _split(line: str) -> tuple[str, str, str]:
    return line.partition(":")


def _name_of(url: str) -> str:
    """Return the name that a request's URL is about, without its track."""
    path = re.sub(r"^rtsps?://[^/]*", "", url).partition("?")[0]
    return unquote(re.sub(r"/trackID=\d+/?$|/$", "", path).lstrip("/"))


def _track_of(url: str) -> int:
    found = re.search(r"/trackID=(\d{1,9})/?$", url)
    return int(found[1]) if found else VIDEO


def _is_welcome(login: str, said: str) -> bool:
    wanted = "Basic " + base64.b64encode(login.encode()).decode()
    return not login or hmac.compare_digest(wanted.encode(), said.encode())


def _sdp(name: str, sound: tuple[str, ...]) -> str:
    return "\r\n".join(
        [
            "v=0",
            "o=- 0 0 IN IP4 127.0.0.1",
            f"s={name}",
            "c=IN IP4 0.0.0.0",
            "t=0 0",
            "a=control:*",
            f"m=video 0 RTP/AVP {PAYLOAD}",
            f"a=rtpmap:{PAYLOAD} H264/90000",
            f"a=fmtp:{PAYLOAD} packetization-mode=1",
            f"a=control:trackID={VIDEO}",
            *((*sound, f"a=control:trackID={SOUND}") if sound else ()),
            "",
        ]
    )

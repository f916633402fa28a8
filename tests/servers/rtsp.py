"""An RTSP camera for tests: clips served live over TCP or UDP, with faults on demand.

RTSP by RFC 2326 (OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER; Basic authorisation of RFC 7617),
RTP and sender reports by RFC 3550, H.264 payload by RFC 6184 (single NAL units and FU-A).
"""

from __future__ import annotations

import asyncio
import base64
import random
import re
import struct
import threading
import time
from collections.abc import Coroutine, Iterator
from types import TracebackType

from .clip import Clip

__all__ = ["RtspServer"]

PAYLOAD, SSRC, RATE = 96, 0x5EED, 90_000
ROOM = 1380  # bytes of payload in one RTP packet
NTP_EPOCH = 2_208_988_800  # seconds from 1900 to 1970
SPLIT = re.compile(b"\x00\x00\x00?\x01")


class Session:
    """One client's connection."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.path = ""
        self.playing = False
        self.channels = (0, 1)  # of interleaved RTP and RTCP
        self.sockets: list[asyncio.DatagramTransport] = []  # for RTP and RTCP by UDP

    def send(self, data: bytes, *, control: bool = False) -> None:
        """Send one packet; a client that does not read loses it."""
        if self.sockets:
            self.sockets[control].sendto(data)
        elif self.writer.transport.get_write_buffer_size() < 4 << 20:
            self.writer.write(b"$" + bytes([self.channels[control]]) + len(data).to_bytes(2, "big") + data)

    def close(self) -> None:
        for socket in self.sockets:
            socket.close()
        self.writer.close()


class RtspServer:
    """Serves ``clips`` (path -> Clip) from its own thread; their pictures go on while nobody looks.

    The attributes below may be changed from any thread while it runs.
    """

    def __init__(self, clips: dict[str, Clip], *, login: str = "") -> None:
        self.clips = dict(clips)
        self.login = login  # "user:password" that is asked for; "" = none
        self.mute = False  # accept connections and never answer
        self.stalled = False  # send no packet
        self.drop = 0.0  # part of the RTP packets that is lost
        self.flip = 0.0  # part of the RTP packets in which bytes are changed
        self.shift = 0.0  # seconds added to the time stamps
        self.requests: list[str] = []
        self.port = 0
        self._random = random.Random(1)
        self._sessions: set[Session] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rtsp-server", daemon=True)
        self._players: dict[str, asyncio.Task[None]] = {}
        self._server: asyncio.Server | None = None

    def __enter__(self) -> RtspServer:
        self._thread.start()
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()
        self._call(self._cancel())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def url(self, path: str = "/cam") -> str:
        login = f"{self.login}@" if self.login else ""
        return f"rtsp://{login}127.0.0.1:{self.port}{path}"

    @property
    def readers(self) -> int:
        """How many clients are being sent pictures."""
        return sum(session.playing for session in tuple(self._sessions))

    def up(self) -> None:
        """Listen, at the port of before if there was one."""
        self._call(self._listen())

    def down(self) -> None:
        """Stop listening and cut every connection."""
        self._call(self._unlisten())

    def kick(self) -> None:
        """Cut every connection; new ones are welcome."""
        self._call(self._cut())

    def _call(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _unlisten(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._cut()

    async def _cut(self) -> None:
        for session in tuple(self._sessions):
            session.close()

    async def _cancel(self) -> None:
        for task in self._players.values():
            task.cancel()
        await asyncio.gather(*self._players.values(), return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(writer)
        self._sessions.add(session)
        try:
            while True:
                start = await reader.readexactly(1)
                if start == b"$":  # a receiver report
                    await reader.readexactly(int.from_bytes((await reader.readexactly(3))[1:], "big"))
                    continue
                head = (start + await reader.readuntil(b"\r\n\r\n")).decode()
                request, *lines = head.strip().split("\r\n")
                fields = {key.strip().lower(): value.strip() for key, _, value in map(_split, lines)}
                self.requests.append(request)
                if not self.mute:
                    await self._answer(session, request, fields)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._sessions.discard(session)
            session.playing = False
            session.close()

    async def _answer(self, session: Session, request: str, fields: dict[str, str]) -> None:
        verb, url, _ = request.split(" ", 2)
        path = re.sub(r"^rtsp://[^/]*|\?.*$|/?(trackID=0)?/?$", "", url)

        def reply(status: str, *lines: str, body: str = "") -> None:
            if body:
                lines = (*lines, f"Content-Length: {len(body)}")
            text = "\r\n".join([f"RTSP/1.0 {status}", f"CSeq: {fields.get('cseq', '0')}", *lines])
            session.writer.write(f"{text}\r\n\r\n{body}".encode())

        wanted = "Basic " + base64.b64encode(self.login.encode()).decode()
        if verb == "OPTIONS":
            reply("200 OK", "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER")
        elif self.login and fields.get("authorization") != wanted:
            reply("401 Unauthorized", 'WWW-Authenticate: Basic realm="test"')
        elif path not in self.clips:
            reply("404 Not Found")
        elif verb == "DESCRIBE":
            reply("200 OK", f"Content-Base: {url.rstrip('/')}/", "Content-Type: application/sdp", body=SDP)
        elif verb == "SETUP":
            session.path = path
            transport = await self._transport(session, fields["transport"])
            reply("200 OK", "Session: 1;timeout=60", f"Transport: {transport}")
        elif verb == "PLAY":
            reply("200 OK", "Session: 1", "Range: npt=0.000-")
            session.playing = True
            if path not in self._players:
                self._players[path] = asyncio.create_task(self._play(path))
        elif verb == "TEARDOWN":
            reply("200 OK", "Session: 1")
            session.playing = False
        else:
            reply("200 OK", "Session: 1")

    async def _transport(self, session: Session, asked: str) -> str:
        if "TCP" in asked:
            found = re.search(r"interleaved=(\d+)-(\d+)", asked)
            session.channels = (int(found[1]), int(found[2])) if found else (0, 1)
            return f"RTP/AVP/TCP;unicast;interleaved={session.channels[0]}-{session.channels[1]}"
        found = re.search(r"client_port=(\d+)-(\d+)", asked)
        assert found, asked
        ports = []
        for port in found.groups():
            socket, _ = await self._loop.create_datagram_endpoint(
                asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0), remote_addr=("127.0.0.1", int(port))
            )
            session.sockets.append(socket)
            ports.append(socket.get_extra_info("sockname")[1])
        return f"RTP/AVP;unicast;client_port={found[1]}-{found[2]};server_port={ports[0]}-{ports[1]}"

    async def _play(self, path: str) -> None:
        began, sequence, count, sent = time.monotonic(), 0, 0, 0
        while True:
            clip = self.clips[path]
            stamp = round((count / clip.fps + self.shift) * RATE) & 0xFFFFFFFF
            readers = [session for session in self._sessions if session.playing and session.path == path]
            if count % round(clip.fps) == 0 and not self.stalled:
                for session in readers:
                    session.send(_report(stamp, sent), control=True)
            for payload, last in _payloads(clip.units[count % len(clip.units)]):
                header = struct.pack("!BBHII", 0x80, last << 7 | PAYLOAD, sequence, stamp, SSRC)
                sequence = sequence + 1 & 0xFFFF
                sent += 1
                if self.stalled or self._random.random() < self.drop:
                    continue
                if self._random.random() < self.flip:
                    payload = self._flipped(payload)
                for session in readers:
                    session.send(header + payload)
            count += 1
            await asyncio.sleep(max(began + count / clip.fps - time.monotonic(), 0))

    def _flipped(self, payload: bytes) -> bytes:
        spoilt = bytearray(payload)
        for _ in range(8):
            spoilt[self._random.randrange(len(spoilt) // 2, len(spoilt))] ^= 0xFF
        return bytes(spoilt)


SDP = "\r\n".join(
    [
        "v=0",
        "o=- 0 0 IN IP4 127.0.0.1",
        "s=camera",
        "c=IN IP4 0.0.0.0",
        "t=0 0",
        "a=control:*",
        f"m=video 0 RTP/AVP {PAYLOAD}",
        f"a=rtpmap:{PAYLOAD} H264/{RATE}",
        f"a=fmtp:{PAYLOAD} packetization-mode=1",
        "a=control:trackID=0",
        "",
    ]
)


def _split(line: str) -> tuple[str, str, str]:
    return line.partition(":")


def _payloads(unit: bytes) -> Iterator[tuple[bytes, bool]]:
    """Yield the RTP payloads of an access unit, and whether each is its last."""
    nals = [nal for nal in SPLIT.split(unit) if nal]
    for at, nal in enumerate(nals):
        final = at == len(nals) - 1
        if len(nal) <= ROOM:
            yield nal, final
            continue
        indicator, kind, body = nal[0] & 0xE0 | 28, nal[0] & 0x1F, nal[1:]
        for start in range(0, len(body), ROOM):
            end = start + ROOM >= len(body)
            header = (start == 0) << 7 | end << 6 | kind
            yield bytes([indicator, header]) + body[start : start + ROOM], final and end


def _report(stamp: int, sent: int) -> bytes:
    """Return a sender report that ties a time stamp to the wall clock of now."""
    now = time.time() + NTP_EPOCH
    return struct.pack(
        "!BBHIIIIII",
        0x80,
        200,
        6,
        SSRC,
        int(now),
        int(now % 1 * 2**32),
        stamp,
        sent,
        sent * ROOM & 0xFFFFFFFF,
    )

"""Lines by which an RTSP client gets the RTP and RTCP packets of one track: in its connection, or by UDP."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol

__all__ = ["Datagrams", "Interleaved", "Line", "is_rtcp", "open_line"]


class Line(Protocol):
    """How one track goes."""

    by_udp: bool

    @property
    def waiting(self) -> int:
        """Bytes that the network has not taken."""

    def send(self, packets: Sequence[bytes]) -> None:
        """Send packets; never blocks."""

    def close(self) -> None:
        """Free what belongs to this line alone."""


class Interleaved:
    """Two channels within the client's connection (RFC 2326, 10.12)."""

    by_udp = False

    def __init__(self, writer: asyncio.StreamWriter, rtp: int, rtcp: int) -> None:
        self._writer = writer
        self._channels = rtp, rtcp

    @property
    def waiting(self) -> int:
        size: int = self._writer.transport.get_write_buffer_size()
        return size

    def send(self, packets: Sequence[bytes]) -> None:
        self._writer.write(
            b"".join(
                b"$%c%b%b" % (self._channels[is_rtcp(packet)], len(packet).to_bytes(2, "big"), packet)
                for packet in packets
            )
        )

    def close(self) -> None:
        pass


class Datagrams:
    """A pair of sockets."""

    by_udp = True

    def __init__(self, sockets: Sequence[asyncio.DatagramTransport]) -> None:
        """Send RTP by the first one, RTCP by the second."""
        self._sockets = sockets

    @property
    def waiting(self) -> int:
        # asyncio keeps what a slow network does not take, for as long as it does not
        sizes: list[int] = [one.get_write_buffer_size() for one in self._sockets]  # type: ignore[attr-defined]
        return max(sizes)

    def send(self, packets: Sequence[bytes]) -> None:
        for packet in packets:
            self._sockets[is_rtcp(packet)].sendto(packet)

    def close(self) -> None:
        for transport in self._sockets:
            transport.close()


async def open_line(
    asked: str, track: int, writer: asyncio.StreamWriter, heard: Callable[[], None]
) -> tuple[Line, str] | None:
    """Open what a Transport header asks for; return it and the answer, None where nothing there suits.

    ``heard`` is called for every report of the receiver by UDP. Raises OSError.
    """
    for offer in asked.split(","):
        if "multicast" in offer or "RECORD" in offer.upper():
            continue
        if "TCP" in offer:
            found = re.search(r"interleaved=(\d{1,3})-(\d{1,3})", offer)
            pair = (int(found[1]), int(found[2])) if found else (2 * track, 2 * track + 1)
            if max(pair) > 255:
                continue
            answer = f"RTP/AVP/TCP;unicast;interleaved={pair[0]}-{pair[1]}"
            return Interleaved(writer, *pair), answer
        found = re.search(r"client_port=(\d{1,5})-(\d{1,5})", offer)
        if found and 0 < int(found[1]) < 65536 and 0 < int(found[2]) < 65536:
            return await _open_datagrams((int(found[1]), int(found[2])), writer, heard)
    return None


async def _open_datagrams(
    ports: tuple[int, int], writer: asyncio.StreamWriter, heard: Callable[[], None]
) -> tuple[Line, str]:
    """Send by UDP, to the address of the connection and nowhere else."""
    loop = asyncio.get_running_loop()
    here = writer.get_extra_info("sockname")[0]
    there = writer.get_extra_info("peername")[0]
    sockets: list[asyncio.DatagramTransport] = []
    try:
        for port in ports:
            transport, _ = await loop.create_datagram_endpoint(
                lambda: _Ear(heard), local_addr=(here, 0), remote_addr=(there, port)
            )
            sockets.append(transport)
    except BaseException:
        Datagrams(sockets).close()
        raise
    own = [transport.get_extra_info("sockname")[1] for transport in sockets]
    answer = f"RTP/AVP;unicast;client_port={ports[0]}-{ports[1]};server_port={own[0]}-{own[1]}"
    return Datagrams(sockets), answer


class _Ear(asyncio.DatagramProtocol):
    """Hears the reports of a receiver by UDP."""

    def __init__(self, heard: Callable[[], None]) -> None:
        self._heard = heard

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        if len(data) > 1 and is_rtcp(data):
            self._heard()


def is_rtcp(packet: bytes) -> bool:
    """Tell reports from media (RFC 5761, 4)."""
    return 192 <= packet[1] <= 223

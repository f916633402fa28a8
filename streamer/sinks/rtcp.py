"""RTCP: the sender's reports (RFC 3550, 6.4 and 6.5) by which a player keeps pictures and sound in step."""

from __future__ import annotations

import struct
from collections.abc import Sequence

__all__ = ["Sender"]

NTP = 2_208_988_800  # seconds from NTP's era to Unix'
SENDER_REPORT, DESCRIPTION = 200, 202
CNAME = 1
HEAD = 12  # bytes of an RTP packet before its payload


class Sender:
    """What one track has sent, and which RTP time stamp belongs to which second."""

    def __init__(self, clock: int, name: bytes, *, source: int = 0, stamp: int = 0) -> None:
        """Count for a track of ``clock`` ticks a second; tracks that belong together share the ``name``.

        ``source`` (SSRC) and ``stamp``, that of second 0, may be told before the first packet.
        """
        self._clock, self._name = clock, name
        self._at, self._stamp, self._source = 0.0, stamp, source
        self._packets = self._octets = 0

    def note(self, at: float, packets: Sequence[bytes]) -> None:
        """Take note of RTP packets, the first of whose time stamps stands for ``at`` seconds."""
        for packet in packets[:1]:
            self._at, self._stamp, self._source = at, *struct.unpack_from(">II", packet, 4)
        self._packets += len(packets)
        self._octets += sum(map(len, packets)) - HEAD * len(packets)

    def report(self, at: float, wall: float) -> bytes:
        """Return a report that ``at`` seconds were ``wall``, a Unix time."""
        since = round((at - self._at) * self._clock)
        seconds, fraction = divmod(round((wall + NTP) * (1 << 32)), 1 << 32)
        report = struct.pack(
            ">IIIIII",
            self._source,
            seconds & 0xFFFFFFFF,
            fraction,
            (self._stamp + since) & 0xFFFFFFFF,
            self._packets & 0xFFFFFFFF,
            self._octets & 0xFFFFFFFF,
        )
        items = bytes((CNAME, len(self._name))) + self._name
        description = (
            struct.pack(">I", self._source) + items + bytes(4 - len(items) % 4)
        )  # ends in one to four zeros
        return _packet(0, SENDER_REPORT, report) + _packet(1, DESCRIPTION, description)


def _packet(count: int, kind: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 2 << 6 | count, kind, len(content) // 4) + content

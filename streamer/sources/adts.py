"""ADTS: the head that every packet of AAC has in broadcasts; other containers tell the same once for all."""

from __future__ import annotations

__all__ = ["unwrap"]

SYNC = 0xFFF
RATES = 13  # sampling frequency indices that mean one
HEAD, CHECKSUM = 7, 2  # bytes


def unwrap(data: bytes) -> tuple[bytes, bytes]:
    """Return a packet's AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1) and what is behind its ADTS head.

    Raises:
        ValueError: there is no such head (ISO/IEC 14496-3, 1.A.2), or is of a kind without such a config.
    """
    bits = int.from_bytes(data[:HEAD])
    if len(data) <= HEAD + CHECKSUM or bits >> 44 != SYNC or bits >> 41 & 3:
        raise ValueError("not a packet of ADTS")
    kind, rate, channels = (bits >> 38 & 3) + 1, bits >> 34 & 15, bits >> 30 & 7
    if rate >= RATES or not channels or bits & 3:
        raise ValueError("channels or blocks of ADTS that a config of two bytes cannot tell")
    config = kind << 11 | rate << 7 | channels << 3
    is_checked = not bits >> 40 & 1
    return config.to_bytes(2), data[HEAD + CHECKSUM * is_checked :]

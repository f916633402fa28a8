"""Place: where a sink on the network sends to, taken from its URL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from engines.errors import InputError
from streamer.sinks.address import Address
from streamer.urls import encode_login, redact

__all__ = ["Place", "place_of"]

BARE = "/%:@!$&'()*+,;=~"  # what may stand in a path as it is, and what begins that which may not (RFC 3986)


@dataclass(frozen=True, slots=True)
class Place:
    """A host, a port and what is there."""

    shown: str  # the URL without secrets
    scheme: str
    host: str
    port: int
    path: str  # topic, key or subject: what follows the first slash, decoded
    user: str = ""
    password: str = ""
    written: str = ""  # the path percent-encoded

    @property
    def authority(self) -> str:
        """Host and port, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def place_of(address: Address, *, port: int, path: str, host: str = "", any_port: bool = False) -> Place:
    """Take ``scheme://user:password@host:port/path`` apart.

    ``port`` stands in for one that is not given; ``path`` is what a user calls what must follow the host, ""
    where nothing must; ``host`` stands in for none; ``any_port`` lets 0 stand for one that is free. Raises
    InputError for what is missing.
    """
    url = encode_login(address.kind + address.path)
    shown = redact(url)
    parts = urlsplit(url)
    try:
        found = parts.port
        if found == 0 and not any_port:
            raise ValueError("port 0")
    except ValueError as error:
        raise InputError(f"{shown}: port: must be a number from 1 to 65535") from error
    name = parts.hostname or host
    if not address.path.startswith("//") or not name:
        raise InputError(f"{shown}: no host, would be {_form(address.kind, port, path)}")
    written = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", quote(parts.path.lstrip("/"), safe=BARE))
    place = unquote(written)
    if path and not place:
        raise InputError(f"{shown}: no {path}, would be {_form(address.kind, port, path)}")
    return Place(
        shown,
        parts.scheme,
        name,
        port if found is None else found,
        place,
        unquote(parts.username or ""),
        unquote(parts.password or ""),
        written,
    )


def _form(kind: str, port: int, path: str) -> str:
    return f"{kind}//HOST:{port}{'/' + path.upper() if path else ''}"

"""Webhook: records as JSON arrays, POSTed to a service."""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import re
import socket
import time
from dataclasses import dataclass
from typing import Any, ClassVar

from streamer.sinks.delivery import Away, Refused
from streamer.sinks.place import Place
from streamer.sinks.publish import ANY, Options

__all__ = ["WebhookCourier"]

PATIENCE = 10.0  # seconds for which the service may take to answer, to its last byte
LONGEST = 16_384  # bytes of an answer that are read
FINAL = (400, 413, 415, 422)  # it understood, and will not take this


@dataclass(frozen=True, slots=True)
class WebhookOptions(Options):
    """A webhook's own."""

    token: str = ""  # sent as `Authorization: Bearer`

    def __post_init__(self) -> None:
        Options.__post_init__(self)
        if not re.fullmatch(r"[!-~]*", self.token):  # http.client's own refusal would show it
            raise ValueError("token: letters, digits and signs of ASCII without blanks would be right")


class WebhookCourier:
    """One connection that is kept; any answer of 200 to 299 is an acknowledgement, whatever its body."""

    options: ClassVar[Options] = WebhookOptions()
    needs: ClassVar[tuple[str, str]] = ("", "")
    port: ClassVar[int] = 0  # the scheme's own
    path: ClassVar[str] = ""
    form: ClassVar[tuple[str, str]] = ANY

    def __init__(self, place: Place, options: WebhookOptions) -> None:
        secure = place.scheme.endswith("https")
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._connection = kind(place.host, place.port or None, timeout=PATIENCE)
        self._connection.response_class = _Answer
        self._path = "/" + place.written
        self._headers = {"Content-Type": "application/json"}
        if options.token:
            self._headers["Authorization"] = f"Bearer {options.token}"
        elif place.user:
            login = base64.b64encode(f"{place.user}:{place.password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {login}"

    def send(self, lines: list[bytes]) -> None:
        """POST the records as one array and read the answer."""
        try:
            if self._connection.sock is not None:
                self._connection.sock.settimeout(PATIENCE)
            self._connection.request("POST", self._path, b"[" + b",".join(lines) + b"]", self._headers)
            answer = self._connection.getresponse()
            answer.read(LONGEST)
            if not answer.isclosed():  # there is more: the status counts, and the connection is of no use
                answer.close()
                self._connection.close()
        except (OSError, http.client.HTTPException) as error:
            raise Away(str(error) or type(error).__name__) from error
        if answer.status in FINAL:
            raise Refused(f"answers {answer.status} {answer.reason}")
        if not 200 <= answer.status < 300:
            raise Away(f"answers {answer.status} {answer.reason}")

    def idle(self) -> None:
        """Nothing to look after: a connection that was closed is made anew."""

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self._connection.close()


class _Answer(http.client.HTTPResponse):
    """An answer that has a time limit as a whole, however it drips."""

    def __init__(self, sock: socket.socket, *rest: Any, **more: Any) -> None:
        super().__init__(sock, *rest, **more)
        self.fp.close()
        self.fp = io.BufferedReader(_Hurried(sock, time.monotonic() + PATIENCE))


class _Hurried(io.RawIOBase):
    """What comes over a connection up to a moment."""

    def __init__(self, connection: socket.socket, until: float) -> None:
        self._connection = connection
        self._stream = connection.makefile("rb", buffering=0)  # keeps it open when it is closed by name
        self._until = until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._connection.settimeout(max(self._until - time.monotonic(), 0.001))
        return self._stream.readinto(buffer)

    def close(self) -> None:
        self._stream.close()
        super().close()

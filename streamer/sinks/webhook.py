"""Webhook: records as JSON arrays, POSTed to a service."""

from __future__ import annotations

import base64
import contextlib
import http.client
from dataclasses import dataclass
from typing import ClassVar

from streamer.sinks.delivery import Away, Refused
from streamer.sinks.place import Place
from streamer.sinks.publish import Options

__all__ = ["WebhookCourier"]

PATIENCE = 10.0  # seconds for which the service may take to answer
FINAL = (400, 413, 415, 422)  # it understood, and will not take this


@dataclass(frozen=True, slots=True)
class WebhookOptions(Options):
    """A webhook's own."""

    token: str = ""  # sent as `Authorization: Bearer`


class WebhookCourier:
    """One connection that is kept; any answer of 200 to 299 is an acknowledgement."""

    options: ClassVar[Options] = WebhookOptions()
    needs: ClassVar[tuple[str, str]] = ("", "")
    port: ClassVar[int] = 0  # the scheme's own
    path: ClassVar[str] = ""

    def __init__(self, place: Place, options: WebhookOptions) -> None:
        secure = place.scheme.endswith("https")
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._connection = kind(place.host, place.port or None, timeout=PATIENCE)
        self._path = "/" + place.path
        self._headers = {"Content-Type": "application/json"}
        if options.token:
            self._headers["Authorization"] = f"Bearer {options.token}"
        elif place.user:
            login = base64.b64encode(f"{place.user}:{place.password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {login}"

    def send(self, lines: list[bytes]) -> None:
        """POST the records as one array and read the answer."""
        try:
            self._connection.request("POST", self._path, b"[" + b",".join(lines) + b"]", self._headers)
            answer = self._connection.getresponse()
            answer.read()
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

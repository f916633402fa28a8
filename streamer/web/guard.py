"""Guard: what stands in front of every request: host, origin, token, sizes, and headers of every reply."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import logging
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.exceptions import HTTPException

from streamer.web.settings import Listen

__all__ = ["Guard"]

log = logging.getLogger(__name__)

PATIENCE = 10.0  # seconds that a client has to take one piece of a reply
MOST_BODY = 4096  # bytes; the largest request is a source's URL and name
MOST_PATH = 1024  # bytes, path and query together
COOKIE = "streamer"
OPEN_PATHS = ("/healthz",)  # a supervisor's probe; says nothing but that we live
LOCAL = {"localhost", "127.0.0.1", "::1"}
HEADERS = [
    (b"content-security-policy", b"default-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
     b"frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]  # fmt: skip

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class Guard:
    """ASGI middleware. A page of another origin, a name that was bent to our address (DNS rebinding), a wrong
    token, a body or path too long: each is refused before anything else sees it.

    A token comes as `Authorization: Bearer`, as the password of Basic, or once as ``/?token=...``, which is
    answered with a cookie that is good until the process ends.
    """

    def __init__(self, app: App, listen: Listen) -> None:
        self._app = app
        self._listen = listen
        self._session = secrets.token_urlsafe(32)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal:
            await _refuse(scope, send, *refusal)
        elif scope["type"] == "websocket":
            await self._app(scope, receive, send)
        elif self._brings_token(scope):
            await self._welcome(send)
        elif int(headers.get("content-length") or 0) > MOST_BODY:
            await _refuse(scope, send, 413, f"body: {MOST_BODY} bytes at most")
        else:
            await self._pass(scope, receive, send)

    def _refusal(self, scope: MutableMapping[str, Any], headers: dict[str, str]) -> tuple[int, str] | None:
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MOST_PATH:
            return 414, f"path: {MOST_PATH} bytes at most"
        if not headers.get("content-length", "0").isdecimal():
            return 400, "content-length: not a number"
        if self._listen.is_loopback and _name(headers.get("host", "")) not in LOCAL | {self._listen.host}:
            return 421, "host: this page is served to this machine alone"
        if not _is_same_origin(scope, headers):
            return 403, "origin: another page's requests are not taken"
        if scope["path"] in OPEN_PATHS or not self._listen.token or self._brings_token(scope):
            return None
        if self._may_enter(headers):
            return None
        return 401, "a token is needed: open /?token=... or send it as Authorization: Bearer"

    def _brings_token(self, scope: MutableMapping[str, Any]) -> bool:
        if scope["type"] != "http" or scope["path"] != "/" or not self._listen.token:
            return False
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        return _same(given, self._listen.token)

    def _may_enter(self, headers: dict[str, str]) -> bool:
        kind, _, value = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return _same(value.strip(), self._listen.token)
        if kind.lower() == "basic":
            return _same(_password(value), self._listen.token)
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and _same(cookie.value, self._session)

    async def _welcome(self, send: Send) -> None:
        """Swap the token in the address for a cookie, so that it stays in no history and no referrer."""
        cookie = f"{COOKIE}={self._session}; HttpOnly; SameSite=Strict; Path=/"
        extra = [(b"location", b"/"), (b"set-cookie", cookie.encode())]
        await send({"type": "http.response.start", "status": 303, "headers": [*HEADERS, *extra]})
        await send({"type": "http.response.body", "body": b""})

    async def _pass(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        taken, too_slow = 0, False

        async def bounded() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > MOST_BODY:
                raise HTTPException(413, f"body: {MOST_BODY} bytes at most", {"connection": "close"})
            return message

        async def covered(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS]
            try:
                await asyncio.wait_for(send(message), PATIENCE)
            except TimeoutError:
                nonlocal too_slow
                too_slow = True
                raise

        try:
            await self._app(scope, bounded, covered)
        except Exception:
            if not too_slow:
                log.exception("%s %s", scope["method"], scope["path"])


async def _refuse(scope: MutableMapping[str, Any], send: Send, status: int, why: str) -> None:
    """Answer and close the connection: a body that may follow is not read."""
    headers = [*HEADERS, (b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="streamer"'))
    kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
    body = why.encode() + b"\n"
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": f"{kind}.start", "status": status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})


def _name(host: str) -> str:
    """Return the host of a Host header without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_same_origin(scope: MutableMapping[str, Any], headers: dict[str, str]) -> bool:
    origin = headers.get("origin")
    if origin is not None:
        return origin.partition("://")[2] == headers.get("host", "")
    site = headers.get("sec-fetch-site", "none")
    return site in ("none", "same-origin") or (scope["path"] == "/" and scope.get("method") == "GET")


def _password(basic: str) -> str:
    try:
        return base64.b64decode(basic, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())

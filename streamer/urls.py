"""URLs of sources and sinks: what may be shown of them, and the options they carry."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, quote

from engines.errors import InputError, nearest
from engines.secrets import redact

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Options = TypeVar("Options", bound=DataclassInstance)

__all__ = ["discreet", "encode_login", "read_query", "redact", "scheme"]

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
PLAIN_HOST = re.compile(r"[\w-]+(?:\.[\w-]+)+\.?(?::\d*)?|[\w-]+:\d+|localhost|\[[\w:.%]+\](?::\d*)?")
ANY_HOST = re.compile(r"[\w.-]+(?::\d*)?")
WORDS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def discreet(say: Callable[[str], None]) -> Callable[[str], None]:
    """Return what says a sentence without the secrets of the URLs in it."""
    return lambda sentence: say(redact(sentence))


def scheme(url: str) -> str:
    """Return what stands before the colon, in lower case, or "" for a path."""
    found = SCHEME.match(url)
    return found[1].lower() if found else ""


def encode_login(url: str) -> str:
    """Return a URL with what must not stand bare in its user name and password percent-encoded (RFC 3986).

    A password may hold ``@``, ``:``, ``/``, ``#`` or ``?``, a user name ``@``. The login ends at the first
    ``@`` behind which an address or a name with dots or port stands, or at the first behind which any name
    of a host can stand.
    """
    head, slashes, rest = url.partition("://")
    ends = [found.start() for found in re.finditer("@", rest)] if slashes else []
    hosts = {at: re.split(r"[/?#]", rest[at + 1 :], maxsplit=1)[0] for at in ends}
    for form in (PLAIN_HOST, ANY_HOST):
        for at in ends:
            user, colon, password = rest[:at].partition(":")
            if form.fullmatch(hosts[at]) and not re.search("[/?#]", user):
                return f"{head}://{_encode(user)}{colon}{_encode(password)}@{rest[at + 1 :]}"
    return url


def _encode(text: str) -> str:
    """Encode all but unreserved characters and what is encoded already."""
    return re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", quote(text, safe="%"))


def read_query(url: str, options: Options) -> Options:
    """Return the options with the fields that ``?key=value&...`` of the URL names replaced.

    A field's type is that of its default: bool (1/0), int, float, str, or (width, height) as ``640x360``.

    Raises:
        InputError: an unknown key, or a value that is not of its type or that the options refuse.
    """
    known = [field.name for field in fields(options)]
    values: dict[str, Any] = {}
    for key, text in parse_qsl(url.rpartition("?")[2] if "?" in url else "", keep_blank_values=True):
        if key not in known:
            hint = nearest(key, known) or f", known are {', '.join(known)}"
            raise InputError(f"{redact(url)}: unknown key {key!r}{hint}")
        values[key] = _parse(f"{redact(url)}: {key}", text, getattr(options, key))
    try:
        return replace(options, **values)
    except ValueError as error:
        raise InputError(f"{redact(url)}: {error}") from error


def _parse(where: str, text: str, default: object) -> object:
    try:
        if isinstance(default, bool):
            return WORDS[text.lower()]
        if isinstance(default, tuple):
            width, height = text.lower().split("x")
            return int(width), int(height)
        return type(default)(text)  # type: ignore[call-arg]
    except (ValueError, KeyError) as error:
        right = {bool: "0 or 1", tuple: "a size such as 640x360", int: "a whole number", float: "a number"}
        raise InputError(f"{where}: {text!r}, {right[type(default)]} would be right") from error

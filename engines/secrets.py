"""Secrets: the passwords and tokens in URLs, which no message, log, metric or page may show."""

from __future__ import annotations

import re

__all__ = ["redact"]

# What begins a URL, also one with a slip in it: `rtsp:/`, `rtsp//`, and a path made of one, `http:/`.
_SCHEMES = "https?|kafka|mqtts?|nats|rediss?|rtmps?|rtsps?|srt|tcp|udp"
_START = rf"(?:\w\w:/{{1,3}}|//|\b(?:{_SCHEMES}):)"
_LOGIN = re.compile(
    rf"({_START}[^:/\s[]*):\S*@"
)  # to the last @: what of a URL is password is not always sure
_LOGIN_WITH_SLASH = re.compile(r"(//[^:\s[@?]*/[^:\s[@?]*):\S*@(?=[^\s/?#@]+[/:])")
_KEYS = "pas|pwd|pw|psw|token|secret|key|auth|sig|credential|hdn[te]"
_IN_QUERY = re.compile(rf"([?&](?:[^=&#\s]*(?:{_KEYS})[^=&#\s]*|p)=)[^&#\s]+", re.IGNORECASE)
_STREAM_ID = re.compile(r"([?&]streamid=)[^&\s]+", re.IGNORECASE)  # SRT's: a login may be in it, behind a #
# XMeye's cameras: rtsp://host/user=admin_password=..._channel=1_stream=0.sdp
_IN_PATH = re.compile(
    r"([/_;](?:password|passwd|pass|pwd|psw|token)=)[^&#?/\s]*?(?=_[a-z]+=|[&#?/\s]|$)", re.IGNORECASE
)


def redact(text: str) -> str:
    """Return the text with the passwords and tokens of the URLs in it replaced by ``***``."""
    for login in (_LOGIN, _LOGIN_WITH_SLASH):
        text = login.sub(r"\1:***@", text)
    for secret in (_IN_QUERY, _STREAM_ID, _IN_PATH):
        text = secret.sub(r"\1***", text)
    return text

"""Bodies: what requests bring, checked field by field."""

from __future__ import annotations

import json
import re
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request

__all__ = ["read_object", "wanted_stream"]

MOST_URL = 2048
NAME = re.compile(r"[\w.-]{1,64}")


async def read_object(request: Request) -> dict[str, Any]:
    """Return the JSON object that a request brings. Raises HTTPException."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "content-type: application/json would be right")
    try:
        told = json.loads(await request.body())
        json.dumps(told, ensure_ascii=False, allow_nan=False).encode()  # no half characters, no NaN
    except (ValueError, RecursionError):
        raise HTTPException(400, "body: not JSON") from None
    if not isinstance(told, dict):
        raise HTTPException(400, "body: an object would be right")
    return told


def wanted_stream(told: dict[str, Any]) -> tuple[str, str, int]:
    """Return URL, name and `every` of a request for a new stream. Raises HTTPException."""
    if not told.keys() <= {"url", "name", "every"}:
        raise HTTPException(400, "body: an object with url, and perhaps name and every, would be right")
    url, name, every = told.get("url"), told.get("name", ""), told.get("every", 1)
    if not isinstance(url, str) or not url.strip() or "\0" in url:
        raise HTTPException(400, "url: a source's URL would be right")
    if len(url) > MOST_URL or (url.strip().isdecimal() and len(url.strip()) > 3):
        raise HTTPException(400, f"url: no webcam has this number, and {MOST_URL} characters are the most")
    if not isinstance(name, str) or (name and not NAME.fullmatch(name)):
        raise HTTPException(400, "name: up to 64 letters, digits, dots, dashes or underscores would be right")
    if not isinstance(every, int) or isinstance(every, bool) or not 1 <= every <= 1000:
        raise HTTPException(400, "every: a whole number from 1 to 1000 would be right")
    return url.strip(), name, every

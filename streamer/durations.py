"""Durations as people write them: 150ms, 5s, 2m, or a plain number of seconds."""

from __future__ import annotations

import re

__all__ = ["seconds_of"]

FORM = re.compile(r"([+-]?\d+(?:\.\d+)?|[+-]?\.\d+)(ms|s|m|h|)")
UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


def seconds_of(text: str) -> float:
    """Return the seconds that a duration stands for; ValueError for what is none."""
    found = FORM.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r}, a duration such as 150ms, 5s or 2m would be right")
    return float(found[1]) * UNITS[found[2]]

"""The errors a user can meet, and the exit code each one means.

    Exception
    ├── ValueError ── InputError     wrong usage or input: exit code 2, one sentence, no traceback
    └── RuntimeError ── WorkError    the work itself failed: exit code 1
                        └── CancelledError    who watched it wanted no more of it

A message reads ``where: what: value, what would be right``. Everything else that escapes is a defect of ours.
"""

import difflib
from collections.abc import Iterable

__all__ = ["CancelledError", "InputError", "WorkError", "nearest"]


class InputError(ValueError):
    """What the user gave cannot be used; the message says what would be right."""


class WorkError(RuntimeError):
    """Valid work failed while it ran: a stage, an engine, a disk."""


class CancelledError(WorkError):
    """Work that was ended on purpose, so that nothing else is tried in its place."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``", did you mean 'x'?"`` for the known word closest to ``word``, or ``""``."""
    found = difflib.get_close_matches(word, list(known), n=1)
    return f", did you mean {found[0]!r}?" if found else ""

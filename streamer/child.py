"""Child: a process of ours that does not outlive us, however we end."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from typing import IO, Any

__all__ = ["Child"]

# A process that is no child of ours, told which children there are; its input ends with us and it kills those
# that are left. Linux could do so by itself (PR_SET_PDEATHSIG), but once the thread ends that began a child.
WATCH = """
exec 3<&0
{
    while read -r verb child; do
        case $verb in
        keep) children="$children $child" ;;
        *) left=; for one in $children; do [ "$one" = "$child" ] || left="$left $one"; done; children=$left ;;
        esac
    done
    [ -z "$children" ] || kill -9 $children
} <&3 3<&- &
"""


class Child(subprocess.Popen[bytes]):
    """A process that is killed when this one ends without having ended it: by SIGKILL, by a crash, at once.

    It is in a group of its own, so that Ctrl-C leaves it to us to end it.
    """

    def __init__(self, command: list[str], **pipes: Any) -> None:
        apart = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # Windows' word for it
        super().__init__(command, process_group=0, creationflags=apart, **pipes)
        self._is_known = True
        _watch.tell("keep", self.pid)

    def poll(self) -> int | None:
        """Return how it ended, None while it runs."""
        return self._ended(super().poll())

    def wait(self, timeout: float | None = None) -> int:
        """Return how it ended, once it has. Raises TimeoutExpired."""
        code = super().wait(timeout)
        self._ended(code)
        return code

    def _ended(self, code: int | None) -> int | None:
        if code is not None and self._is_known:
            self._is_known = False
            _watch.tell("drop", self.pid)
        return code


class _Watch:
    """The shell that outlives us; begun with the first child."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._pipe: IO[bytes] | None = None

    def tell(self, verb: str, child: int) -> None:
        """Tell it of a child; where there is no shell, children may be left behind."""
        with self._guard, contextlib.suppress(OSError):
            if self._pipe is None:
                self._pipe = self._begin()
            self._pipe.write(f"{verb} {child}\n".encode())

    def _begin(self) -> IO[bytes]:
        """Start it in a session of its own: Ctrl-C and what kills our group are not for it."""
        shell = subprocess.Popen(
            ["/bin/sh", "-c", WATCH],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        assert shell.stdin is not None
        shell.wait()
        return shell.stdin


_watch = _Watch()

"""JSON lines over TCP, to whoever listens. No answer comes back, so the kernel's word has to do."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import time
from typing import ClassVar

from streamer.sinks.delivery import Away
from streamer.sinks.place import Place
from streamer.sinks.publish import ANY, Options

__all__ = ["TcpCourier"]

SO_NWRITE = 0x1024  # of sys/socket.h on macOS: bytes in the socket's send buffer
PATIENCE = 5.0  # seconds for which the far end may stay silent


class TcpCourier:
    """A record counts as delivered once the far end's kernel has acknowledged its last byte."""

    options: ClassVar[Options] = Options()
    needs: ClassVar[tuple[str, str]] = ("", "")
    port: ClassVar[int] = 5170
    path: ClassVar[str] = ""
    form: ClassVar[tuple[str, str]] = ANY

    def __init__(self, place: Place, options: Options) -> None:
        try:
            self._socket = socket.create_connection((place.host, place.port), PATIENCE)
        except OSError as error:
            raise Away(error.strerror or str(error)) from error

    def send(self, lines: list[bytes]) -> None:
        """Send records and wait until the far end's machine has them."""
        try:
            self._socket.sendall(b"".join(line + b"\n" for line in lines))
            until = time.monotonic() + PATIENCE
            while self._unacknowledged():
                if time.monotonic() > until:
                    raise Away("takes no more")
                time.sleep(0.001)
        except OSError as error:
            raise Away(error.strerror or str(error)) from error
        self.idle()

    def idle(self) -> None:
        """Notice that the far end has closed; what it says is nothing to us."""
        self._socket.settimeout(0)
        try:
            if not self._socket.recv(4096):
                raise Away("closed the connection")
        except BlockingIOError:
            pass
        except OSError as error:
            raise Away(error.strerror or str(error)) from error
        finally:
            self._socket.settimeout(PATIENCE)

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self._socket.close()

    def _unacknowledged(self) -> int:
        """Return the bytes that the far end has not acknowledged; on Windows the kernel does not tell."""
        if sys.platform == "win32":
            return 0
        if sys.platform == "darwin":
            return self._socket.getsockopt(socket.SOL_SOCKET, SO_NWRITE)
        import fcntl
        import termios

        answer = fcntl.ioctl(self._socket, termios.TIOCOUTQ, b"\0" * 4)  # SIOCOUTQ of tcp(7)
        count: int = struct.unpack("i", answer)[0]
        return count

"""SRT, which the FFmpeg inside PyAV was built without: a child ffmpeg reads it and passes the packets on."""

from __future__ import annotations

import contextlib
import subprocess
import threading

from engines.errors import InputError
from streamer.child import Child
from streamer.ffmpeg import find_ffmpeg
from streamer.sources import Unavailable
from streamer.sources.container import Opening, open_container
from streamer.sources.video import OPEN_TIMEOUT, Video
from streamer.urls import redact

__all__ = ["open_srt"]


class Srt(Video):
    """The child's output as a live source; who stops it ends the child."""

    child: Child

    def stop(self) -> None:
        """Ask, from any thread, that the iteration end."""
        super().stop()
        self.child.kill()

    def close(self) -> None:
        """Free everything; called by the thread that iterated."""
        self.child.kill()
        super().close()
        _bury(self.child)


def open_srt(url: str, name: str) -> Srt:
    """Open ``srt://host:port?...`` with the options that FFmpeg's SRT knows, such as passphrase and mode.

    Raises:
        InputError: there is no ffmpeg that knows SRT.
        Unavailable: nothing answers in time.
    """
    program = find_ffmpeg("srt")
    if not program:
        raise InputError(
            f"{redact(url)}: no ffmpeg that knows SRT, pip install 'streamer[publish]' brings one"
        )
    # The URL goes in by a pipe, since every user of a machine can read command lines.
    child = Child(
        [
            *(program, "-hide_banner", "-loglevel", "error", "-fflags", "nobuffer", "-f", "concat"),
            *("-safe", "0", "-protocol_whitelist", "pipe,fd,srt,udp", "-i", "pipe:0"),
            *("-c", "copy", "-f", "mpegts", "-muxdelay", "0", "-flush_packets", "1", "pipe:1"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        child.stdin.write(f"ffconcat version 1.0\nfile '{url.replace(chr(39), '%27')}'\n".encode())
        child.stdin.close()
    patience = threading.Timer(OPEN_TIMEOUT, child.kill)
    patience.daemon = True
    patience.start()
    try:
        container = open_container(url, child.stdout, Opening(format="mpegts"))
        source = Srt(container, url, name, live=True)
    except InputError as error:
        child.kill()
        _bury(child)
        raise Unavailable(f"{redact(url)}: no stream of video within {OPEN_TIMEOUT:.0f} s") from error
    finally:
        patience.cancel()
    source.child = child
    return source


def _bury(child: Child) -> None:
    """Wait for a killed child, so that nothing of it stays."""
    child.wait()
    if child.stdout is not None:
        child.stdout.close()

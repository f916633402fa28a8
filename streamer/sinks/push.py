"""Push: a stream to somebody else's RTSP, RTMP or SRT server, through a child process that can be killed.

FFmpeg's network output can hold a thread, and the interpreter with it, for as long as the far end likes. Here
it holds only the child: what is not taken in time kills it, and another one follows.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

from engines.errors import InputError, WorkError
from engines.spec import ModelSpec
from streamer.child import Child
from streamer.frame import Frame
from streamer.sinks.address import Address
from streamer.sinks.broadcast import PROMPT, Mux, Settings
from streamer.sinks.place import Place, place_of
from streamer.sinks.soundtrack import Soundtrack
from streamer.sinks.studio import Studio
from streamer.sources import SourceInfo
from streamer.sources.reconnect import Backoff, Patience
from streamer.urls import encode_login, read_query, redact

__all__ = ["PushSink"]

log = logging.getLogger(__name__)

FORMS = {"push+rtsp": "rtsp", "push+rtmp": "flv", "push+rtmps": "flv", "push+srt": "mpegts"}
PORTS = {"push+rtsp": 554, "push+rtmp": 1935, "push+rtmps": 443, "push+srt": 9000}
NUT = ("nut", {"flush_packets": "1", "write_index": "0"})  # an index would grow for as long as it runs
ROOM = 4 << 20  # bytes that wait for the child; beyond it counts as stalled
PIECE = 65_536  # bytes that are written at once
PAUSES = Patience(shortest=0.5, longest=10.0, good=10.0)


@dataclass(frozen=True, slots=True)
class PushSettings(Settings):
    """A push's own."""

    patience: float = 5.0  # seconds for which the far end may take nothing

    def __post_init__(self) -> None:
        Settings.__post_init__(self)
        if not 0.1 <= self.patience <= 600:
            raise ValueError(f"patience: {self.patience}, must be from 0.1 to 600")


class PushSink:
    """Pushes one stream to ``push+rtsp://host/path``, ``push+rtmp://`` or ``push+srt://``.

    While nobody takes the stream nothing is encoded; frames that come then are counted as ``away``.
    """

    def __init__(self, address: Address, info: SourceInfo, spec: ModelSpec) -> None:
        self._settings = read_query(address.url, PushSettings())
        place = _place(address)
        command = _command(address, place)
        self._name = place.shown
        self._child = _Child(place.shown, command, self._settings.patience)
        self._share = Studio(fps=lambda: info.fps).share(self._settings)
        self._sound = Soundtrack(place.shown, info.audio, FORMS[place.scheme])
        self._mux: Mux | None = None
        self._tap: _Tap | None = None

    @staticmethod
    def check(address: Address) -> None:
        """Raise InputError for an option or a place that cannot be, where there is no ffmpeg, on Windows."""
        if sys.platform == "win32":  # whose pipes cannot be written with a time-out
            raise InputError(
                f"{redact(address.url)}: Windows cannot push, rtsp: or hls: would serve the stream"
            )
        read_query(address.url, PushSettings())
        _command(address, _place(address))

    @property
    def counts(self) -> Counter[str]:
        """Pictures sent, pictures that came while the far end was away, children started and lost."""
        return self._child.counts.copy()

    def use(self, studio: Studio) -> None:
        """Share the pictures of a studio."""
        self._share = studio.share(self._settings)

    def write(self, frame: Frame) -> None:
        """Encode a frame if somebody takes it; never waits. Raises WorkError."""
        import av

        self._sound.hear(frame)
        tap = self._child.tap
        if tap is not self._tap:
            self._stop()
        if tap is None or not tap.is_open:
            self._share.rest()
            self._child.counts["away"] += 1
            return
        try:
            self._tap = tap
            for part in self._sound.hold(self._share.write(frame)):
                if self._mux is None:
                    self._mux = Mux(tap, NUT, self._share.encoder, in_band=True, sound=self._sound)
                self._mux.write(part)
                self._child.counts["sent"] += 1
            if self._mux is not None:
                self._mux.write_sound(frame)
        except (OSError, av.FFmpegError) as error:
            raise WorkError(f"{self._name}: cannot be encoded: {error}") from error

    def close(self) -> None:
        """Let the child finish what it has, for as long as the far end takes it."""
        self._stop()
        self._child.close()

    def _stop(self) -> None:
        self._share.rest()
        self._sound.release()
        mux, self._mux, self._tap = self._mux, None, None
        if mux is not None:
            mux.close()


class _Tap:
    """Bytes on their way to one child; bounded."""

    def __init__(self) -> None:
        self.is_open = True
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._lock = threading.Lock()
        self._filled = threading.Condition(self._lock)

    def write(self, data: bytes) -> int:
        """Queue what the muxer wrote; too much of it closes the tap."""
        with self._lock:
            if self.is_open and self._size + len(data) > ROOM:
                self.is_open = False
            if self.is_open:
                self._pieces.append(bytes(data))
                self._size += len(data)
            self._filled.notify()
        return len(data)

    def take(self, timeout: float) -> bytes:
        """Return the next piece, or nothing after `timeout` seconds."""
        with self._lock:
            if not self._pieces:
                self._filled.wait(timeout)
            if not self._pieces:
                return b""
            piece = self._pieces.popleft()
            self._size -= len(piece)
            return piece

    def shut(self) -> None:
        with self._lock:
            self.is_open = False
            self._filled.notify()


class _Child:
    """The thread that keeps a child alive and feeds it; `tap` is None while there is none to feed."""

    def __init__(self, name: str, command: list[str], patience: float) -> None:
        self.counts: Counter[str] = Counter()
        self.tap: _Tap | None = None
        self._name = name
        self._command = command
        self._patience = patience
        self._backoff = Backoff(PAUSES)
        self._ending = threading.Event()
        self._said = ""
        self._thread = threading.Thread(target=self._run, name=f"push:{name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End, after what is queued or after as long as the far end may take nothing."""
        self._ending.set()
        if self.tap is not None:
            self.tap.shut()
        self._thread.join(self._patience + 2)

    def _run(self) -> None:
        while not self._ending.is_set():
            began = time.monotonic()
            reason = self._serve()
            if self._ending.is_set():
                return
            self.counts["lost"] += 1
            if reason != self._said:
                self._said = reason
                log.warning("%s: %s, trying again", self._name, reason)
            if time.monotonic() - began > PAUSES.good:
                self._backoff.reset()
            self._ending.wait(self._backoff.pause(lasting=False))

    def _serve(self) -> str:
        """Start a child and feed it until it, or we, end; return why it did."""
        try:
            process = Child(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
        except OSError as error:
            return f"{self._command[0]}: {error.strerror}"
        self.counts["started"] += 1
        words: deque[str] = deque(maxlen=4)
        listener = threading.Thread(target=_listen, args=(process.stderr, words), daemon=True)
        listener.start()
        tap = self.tap = _Tap()
        try:
            reason = self._feed(process, tap)
        finally:
            self.tap = None
            tap.shut()
            _end(process, self._patience if self._ending.is_set() else 0.0)
            listener.join(1.0)
        return redact(words[-1]) if words and reason == "it ended" else reason

    def _feed(self, process: Child, tap: _Tap) -> str:
        assert process.stdin is not None
        if sys.platform == "win32":
            raise NotImplementedError  # see PushSink.check
        pipe = process.stdin.fileno()
        os.set_blocking(pipe, False)
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_WRITE)
            while True:
                data = tap.take(0.25)
                if process.poll() is not None:
                    return "it ended"
                if not data:
                    if self._ending.is_set():
                        return ""
                    if not tap.is_open:
                        return f"takes less than comes, {ROOM >> 20} MiB wait"
                    continue
                while data:
                    if not selector.select(self._patience):
                        return f"takes nothing for {self._patience:g} s"
                    try:
                        data = data[os.write(pipe, data[:PIECE]) :]
                    except BlockingIOError:
                        continue
                    except BrokenPipeError:
                        return "it ended"


def _end(process: Child, patience: float) -> None:
    """Let a child that has its input's end finish; kill it if it does not."""
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.close()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stderr is not None:
        process.stderr.close()


def _listen(stream: Any, words: deque[str]) -> None:
    with contextlib.suppress(OSError, ValueError):
        for line in stream:
            words.append(line.decode(errors="replace").strip())


def _place(address: Address) -> Place:
    scheme = address.kind.rstrip(":")
    return place_of(address, port=PORTS[scheme], path="" if scheme.endswith("srt") else "path")


def _command(address: Address, place: Place) -> list[str]:
    """Return what copies NUT from its standard input to the place. Raises InputError without an ffmpeg."""
    form = FORMS[place.scheme]
    url = encode_login(address.kind.removeprefix("push+") + address.path)
    extra = {
        "rtsp": ["-rtsp_transport", "tcp"],
        "flv": ["-flvflags", "no_duration_filesize"],
        "mpegts": ["-muxdelay", "0"],
    }[form]
    return [
        _ffmpeg(place),
        *("-hide_banner", "-loglevel", "error", "-fflags", "nobuffer", "-probesize", "100000"),
        *("-analyzeduration", "0", "-f", "nut", "-i", "pipe:0", "-c", "copy"),
        *("-flush_packets", "1", "-max_interleave_delta", PROMPT),
        *("-f", form, *extra, url),
    ]


def _ffmpeg(place: Place) -> str:
    try:
        import imageio_ffmpeg

        found: str = imageio_ffmpeg.get_ffmpeg_exe()
        return found
    except (ImportError, RuntimeError):
        pass
    system = shutil.which("ffmpeg")
    if system is None:
        raise InputError(
            f"{place.shown}: no ffmpeg to push with: pip install 'streamer[publish]' would bring one"
        )
    return system

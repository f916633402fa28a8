"""Where frames go: one table from URL scheme or suffix to opener, one Protocol that all of them are."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from engines.errors import InputError
from streamer.frame import Frame
from streamer.sinks.address import Address, parse
from streamer.urls import redact

if TYPE_CHECKING:
    from engines.spec import ModelSpec
    from streamer.pipeline import Pipeline
    from streamer.sinks.studio import Studio
    from streamer.sources import SourceInfo

__all__ = [
    "SINKS",
    "Attendant",
    "Closed",
    "Kind",
    "Opener",
    "Painter",
    "Sink",
    "Taken",
    "check_sink",
    "open_sink",
    "sink_kind",
    "target",
    "wants_overlay",
]


class Taken(InputError):  # noqa: N818 - a state, not a mistake
    """A sink's place, a port, is another process' for now."""


class Closed(Exception):  # noqa: N818 - as queue.Empty: it is news, not a failure
    """The far end wants no more frames: a window's user pressed q, the reader of our stdout went away.

    Raised by `Sink.write`. It ends the run as the last frame would: drain, close, exit code 0, no message.
    """


class Sink(Protocol):
    """Takes frames in order from one thread; opens nothing on disk before the first `write`."""

    def write(self, frame: Frame) -> None:
        """Take one frame; its planes are only valid until the call returns."""

    def close(self) -> None:
        """Finish: what was written is whole and playable afterwards. Called once, also after a failure."""


class Attendant(Sink, Protocol):
    """A sink that shows and steers the pipeline itself, not only its frames."""

    def attend(self, pipeline: Pipeline) -> None:
        """Take the pipeline; called once, before the first `write`, by the thread that will write."""


class Painter(Sink, Protocol):
    """A sink that draws and encodes in a studio, and only when somebody watches."""

    def use(self, studio: Studio) -> None:
        """Take the stream's studio, which others use too; called once, before the first `write`."""


class Opener(Protocol):
    """The class of a sink: made from what is known before the first frame."""

    def __call__(self, address: Address, info: SourceInfo, spec: ModelSpec) -> Sink: ...

    def check(self, address: Address) -> None:
        """Raise InputError for what can be known to be wrong without opening anything."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of sink."""

    opener: str  # "module:class", an Opener
    overlay: bool  # True: it shows pictures, and wants the overlays drawn on those it is given
    shared: bool  # True: one sink takes the frames of all streams; False: one sink for each stream
    main_thread: bool = False  # True: it must be opened, written and closed on the process' main thread
    takes_nothing: bool = False  # True: every frame is dropped, so none need be sent
    attends: bool = False  # True: an Attendant, opened before the first frame
    draws: bool = False  # True: a Painter


VIDEO = Kind("streamer.sinks.video:VideoSink", overlay=True, shared=False)
IMAGES = Kind("streamer.sinks.images:ImageSink", overlay=True, shared=False)
RECORDS = Kind("streamer.sinks.records:RecordSink", overlay=False, shared=True)
PUSH = Kind("streamer.sinks.push:PushSink", overlay=False, shared=False, draws=True)
MESSAGES = Kind("streamer.sinks.publish:PublishSink", overlay=False, shared=True)

SINKS: dict[str, Kind] = {
    ".mp4": VIDEO,
    ".mkv": VIDEO,
    ".mov": VIDEO,
    ".m3u8": Kind("streamer.sinks.hls:HlsSink", overlay=False, shared=False, draws=True),
    "clips:": Kind("streamer.sinks.clips:ClipSink", overlay=False, shared=False, draws=True),
    ".jsonl": RECORDS,
    ".txt": Kind("streamer.sinks.mot:MotSink", overlay=False, shared=False),
    "-": RECORDS,
    ".jpg": IMAGES,
    ".jpeg": IMAGES,
    ".png": IMAGES,
    "window:": Kind("streamer.sinks.window:WindowSink", overlay=True, shared=True, main_thread=True),
    "mqtt:": MESSAGES,
    "mqtts:": MESSAGES,
    "redis:": MESSAGES,
    "rediss:": MESSAGES,
    "nats:": MESSAGES,
    "kafka:": MESSAGES,
    "webhook+http:": MESSAGES,
    "webhook+https:": MESSAGES,
    "tcp:": MESSAGES,
    "http:": Kind("streamer.sinks.web:WebSink", overlay=False, shared=True, attends=True),  # draws by itself
    "rtsp:": Kind("streamer.sinks.rtsp:RtspSink", overlay=False, shared=False, draws=True),
    "push+rtsp:": PUSH,
    "push+rtmp:": PUSH,
    "push+rtmps:": PUSH,
    "push+srt:": PUSH,
    "null:": Kind("streamer.sinks.null:NullSink", overlay=False, shared=True, takes_nothing=True),
}


def sink_kind(url: str) -> Kind:
    """Return what is known of a URL's kind; a path with ``{stream}`` is not shared. InputError if unknown."""
    kind = SINKS[parse(url, "", SINKS).kind]
    if kind.shared and "{stream}" in url:
        return Kind(kind.opener, kind.overlay, shared=False, main_thread=kind.main_thread)
    return kind


def wants_overlay(url: str) -> bool:
    """Tell whether this sink shows pictures to people. InputError for an unknown scheme or suffix."""
    return sink_kind(url).overlay


def target(url: str, stream: str = "") -> str:
    """Return what the sink of this URL and stream writes to: two sinks with equal targets would collide."""
    address = parse(url, stream, SINKS)
    if address.kind.startswith("."):
        return os.path.realpath(address.path)
    return redact(address.kind + address.path) if address.kind != "-" else "-"


def check_sink(url: str) -> None:
    """Raise InputError for all that is known to be wrong before the first frame; leaves nothing on disk."""
    address = parse(url, "", SINKS)
    _load(SINKS[address.kind].opener).check(address)


def open_sink(url: str, *, stream: str = "", info: SourceInfo, spec: ModelSpec) -> Sink:
    """Return the sink of a URL for one stream, or for all streams where its kind is shared.

    Raises InputError for a URL that cannot be used. `write` raises InputError where the first frame finds
    the target unusable, engines.errors.WorkError where it fails later, and `Closed`.
    """
    address = parse(url, stream, SINKS)
    opener = _load(SINKS[address.kind].opener)
    return opener(address, info, spec)


def _load(name: str) -> Opener:
    module, _, attribute = name.partition(":")
    opener: Opener = getattr(importlib.import_module(module), attribute)
    return opener

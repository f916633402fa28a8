"""Shows: the streams as people watch them, drawn and encoded once for all of them, and only for somebody."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from engines.detections import Masks
from engines.spec import ModelSpec
from streamer import planes as pixels
from streamer.analytics.events import described
from streamer.frame import Frame
from streamer.sinks.broadcast import Settings
from streamer.sinks.records import record
from streamer.sinks.studio import Share, Studio
from streamer.web.audience import Audience
from streamer.web.segments import Segmenter

if TYPE_CHECKING:
    from streamer.web.settings import WebSettings

__all__ = ["Show", "Shows"]

SEGMENTS = 60  # that wait for one viewer: two seconds at 30 fps
RECORDS = 256  # that wait for one listener
RECORDS_PER_SECOND = 10.0  # of each stream; a page cannot show more
MJPEG_PER_SECOND = 15.0
MOST_STREAMS = 256  # that are remembered


@dataclass(frozen=True, slots=True)
class Note:
    """One server-sent event."""

    kind: str  # "detections", "event"
    stream: str
    text: str  # JSON


class Show:
    """One stream: its viewers, and its part in an encoder while there are some."""

    def __init__(self, settings: WebSettings, studio: Callable[[], Studio]) -> None:
        self.video: Audience[str | bytes] = Audience(SEGMENTS)
        self.pictures: Audience[bytes] = Audience(1)  # JPEG
        self.encoded = 0  # pictures that the video encoder made for viewers
        self.size = (0, 0)
        self._settings = settings
        self._find = studio
        self._studio: Studio | None = None  # while somebody watches
        self._share: Share | None = None
        self._segmenter: Segmenter | None = None
        self._jpeg_due = 0.0  # frame.captured from which the next JPEG is made
        self._record_due = 0.0  # the same of records

    @property
    def encoders(self) -> int:
        """Video encoders at work for viewers: 1 while somebody watches, else 0; other sinks may share it."""
        return int(self._share is not None)

    def write(self, frame: Frame) -> None:
        """Show a frame to those who watch; costs nothing if nobody does."""
        self.size = frame.size
        if self._share is not None and not len(self.video):
            self.close()
        wants_jpeg = len(self.pictures) and (self.pictures.newcomers or frame.captured >= self._jpeg_due)
        if not len(self.video) and not wants_jpeg:
            self._studio = None
            return
        self._studio = self._studio or self._find()
        if wants_jpeg:
            self.pictures.newcomers = False
            self._jpeg_due = frame.captured + 0.9 / MJPEG_PER_SECOND
            self.pictures.offer(_jpeg(self._studio.draw(frame), self._settings.quality))
        if len(self.video):
            self._film(frame, self._studio)

    def is_record_due(self, frame: Frame) -> bool:
        """Tell whether this frame's detections are told, so that no more than a page can show are."""
        if not frame.inferred or frame.captured < self._record_due:
            return False
        self._record_due = frame.captured + 0.9 / RECORDS_PER_SECOND
        return True

    def close(self) -> None:
        """Leave the encoder to others."""
        if self._share is not None:
            self._share.rest()
        if self._segmenter is not None:
            self._segmenter.close()
        self._share = self._segmenter = None

    def dismiss(self) -> None:
        """Tell those who watch that the stream is over; from any thread."""
        self.video.dismiss()
        self.pictures.dismiss()

    def _film(self, frame: Frame, studio: Studio) -> None:
        settings, audience = self._settings, self.video
        if self._share is None:
            width = settings.width if frame.size[0] > settings.width else 0
            self._share = studio.share(Settings(crf=settings.crf, preset=settings.preset), width=width)
        key, audience.newcomers = audience.newcomers, False
        for part in self._share.write(frame, key=key):
            self.encoded += 1
            film = self._segmenter = self._segmenter or Segmenter(self._share.encoder)
            for segment in film.add(part):
                times = struct.pack("<dd", segment.time, segment.captured)
                head = struct.pack("<dd", -1.0, 0.0) + film.head
                audience.offer(times + segment.data, is_key=segment.is_key, before=head)


class Shows:
    """All streams; `write` belongs to the sink's thread, audiences to the event loop."""

    def __init__(self, settings: WebSettings, spec: ModelSpec) -> None:
        self.notes: Audience[Note] = Audience(RECORDS)
        self.studio: Callable[[str], Studio] = lambda stream: Studio()  # of each stream
        self._settings = settings
        self._spec = spec
        self._shows: dict[str, Show] = {}

    def __getitem__(self, stream: str) -> Show:
        """Return a stream's show, made on first use."""
        if stream not in self._shows:
            if len(self._shows) >= MOST_STREAMS:
                self.forget(next(iter(self._shows)))
            self._shows.setdefault(stream, Show(self._settings, lambda: self.studio(stream)))
        return self._shows[stream]

    def all(self) -> dict[str, Show]:
        """Return stream -> show."""
        return dict(self._shows)

    def write(self, frame: Frame) -> None:
        """Show one frame, and tell what was found in it."""
        show = self[frame.stream]
        show.write(frame)
        if not len(self.notes):
            return
        if show.is_record_due(frame):
            self.notes.offer(Note("detections", frame.stream, _dumped(self._record(frame))))
        for event in frame.events:
            told = described(event, frame.stream, self._spec.classes)
            self.notes.offer(Note("event", frame.stream, _dumped(told)))

    def forget(self, stream: str) -> None:
        """End the show of a stream and its part in an encoder, once nothing of it is under way."""
        show = self._shows.pop(stream, None)
        if show is not None:
            show.close()
            show.dismiss()

    def close(self) -> None:
        """End every show."""
        for show in self.all().values():
            show.close()
            show.dismiss()
        self.notes.dismiss()

    def _record(self, frame: Frame) -> dict[str, Any]:
        """Return the record of docs/record.schema.json without masks: a page draws none."""
        return record(replace(frame, detections=replace(frame.detections, masks=Masks())), self._spec)


def _dumped(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _jpeg(frame: Frame, quality: int) -> bytes:
    import cv2

    bgr = cv2.cvtColor(pixels.to_rgb(frame.planes), cv2.COLOR_RGB2BGR)
    _, picture = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    encoded: bytes = picture.tobytes()
    return encoded

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
from streamer.overlay import Overlay
from streamer.overlay.draw import draw
from streamer.sinks.records import record
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
    """One stream: its viewers, and the encoder that works while there are some."""

    def __init__(self, settings: WebSettings, overlays: list[Overlay], fps: float) -> None:
        self.video: Audience[str | bytes] = Audience(SEGMENTS)
        self.pictures: Audience[bytes] = Audience(1)  # JPEG
        self.encoded = 0  # pictures that went through the video encoder
        self.size = (0, 0)
        self._settings = settings
        self._overlays = overlays
        self._fps = fps
        self._segmenter: Segmenter | None = None
        self._jpeg_due = 0.0  # frame.captured from which the next JPEG is made
        self._record_due = 0.0  # the same of records

    @property
    def encoders(self) -> int:
        """Video encoders that are open: 1 while somebody watches, else 0."""
        return int(self._segmenter is not None)

    def write(self, frame: Frame) -> None:
        """Show a frame to those who watch; costs nothing if nobody does."""
        self.size = frame.size
        if self._segmenter is not None and not len(self.video):
            self.close()
        wants_jpeg = len(self.pictures) and (self.pictures.newcomers or frame.captured >= self._jpeg_due)
        if not len(self.video) and not wants_jpeg:
            return
        drawn = draw(frame, self._overlays)
        if wants_jpeg:
            self.pictures.newcomers = False
            self._jpeg_due = frame.captured + 0.9 / MJPEG_PER_SECOND
            self.pictures.offer(_jpeg(drawn, self._settings.quality))
        if len(self.video):
            if drawn.planes is frame.planes:  # other sinks encode these too
                drawn = replace(drawn, planes=pixels.copy(drawn.planes))
            self._film(drawn)

    def is_record_due(self, frame: Frame) -> bool:
        """Tell whether this frame's detections are told, so that no more than a page can show are."""
        if not frame.inferred or frame.captured < self._record_due:
            return False
        self._record_due = frame.captured + 0.9 / RECORDS_PER_SECOND
        return True

    def close(self) -> None:
        """Free the encoder."""
        if self._segmenter is not None:
            self._segmenter.close()
            self._segmenter = None

    def dismiss(self) -> None:
        """Tell those who watch that the stream is over; from any thread."""
        self.video.dismiss()
        self.pictures.dismiss()

    def _film(self, frame: Frame) -> None:
        settings, audience = self._settings, self.video
        if self._segmenter is None:
            self._segmenter = Segmenter(frame, crf=settings.crf, width=settings.width, fps=self._fps)
        key, audience.newcomers = audience.newcomers, False
        self.encoded += 1
        begin = self._segmenter
        for segment in begin.encode(frame, key=key):
            times = struct.pack("<dd", segment.time, segment.captured)
            head = struct.pack("<dd", -1.0, 0.0) + begin.head
            audience.offer(times + segment.data, is_key=segment.is_key, before=head)


class Shows:
    """All streams; `write` belongs to the sink's thread, audiences to the event loop."""

    def __init__(self, settings: WebSettings, spec: ModelSpec) -> None:
        self.notes: Audience[Note] = Audience(RECORDS)
        self.overlays: Callable[[], list[Overlay]] = list  # makes those of one stream
        self.fps: Callable[[str], float] = lambda stream: 0.0  # what a stream is expected to bring
        self._settings = settings
        self._spec = spec
        self._shows: dict[str, Show] = {}

    def __getitem__(self, stream: str) -> Show:
        """Return a stream's show, made on first use."""
        if stream not in self._shows:
            if len(self._shows) >= MOST_STREAMS:
                self._forget_one()
            made = Show(self._settings, self.overlays(), self.fps(stream))
            self._shows.setdefault(stream, made)
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

    def close(self) -> None:
        """End every show."""
        for show in self.all().values():
            show.close()
            show.dismiss()
        self.notes.dismiss()

    def _record(self, frame: Frame) -> dict[str, Any]:
        """Return the record of docs/record.schema.json without masks: a page draws none."""
        return record(replace(frame, detections=replace(frame.detections, masks=Masks())), self._spec)

    def _forget_one(self) -> None:
        name, show = next(iter(self._shows.items()))
        show.close()
        show.dismiss()
        del self._shows[name]


def _dumped(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _jpeg(frame: Frame, quality: int) -> bytes:
    import cv2

    bgr = cv2.cvtColor(pixels.to_rgb(frame.planes), cv2.COLOR_RGB2BGR)
    _, picture = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    encoded: bytes = picture.tobytes()
    return encoded

"""Video files and streams, decoded one packet at a time so that a broken one costs only its own pictures."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import chain, islice
from typing import TYPE_CHECKING

import av
from av.error import FFmpegError

from engines.errors import InputError, WorkError
from engines.machine import cores
from streamer.audio import AudioPacket, AudioTrack
from streamer.frame import Frame
from streamer.sources import SourceInfo, Unavailable, adts
from streamer.sources.complaints import LOST, Complaints
from streamer.sources.container import (
    Opening,
    audio_of,
    bound_memory,
    check_file,
    open_container,
    reason,
    video_of,
)
from streamer.sources.timeline import TICK, Timeline
from streamer.sources.upright import UPRIGHT, orientation, upright
from streamer.urls import encode_login, redact, scheme

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.codec.hwaccel import HWAccel
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.stream import VideoStream

    # Takes a packet before it is decoded and the time.monotonic() of its arrival; False: it is lost.
    Tap = Callable[[Packet[Stream], float], bool]

__all__ = ["Video", "open_file", "open_network", "open_pattern"]

log = logging.getLogger(__name__)

OPEN_TIMEOUT, READ_TIMEOUT = 10.0, 5.0  # seconds; FFmpeg reports a stall after twice the second
LARGE = 1280 * 720  # pixels from which on decoding is worth several threads
MOST_AHEAD = 1000  # packets among which the first of the sound must be
USUAL_STEP = 0.04  # seconds between pictures where nothing tells
MENDED = 10.0  # seconds after which damage counts as refreshed in a stream that sends no keyframes

# RTSP over TCP: interleaved packets are not lost. FLV tells its streams within 0.1 s but FFmpeg would wait
# for six. HLS starts at the newest segment. `fflags=nobuffer` is left out: it saves no latency and throws the
# packets away that were probed, so that the first picture waits for the next keyframe.
OPTIONS: dict[str, dict[str, str]] = {
    "rtsp": {"rtsp_transport": "tcp"},
    "rtsps": {"rtsp_transport": "tcp"},
    "rtmp": {"analyzeduration": "100000"},
    "rtmps": {"analyzeduration": "100000"},
    "http": {"live_start_index": "-1"},
    "https": {"live_start_index": "-1"},
    "udp": {"fifo_size": "50000", "overrun_nonfatal": "1"},
}
STAMPED_ON_ARRIVAL = {"mpjpeg"}  # demuxers that make times up


def open_file(url: str, name: str, decoder: HWAccel | None = None) -> Video:
    """Open a file that FFmpeg reads, its pictures decoded by the processor or where it is told.

    Raises:
        InputError: it is missing, empty, damaged or holds no video.
    """
    path = url.removeprefix("file://") if url.startswith("file://") else url.removeprefix("file:")
    check_file(path)
    return Video(open_container(url, f"file:{path}", Opening(decoder=decoder)), url, name)


def open_network(url: str, name: str, decoder: HWAccel | None = None) -> Video:
    """Open a stream from the network; every wait is bounded, and nothing is retried.

    Its pictures are decoded by the processor or where it is told.

    Raises:
        Unavailable: nothing answers there in time, it is refused, or gives no picture.
        InputError: it holds no video, or FFmpeg was built without the protocol.
    """
    bound_memory()
    options = dict(OPTIONS.get(scheme(url), {}))
    if scheme(url).startswith("rtsp"):
        options["timeout"] = str(round(READ_TIMEOUT * 1e6))
    opening = Opening(options=options, timeout=(OPEN_TIMEOUT, READ_TIMEOUT), decoder=decoder)
    container = open_container(url, encode_login(url), opening)
    # A file on a web server has an end, so it can wait for us; a feed cannot.
    live = not (scheme(url).startswith("http") and container.duration)
    return Video(container, url, name, live=live)


def open_pattern(url: str, name: str) -> Video:
    """Open a filter graph of FFmpeg's, ``lavfi:testsrc2=size=640x480:rate=30``.

    Raises:
        InputError: FFmpeg does not understand it.
    """
    return Video(open_container(url, url.removeprefix("lavfi:"), Opening(format="lavfi")), url, name)


class Video:
    """A container of FFmpeg's as a source of frames; its first picture is decoded on opening."""

    def __init__(self, container: InputContainer, url: str, name: str, *, live: bool = False) -> None:
        self.name = name
        self.live = live
        self.failures: Counter[str] = Counter()
        self.damaged = 0  # pictures given out although the decoder calls them corrupt
        self._complaints = Complaints()
        self.orientation = UPRIGHT  # EXIF's, of the last picture decoded
        self._tap: Tap | None = None
        self._early: list[tuple[Packet[Stream], float]] = []  # packets that were decoded on opening
        self._url = redact(url)
        self._container = container
        self._stopped = threading.Event()
        try:
            self._video = video_of(container, url)
            self._audio = audio_of(container)
            self._configure()
            self._frames = self._heard() if live else self._decode()
            self._first = self._open_first()
            self.info = self._describe()
        except BaseException:
            self._early.clear()  # or whoever keeps the error keeps them
            container.close()
            raise

    @property
    def stream(self) -> VideoStream:
        """The stream of moving pictures within the container."""
        return self._video

    def listen(self, tap: Tap) -> None:
        """Show each packet that is decoded to a function, from the first on; before the iteration begins."""
        for packet, arrived in self._early:
            tap(packet, arrived)
        self._tap = tap

    def __iter__(self) -> Iterator[Frame]:
        self._early.clear()
        frames = chain((self._first,), self._frames)
        return frames if self.live else self._look_ahead(frames)

    def stop(self) -> None:
        """Ask, from any thread, that the iteration end after the frame at hand."""
        self._stopped.set()

    def close(self) -> None:
        """Free everything; called by the thread that iterated."""
        self._frames.close()
        # Decoder threads end with the interpreter locked; none of them may still have something to log.
        self._video.codec_context.flush_buffers()
        self._container.close()

    @property
    def troubles(self) -> Counter[str]:
        """What FFmpeg's log tells of a live stream: packets lost, complaints of the decoder."""
        return self._complaints.total

    def _configure(self) -> None:
        codec = self._video.codec_context
        several = codec.width * codec.height >= LARGE and cores() > 2 and not codec.is_hwaccel
        # Frame threads are faster but hold back one picture each, which a live stream cannot afford.
        codec.thread_type = "SLICE" if self.live else "AUTO"
        codec.thread_count = min(cores() // 2, 4) if several else 1
        codec.copy_opaque = self.live
        rate = self._video.average_rate or self._video.guessed_rate
        self._fps = float(rate) if rate else 0.0
        self._unit = float(self._video.time_base or 0)  # seconds
        self.aspect = self._video.sample_aspect_ratio or Fraction(1)
        self._rotation = 0
        self._timeline = Timeline(1 / self._fps if self._fps else USUAL_STEP)
        self._stamp_on_arrival = self._container.format.name in STAMPED_ON_ARRIVAL
        # FFmpeg reads ahead when it opens a stream of the network, so that the first pictures are old.
        self._is_camera = "v4l2" in self._container.format.name
        self.piles_up = self.live and not self._stamp_on_arrival and not self._is_camera
        self._began = time.monotonic()
        self._deadline = self._began + OPEN_TIMEOUT
        self._keyed = False  # a keyframe was demuxed
        self._started = False  # a picture was decoded
        self._form = ""  # its pixel format: what a GPU gives is not the codec's
        self._damaged_at = float("-inf")  # when the pictures were last damaged, and not refreshed since
        self._sound: list[AudioPacket] = []  # demuxed since the last picture
        self._is_wrapped = self._audio is not None and _is_wrapped(self._audio)
        self._has_changed = False  # and this was said
        self._config = b""  # of AAC, from the head of its first packet where it has heads

    def _open_first(self) -> Frame:
        first = next(self._frames, None)
        if first is None:
            why = f": {self.failures.most_common(1)[0][0]}" if self.failures else ""
            kind = Unavailable if self.live else InputError
            raise kind(f"{self._url}: no picture in it can be decoded{why}")
        return first

    def _describe(self) -> SourceInfo:
        video, codec = self._video, self._video.codec_context
        duration = (self._container.duration or 0) / 1e6
        if video.duration and video.time_base:
            duration = float(video.duration * video.time_base)
        return SourceInfo(
            size=self._first.size,
            fps=self._fps,
            frames=0 if self.live else video.frames or round(duration * self._fps),
            duration=0.0 if self.live else duration,
            codec=codec.codec.canonical_name,
            pixel_format=self._form,
            primaries=codec.color_primaries,
            transfer=codec.color_trc,
            audio=self._track(),
        )

    def _track(self) -> AudioTrack | None:
        if self._audio is None or self._audio.time_base is None:
            return None
        codec = self._audio.codec_context
        return AudioTrack(
            codec.codec.canonical_name,
            codec.sample_rate,
            codec.layout.name,
            self._audio.time_base,
            codec.extradata or self._config,
            others=len(self._container.streams.audio) - 1,
        )

    def _look_ahead(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """Hold each frame until the next one: that tells its duration, and whose the last sound is."""
        held = next(frames)
        for frame in frames:
            held.duration = frame.pts - held.pts
            yield held
            held = frame
        held.audio += tuple(self._sound)
        yield held

    def _heard(self) -> Generator[Frame, None, None]:
        """Decode with an ear on what FFmpeg logs, which is all that it tells of lost packets."""
        with self._complaints.heard():
            yield from self._decode()

    def _decode(self) -> Generator[Frame, None, None]:
        index = 0
        for packet in self._packets():
            if packet is not None and packet.stream is self._audio:
                self._keep_sound(packet)
                continue
            for picture in self._pictures(packet):
                yield self._frame(picture, index)
                index += 1

    def _packets(self) -> Iterator[Packet[Stream] | None]:
        """Demux until the end or `stop`; None stands for the end after a failure, to empty the decoder."""
        streams = [stream for stream in (self._video, self._audio) if stream is not None]
        packets: Iterator[Packet[Stream]] = self._container.demux(*streams)
        if self._is_wrapped:
            packets = self._listening(packets)
        while not self._stopped.is_set():
            try:
                packet = next(packets)
            except StopIteration:
                return
            except FFmpegError as error:
                if self.live and self._started:
                    raise WorkError(f"{self._url}: connection lost: {reason(error)}") from None
                self.failures[f"read: {reason(error)}"] += 1
                yield None
                return
            if self.live and not self._started and time.monotonic() > self._deadline:
                self.failures["no keyframe in time"] += 1
                return
            if self._is_camera:
                packet = owned(packet)
            yield packet

    def _listening(self, packets: Iterator[Packet[Stream]]) -> Iterator[Packet[Stream]]:
        """Read on to the first packet of sound before any is decoded: its head belongs to what we describe.

        FFmpeg has read it already, to learn the rate.
        """
        ahead: list[Packet[Stream]] = []
        try:
            for packet in islice(packets, MOST_AHEAD):
                ahead.append(packet)
                if packet.stream is self._audio:
                    with suppress(ValueError):
                        self._config, _ = adts.unwrap(bytes(packet))
                        break
        except FFmpegError:
            yield from ahead
            raise
        yield from ahead
        yield from packets

    def _pictures(self, packet: Packet[Stream] | None) -> Sequence[av.VideoFrame]:
        if packet is not None and self.live:
            self._keyed = self._keyed or packet.is_keyframe
            if not self._keyed:
                return ()  # it predicts from pictures sent before we came
        if packet is not None and packet.size and not self._let_pass(packet):
            self._complaints.total[LOST] += 1
            self._damaged_at = time.monotonic()
            return ()
        if packet is not None and self.live:
            packet.opaque = (time.monotonic(), _sent(packet))
        try:
            return self._video.decode(packet)
        except FFmpegError as error:
            self.failures[f"decode: {reason(error)}"] += 1
            self._damaged_at = time.monotonic()
            return ()

    def _let_pass(self, packet: Packet[Stream]) -> bool:
        if not self._started:
            self._early.append((packet, time.monotonic()))
        return self._tap is None or self._tap(packet, time.monotonic())

    def _frame(self, picture: av.VideoFrame, index: int) -> Frame:
        arrived = picture.opaque if self.live else None
        captured, wall = arrived if isinstance(arrived, tuple) else (time.monotonic(), float("nan"))
        if not self._started or picture.rotation != self._rotation:
            self._rotation = picture.rotation
            self.orientation = orientation(picture)
        self._form = self._form or picture.format.name
        self._started = True
        self.damaged += picture.is_corrupt
        pts: float | None = picture.time
        if self._stamp_on_arrival or (pts is None and self.live):
            pts = captured - self._began
        duration = picture.duration * self._unit
        if duration < TICK:  # a parser that does not know says 1 unit
            duration = 0.0
        sound, self._sound = self._sound, []
        return Frame(
            self.name,
            index,
            self._timeline.stamp(pts, duration),
            upright(picture, self.orientation, self.aspect),
            captured,
            wall,
            duration,
            audio=tuple(sound),
            live=self.live,
            damaged=self._is_damaged(picture, captured),
        )

    def _is_damaged(self, picture: av.VideoFrame, now: float) -> bool:
        """Tell whether a picture lacks data, or is predicted from one that did."""
        if self._complaints.fresh() or picture.is_corrupt:
            self._damaged_at = now
        elif picture.key_frame or now - self._damaged_at > MENDED:
            self._damaged_at = float("-inf")
        return self._damaged_at > float("-inf")

    def _keep_sound(self, packet: Packet[Stream]) -> None:
        """Let a packet of sound ride on the next picture."""
        pts = packet.pts if packet.pts is not None else packet.dts
        if not packet.size or pts is None:
            return
        shift = round(self._timeline.shift(float(pts * packet.time_base)) / packet.time_base)
        dts = packet.dts if packet.dts is not None else pts
        data = self._unwrapped(bytes(packet)) if self._is_wrapped else bytes(packet)
        if data:
            self._sound.append(AudioPacket(data, pts + shift, dts + shift, packet.duration or 0))

    def _unwrapped(self, data: bytes) -> bytes:
        """Return AAC without its head; nothing of what is damaged, or does not go with the first packet."""
        try:
            config, content = adts.unwrap(data)
        except ValueError:
            return b""
        if config != self._config and self._config and not self._has_changed:
            self._has_changed = True
            log.warning("%s: the sound changes its rate or channels, left out where it differs", self._url)
        return content if config == self._config else b""


def _is_wrapped(audio: AudioStream) -> bool:
    """Tell whether a stream is AAC that is described by each of its packets only, and known to have some."""
    codec = audio.codec_context
    return codec.codec.canonical_name == "aac" and not codec.extradata and codec.sample_rate > 0


def _sent(packet: Packet[Stream]) -> float:
    """Return the Unix time at which the sender says a packet was made (ISO/IEC 14496-12, prft), or NaN."""
    if not packet.has_sidedata("prft"):
        return float("nan")
    micros = int.from_bytes(bytes(packet.get_sidedata("prft"))[:8], "little", signed=True)
    return micros / 1e6 if micros > 0 else float("nan")


def owned(packet: Packet[Stream]) -> Packet[Stream]:
    """Return a packet in memory of its own: a camera's lies with its driver and goes with the camera."""
    copy = av.Packet(bytes(packet))
    copy.stream, copy.time_base = packet.stream, packet.time_base
    copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
    copy.is_keyframe = packet.is_keyframe
    return copy

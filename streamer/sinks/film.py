"""Film: one growing video file, that is whole up to its last second whatever ends the process."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

from engines.errors import InputError, nearest
from engines.machine import cores
from streamer import planes as pixels
from streamer.audio import AudioPacket, AudioTrack
from streamer.frame import Frame, Matrix
from streamer.sinks.fit import Fit
from streamer.sinks.sound import Remarks, Sound
from streamer.sources import SourceInfo

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

__all__ = ["LOOKAHEAD", "Clock", "Film", "Settings"]

log = logging.getLogger(__name__)

TICKS = 90_000  # a second, of MPEG's clock: any source's pts to 6 us
TIME_BASE = Fraction(1, TICKS)
LATEST_START = 10.0  # seconds; a source that starts later (a broadcast's clock) is moved to 0
JUMP = 1.0  # seconds; a pts that falls back by more starts a new stretch of time
LEAP = 6 * 3600.0  # seconds; so does one that leaps ahead by more: MP4 holds 2^31 ticks from one to the next

# x264's presets and the frames each looks ahead (x264 --fullhelp).
LOOKAHEAD = {
    "ultrafast": 0,
    "superfast": 0,
    "veryfast": 10,
    "faster": 20,
    "fast": 30,
    "medium": 40,
    "slow": 50,
    "slower": 60,
    "veryslow": 60,
}
HELD = 0.5  # seconds of video that may be inside the encoder, and as many in a fragment not yet written
KEYFRAMES = 4.0  # seconds from one to the next
MAX_THREADS = 8
PIXELS_PER_THREAD = 500_000
LONGEST = 16_384  # pixels, a side of x264's pictures
SOUND_WAIT = {True: 1.0, False: 30.0}  # live -> seconds of pictures for which announced sound is waited for

PROMPT = {"flush_packets": "1", "max_interleave_delta": str(round(HELD * 1e6))}
# delay_moov keeps the first pts, and sound that starts before zero; empty_moov alone would lose both.
# skip_trailer: else the muxer keeps an entry for every fragment, for an index that `faststart` drops.
MOVFLAGS = "delay_moov+default_base_moof+skip_trailer"
FRAGMENTS = {"movflags": MOVFLAGS, "frag_duration": str(round(HELD * 1e6))}
CLUSTERS = {"cluster_time_limit": str(round(HELD * 1e3))}

# Matrix -> AVColorSpace, AVColorPrimaries, AVColorTransferCharacteristic (ITU-T H.273).
COLOURS = {"bt601": (6, 6, 6), "bt709": (1, 1, 1), "bt2020": (9, 9, 14)}
UNSPECIFIED = (0, 2)  # primaries and transfer characteristics that tell nothing
LIMITED, FULL = 1, 2  # AVColorRange
FRAME_DURATION = 1 << 8  # AV_CODEC_FLAG_FRAME_DURATION: packets take over the frame's

# Sinks of one stream share its frames, and a frame is stamped with its time before it is encoded: one sink
# at a time for each frame. Stripes, because an av.VideoFrame has no room for a lock of its own.
STAMPING = tuple(Lock() for _ in range(61))


@dataclass(frozen=True, slots=True)
class Settings:
    """How to encode. ValueError for what x264 does not know."""

    preset: str = "veryfast"  # key of LOOKAHEAD
    crf: int = 23  # 0..51, 0 is lossless
    gop: int = 0  # most frames from one keyframe to the next, 0 = four seconds of them
    threads: int = 0  # 0 = chosen by size, cores and frame rate

    def __post_init__(self) -> None:
        if self.preset not in LOOKAHEAD:
            hint = nearest(self.preset, LOOKAHEAD) or f", must be one of {', '.join(LOOKAHEAD)}"
            raise ValueError(f"preset: {self.preset!r}{hint}")
        for name, value, most in (
            ("crf", self.crf, 51),
            ("gop", self.gop, 10_000),
            ("threads", self.threads, 64),
        ):
            if not 0 <= value <= most:
                raise ValueError(f"{name}: {value}, must be from 0 to {most}")


@dataclass(slots=True)
class Wait:
    """Pictures that are encoded before it is known whether their sound comes."""

    track: AudioTrack
    patience: float  # seconds
    bench: OutputContainer  # where the encoder lives
    held: list[Packet[Any]] = field(default_factory=list)
    since: int | None = None  # the first one's time, in ticks

    def is_over(self, tick: int) -> bool:
        """Whether a picture of this time has waited too long."""
        self.since = tick if self.since is None else self.since
        return tick - self.since > self.patience * TICKS


class Film:
    """An encoder, a container and a clock; the first frame fixes size, colours and sound.

    ``form`` is mp4, mov or matroska. Raises OSError, av.FFmpegError where the file cannot be opened,
    InputError for pictures that H.264 cannot hold.
    """

    def __init__(self, path: str, form: str, first: Frame, info: SourceInfo, settings: Settings) -> None:
        self.packets = 0  # written so far
        self._path, self._form = path, form
        self._fit = Fit(first.planes)
        if max(self._fit.size) > LONGEST:
            width, height = self._fit.size
            raise InputError(f"{path}: pictures of {width}x{height}, x264 takes sides up to {LONGEST}")
        self._clock = Clock(path)
        self._step = first.duration or (1 / info.fps if info.fps else 0.0)
        self._resized = False
        self._colours = _colours(self._fit.matrix, info)
        self._remarks = Remarks(path)
        self._sound: Sound | None = None
        self._wait: Wait | None = None
        if info.audio is not None and not first.audio and form != "matroska":
            self._wait = self._await(info.audio, settings, SOUND_WAIT[first.live])
        else:
            self._start(lambda: self._open(settings), info.audio, first)

    def write(self, frame: Frame) -> None:
        """Encode a frame and mux the sound that came with it. Raises OSError, av.FFmpegError."""
        if frame.size != self._fit.source and not self._resized:
            self._resized = True
            log.warning("%s: pictures change to %dx%d, scaled to the first size", self._path, *frame.size)
        pts = self._clock.tick(frame.pts)
        picture = pixels.to_video_frame(self._fit(frame.planes))
        with STAMPING[id(picture) // 16 % len(STAMPING)]:
            picture.pts = pts
            picture.time_base = TIME_BASE
            picture.duration = round(min(frame.duration or self._step, LEAP) * TICKS)
            picture.pict_type = 0  # the decoder's is still there, and x264 would obey it
            packets = self._encoder.encode(picture)
        if self._wait is not None:
            self._wait.held += packets
            if not frame.audio and not self._wait.is_over(pts):
                return
            packets = self._end_wait(frame)
        self._mux_pictures(packets)
        if self._sound is not None:
            self._mux(self._sound.packets(_packets(frame), self._clock.shift, pts / TICKS))
            self._tell_of_strays()

    def close(self) -> None:
        """Write what the encoder holds and the container's end. Raises OSError, av.FFmpegError."""
        packets = self._encoder.encode(None)
        if self._wait is not None:
            self._wait.held += packets
            packets = self._end_wait(None)
        try:
            self._mux_pictures(packets)
        finally:
            self._container.close()

    def _start(self, open_file: Callable[[], None], track: AudioTrack | None, frame: Frame) -> None:
        """Begin the file, with the sound that a frame brings; without where the container refuses it."""
        import av

        open_file()
        if track is not None:
            self._sound = self._add_sound(track, frame)
        try:
            self._container.start_encoding()
        except (OSError, av.FFmpegError) as error:
            self._container.close()
            if self._sound is None:
                raise
            self._lose_sound(error)
            open_file()
            self._container.start_encoding()

    def _open(self, settings: Settings) -> None:
        import av

        options = PROMPT | (CLUSTERS if self._form == "matroska" else FRAGMENTS)
        self._container: OutputContainer = av.open(self._path, "w", format=self._form, options=options)
        self._encoder = self._video = self._add_video(self._container, settings)

    def _add_video(self, container: OutputContainer, settings: Settings) -> VideoStream:
        stream = _add_video(container, self._fit, self._step, settings)
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc = self._colours
        return stream

    def _await(self, track: AudioTrack, settings: Settings, patience: float) -> Wait:
        """Encode before it is known whether the sound that is announced comes.

        MP4's muxer writes nothing before every stream has had a packet: what a camera with a silent
        microphone sends would pile up in memory, and be lost if the process is killed.
        """
        import av

        with open(self._path, "wb"):
            pass  # a place that cannot be written is to be told now
        wait = Wait(track, patience, av.open(io.BytesIO(), "w", format=self._form))
        self._encoder = self._add_video(wait.bench, settings)
        wait.bench.start_encoding()
        return wait

    def _end_wait(self, frame: Frame | None) -> list[Packet[Any]]:
        """Begin the file with the sound of a frame, or without any; return the pictures that waited."""
        wait, self._wait = self._wait, None
        assert wait is not None
        self._bench = wait.bench  # the encoder lives in it
        sounds = frame is not None and bool(frame.audio)
        if frame is not None and not sounds:
            log.warning("%s: no %s sound in %g s, left out", self._path, wait.track.codec, wait.patience)
        self._start(self._join, wait.track if sounds else None, cast("Frame", frame))
        return wait.held

    def _join(self) -> None:
        """Open the file for the pictures of an encoder that is at work."""
        import av

        self._container = av.open(self._path, "w", format=self._form, options=PROMPT | FRAGMENTS)
        self._video = self._container.add_stream_from_template(self._encoder)
        self._video.time_base = TIME_BASE

    def _add_sound(self, track: AudioTrack, first: Frame) -> Sound | None:
        import av

        try:
            sound = Sound(self._container, track, _packets(first))
        except (ValueError, OSError, av.FFmpegError):
            log.warning("%s: %s sound does not fit this container, left out", self._path, track.codec)
            return None
        self._remarks.tell_of_others(track)
        return sound

    def _mux_pictures(self, packets: Iterable[Packet[Any]]) -> None:
        for packet in packets:
            packet.stream = self._video
        self._mux(packets)

    def _mux(self, packets: Iterable[Packet[Any]]) -> None:
        """Hand packets to the muxer, which orders them: what it says of one may be meant for one before."""
        for packet in packets:
            try:
                self._container.mux_one(packet)
                self.packets += 1
            except (PermissionError, ValueError) as error:  # EPERM, EINVAL, and data that is not valid
                if self._sound is None:
                    raise
                self._lose_sound(error)

    def _lose_sound(self, error: Exception) -> None:
        """Go on without sound: if it was not to blame, the next picture fails too."""
        self._sound = None
        self._remarks.tell_of_loss(error)

    def _tell_of_strays(self) -> None:
        if self._sound is not None:
            self._remarks.tell_of_strays(self._sound.astray)


class Clock:
    """Source seconds to ticks of the file: the same time, moved only where a file could not hold it."""

    def __init__(self, path: str = "") -> None:
        """Count for the file of that name, or for nobody who need be told."""
        self.shift = 0.0  # seconds from the source's time to the file's
        self._path = path
        self._last = -1
        self._gap = 1

    def tick(self, pts: float) -> int:
        """Return a frame's time in ticks, later than the one before."""
        if self._last < 0 and not 0 <= pts <= LATEST_START:
            self._move(-pts, pts)
        tick = round((pts + self.shift) * TICKS)
        if self._last >= 0 and not -JUMP * TICKS <= tick - self._last <= LEAP * TICKS:
            tick = self._last + self._gap
            self._move(tick / TICKS - pts, pts)
        tick = max(tick, self._last + 1)
        self._gap = tick - self._last if self._last >= 0 else 1
        self._last = tick
        return tick

    def _move(self, shift: float, pts: float) -> None:
        self.shift = shift
        if self._path:
            log.warning("%s: source time %.3f s becomes %.3f s in the file", self._path, pts, pts + shift)


def _colours(matrix: Matrix, info: SourceInfo) -> tuple[int, int, int]:
    """Return the tags of pictures that keep the source's values: its own primaries and transfer."""
    space, primaries, transfer = COLOURS[matrix]
    if info.primaries not in UNSPECIFIED:
        primaries = info.primaries
    if info.transfer not in UNSPECIFIED:
        transfer = info.transfer
    return space, primaries, transfer


def _add_video(container: OutputContainer, fit: Fit, step: float, settings: Settings) -> VideoStream:
    """Add an x264 stream without B-frames: packets leave in the order of the pictures, so pts equals dts."""
    threads, lookahead = _delays(fit.size, step, settings)
    fps = Fraction(1 / step).limit_denominator(1001) if step else Fraction(25)
    options = {
        "preset": settings.preset,
        "crf": str(settings.crf),
        "bf": "0",
        "rc-lookahead": str(lookahead),
        "x264-params": "sync-lookahead=0",
    }
    stream = container.add_stream("libx264", rate=fps, options=options)
    context = stream.codec_context
    context.width, context.height = fit.size
    context.pix_fmt = "yuv420p"
    context.color_range = FULL if fit.full_range else LIMITED
    context.gop_size = settings.gop or max(round(KEYFRAMES * fps), 1)
    context.thread_count = threads
    context.flags |= FRAME_DURATION
    context.time_base = stream.time_base = TIME_BASE
    return stream


def _delays(size: tuple[int, int], step: float, settings: Settings) -> tuple[int, int]:
    """Return (threads, lookahead): each frame ahead, and each thread but one, delays by a frame."""
    held = int(HELD / step) if step else 0
    wanted = 1 + size[0] * size[1] // PIXELS_PER_THREAD
    threads = settings.threads or min(wanted, cores(), MAX_THREADS, 1 + held // 2)
    return threads, max(min(LOOKAHEAD[settings.preset], held - (threads - 1)), 0)


def _packets(frame: Frame) -> Sequence[AudioPacket]:
    return cast("Sequence[AudioPacket]", frame.audio)

"""RTSP: a server of our own that any player can watch a stream from, encoded only while one does."""

from __future__ import annotations

import logging
import math
import secrets
import time
from collections import Counter

from engines.errors import WorkError
from engines.spec import ModelSpec
from streamer.audio import AudioTrack
from streamer.frame import Frame
from streamer.sinks.address import Address
from streamer.sinks.broadcast import Encoded, Encoder, Mux, Settings
from streamer.sinks.film import TICKS
from streamer.sinks.place import Place, place_of
from streamer.sinks.rtcp import Sender
from streamer.sinks.rtp_sound import RtpSound, describe
from streamer.sinks.rtsp_server import PAYLOAD, Channel, RtspServer
from streamer.sinks.sound import Remarks
from streamer.sinks.soundtrack import WAIT, Sync
from streamer.sinks.studio import Studio
from streamer.sources import SourceInfo
from streamer.urls import read_query

__all__ = ["RtspSink"]

log = logging.getLogger(__name__)

PORT = 8554
RTP = ("rtp", {"packetsize": "1400", "payload_type": str(PAYLOAD), "rtpflags": "skip_rtcp"})
RTP_CLOCK = 90_000  # ticks a second, of pictures
REPORTS = 5.0  # seconds from one report to the next at most, of pictures that are no keyframes


class RtspSink:
    """Serves one stream at ``rtsp://[user:password@][host]:port/name``; without a host, to this machine only.

    Sinks of one host and port share a server.
    """

    def __init__(self, address: Address, info: SourceInfo, spec: ModelSpec) -> None:
        self.counts: Counter[str] = Counter()  # encoded pictures, and those that nobody watched
        self._settings = read_query(address.url, Settings())
        place = _place(address)
        self._name = place.shown
        self._server = RtspServer.at(place.host, place.port)
        login = f"{place.user}:{place.password}" if place.user else ""
        try:
            self._channel: Channel = self._server.open(place.path, login)
        except BaseException:
            self._server.release()
            raise
        self._share = Studio(fps=lambda: info.fps).share(self._settings)
        self._show: _Show | None = None  # while somebody watches
        self._voice = _Voice(self._name, info.audio, self._channel)

    @staticmethod
    def check(address: Address) -> None:
        """Raise InputError for an option or a place that cannot be."""
        read_query(address.url, Settings())
        _place(address)

    @property
    def port(self) -> int:
        """The server's TCP port."""
        return self._server.port

    @property
    def rests(self) -> bool:
        """Whether nobody watches: frames may come late and several at a time."""
        return not self._channel.viewers

    def use(self, studio: Studio) -> None:
        """Share the pictures of a studio."""
        self._share = studio.share(self._settings)

    def write(self, frame: Frame) -> None:
        """Encode a frame for those who watch. Raises WorkError."""
        import av

        self._voice.hear(frame)
        if not self._channel.viewers:
            self.counts["unwatched"] += 1
            self._stop()
            return
        key = self._channel.newcomers
        self._channel.newcomers = False
        try:
            for part in self._share.write(frame, key=key):
                if self._show is None:
                    self._show = _Show(self._channel, self._share.encoder, self._voice.track)
                self._show.write(part)
                self.counts["encoded"] += 1
        except (OSError, av.FFmpegError) as error:
            raise WorkError(f"{self._name}: cannot be encoded: {error}") from error
        if self._show is not None:
            self._voice.remarks.tell_of_strays(self._show.write_sound(frame))

    def close(self) -> None:
        """Tell the viewers that it is over."""
        self._stop()
        self._server.shut(self._channel)
        self._server.release()

    def _stop(self) -> None:
        self._share.rest()
        show, self._show = self._show, None
        if show is not None:
            show.close()


class _Voice:
    """Whether a stream is described with sound: players wait for a track that is announced."""

    def __init__(self, name: str, track: AudioTrack | None, channel: Channel) -> None:
        self._name, self._channel = name, channel
        self._lines = describe(track) if track is not None else ()
        self.track = track if self._lines else None
        self._heard: float | None = None  # pts of the last frame with sound
        self._is_missed = False  # and this was said
        self.remarks = Remarks(name)
        channel.sound = self._lines
        if track is not None and not self._lines:
            log.warning("%s: %s sound does not fit RTSP, left out", name, track.codec)
        elif track is not None:
            self.remarks.tell_of_others(track)

    def hear(self, frame: Frame) -> None:
        """Describe the sound for as long as it comes."""
        if self.track is None:
            return
        if frame.audio or self._heard is None:
            self._heard = frame.pts
        is_there = abs(frame.pts - self._heard) <= WAIT
        self._channel.sound = self._lines if is_there else ()
        if not is_there and not self._is_missed:
            self._is_missed = True
            log.warning(
                "%s: no %s sound in %g s, left out until it comes", self._name, self.track.codec, WAIT
            )


class _Show:
    """What viewers get from the first picture on until nobody is left."""

    def __init__(self, channel: Channel, encoder: Encoder, track: AudioTrack | None) -> None:
        self._channel = channel
        self._hose = _Packets()
        self._mux = Mux(self._hose, RTP, encoder, in_band=True)
        name = secrets.token_hex(8).encode()
        self._pictures = Sender(RTP_CLOCK, name)
        self._sound = RtpSound(track, name) if track is not None else None
        self._sync = Sync()
        self._wall = float("nan")  # Unix time of the stream's second 0, as all reports tell it
        self._reported = float("-inf")  # seconds

    def write(self, part: Encoded) -> None:
        """Send a picture; before one that can be begun with, what its time is."""
        at = part.tick / TICKS
        if math.isnan(self._wall):
            self._wall = time.time() - at
        self._sync.follow(part)
        self._mux.write(part)
        packets = self._hose.take()
        self._pictures.note(at, packets)
        report = b""
        if part.is_key or not self._reported <= at <= self._reported + REPORTS:
            self._reported = at
            packets.insert(0, self._pictures.report(at, self._wall + at))
            report = self._sound.sender.report(at, self._wall + at) if self._sound is not None else b""
        self._channel.send(packets, is_key=part.is_key, at=at, report=report)

    def write_sound(self, frame: Frame) -> float:
        """Send what came with a frame; return the seconds by which a packet was astray, 0 = none was."""
        if self._sound is None or not frame.audio:
            return 0.0
        shift = self._sync.shift(frame)
        self._channel.send_sound(list(self._sound.packets(frame.audio, shift, frame.pts + shift)))
        return self._sound.astray

    def close(self) -> None:
        """Free the muxer."""
        self._mux.close()


class _Packets:
    """Collects RTP packets: FFmpeg's muxer writes one at a time."""

    def __init__(self) -> None:
        self._packets: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._packets.append(bytes(data))
        return len(data)

    def take(self) -> list[bytes]:
        packets, self._packets = self._packets, []
        return packets


def _place(address: Address) -> Place:
    return place_of(address, port=PORT, path="name", host="127.0.0.1", any_port=True)

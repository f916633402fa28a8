"""RTSP: a server of our own that any player can watch a stream from, encoded only while one does."""

from __future__ import annotations

from collections import Counter

from engines.errors import WorkError
from engines.spec import ModelSpec
from streamer.frame import Frame
from streamer.sinks.address import Address
from streamer.sinks.broadcast import Mux, Settings
from streamer.sinks.place import Place, place_of
from streamer.sinks.rtsp_server import PAYLOAD, Channel, RtspServer
from streamer.sinks.studio import Studio
from streamer.sources import SourceInfo
from streamer.urls import read_query

__all__ = ["RtspSink"]

PORT = 8554
RTP = ("rtp", {"packetsize": "1400", "payload_type": str(PAYLOAD)})


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
        self._mux: Mux | None = None
        self._hose = _Packets()

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

        if not self._channel.viewers:
            self.counts["unwatched"] += 1
            self._stop()
            return
        key = self._channel.newcomers
        self._channel.newcomers = False
        try:
            for part in self._share.write(frame, key=key):
                if self._mux is None:
                    self._mux = Mux(self._hose, RTP, self._share.encoder, in_band=True)
                self._mux.write(part)
                self.counts["encoded"] += 1
                self._channel.send(self._hose.take(), is_key=part.is_key)
        except (OSError, av.FFmpegError) as error:
            raise WorkError(f"{self._name}: cannot be encoded: {error}") from error

    def close(self) -> None:
        """Tell the viewers that it is over."""
        self._stop()
        self._server.shut(self._channel)
        self._server.release()

    def _stop(self) -> None:
        self._share.rest()
        mux, self._mux = self._mux, None
        if mux is not None:
            mux.close()
            self._hose.take()


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

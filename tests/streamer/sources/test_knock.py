"""Knock: whether a port takes connections, told in time."""

from __future__ import annotations

import socket
import threading

import pytest

from streamer.sources.knock import knocker


def test_an_open_port_is_told_from_a_closed_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        knock = knocker(f"rtsp://user:pass@127.0.0.1:{server.getsockname()[1]}/a")
        assert knock is not None
        assert knock()
    assert not knock()


@pytest.mark.parametrize(
    "url", ["tcp://camera:5000", "video.mp4", "rtsp://camera:99999/a", "srt://camera:90"]
)
def test_of_others_nothing_can_be_told(url: str) -> None:
    assert knocker(url) is None


def test_a_name_that_is_long_in_being_resolved_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, held = [], threading.Event()

    def resolving(place: tuple[str, int], timeout: float) -> socket.socket:
        asked.append(place)
        held.wait(10)
        raise OSError("no such host")

    monkeypatch.setattr("streamer.sources.knock.TIMEOUT", 0.01)
    monkeypatch.setattr(socket, "create_connection", resolving)
    knock = knocker("rtsp://camera.example/a")
    assert knock is not None
    assert not knock()
    assert not knock()
    assert not held.is_set()
    held.set()
    assert asked == [("camera.example", 554)]

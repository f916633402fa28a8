"""Broadcast: a stream has an encoder, be the machine's own one at its limits."""

from __future__ import annotations

from collections.abc import Callable

import av
import pytest

from streamer.frame import Frame
from streamer.sinks import broadcast
from streamer.sinks.broadcast import Encoder, Settings

SMALL = (32, 32)  # NVENC takes nothing below 145x49, and without a GPU it takes nothing at all


def test_x264_takes_what_the_machines_own_encoder_does_not(
    frames: Callable[..., list[Frame]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(broadcast, "best_encoder", lambda: "nvenc")
    [frame] = frames([0.0], size=SMALL)
    encoder = Encoder(frame, Settings())
    [part] = encoder.encode(frame)
    encoder.close()
    assert part.is_key
    assert encoder.stream.codec_context.name == "libx264"
    assert [line.partition(":")[0] for line in caplog.messages] == ["cam"]


def test_an_encoder_that_was_asked_for_is_not_replaced(frames: Callable[..., list[Frame]]) -> None:
    [frame] = frames([0.0], size=SMALL)
    with pytest.raises((OSError, av.FFmpegError)):
        Encoder(frame, Settings(encoder="nvenc"))

from __future__ import annotations

import io
from dataclasses import replace

import av
import numpy as np
import pytest

from streamer import planes as pixels
from streamer.frame import Frame
from streamer.sinks.broadcast import Settings
from streamer.sinks.studio import Studio
from streamer.sources import open_source
from streamer.web.segments import Segment, Segmenter


def frames(count: int, size: str = "320x180") -> list[Frame]:
    return list(open_source(f"synthetic:?size={size}&fps=25&count={count}", name="cam"))


class Filmed:
    """Frames on their way through a studio into segments."""

    def __init__(self, shown: list[Frame], keys: tuple[int, ...] = (), **how: int) -> None:
        width = how.pop("width", 0)
        share = Studio(fps=lambda: 25.0).share(Settings(**how), width=width)  # type: ignore[arg-type]
        self.parts: list[Segment] = []
        for at, frame in enumerate(shown):
            for picture in share.write(frame, key=at in keys):
                if not at:
                    made = Segmenter(share.encoder)
                self.parts += made.add(picture)
        self.head, self.codec = made.head, made.codec
        made.close()
        self.last = Segment(b"".join(made._tank.take(b"mdat")), False, 0.0, 0.0)
        self.trailer = bytes(made._tank._bytes)
        share.rest()


def decoded(head: bytes, parts: list[Segment]) -> list[av.VideoFrame]:
    with av.open(io.BytesIO(head + b"".join(part.data for part in parts))) as container:
        return list(container.decode(video=0))


def test_an_independent_decoder_sees_every_picture_at_its_time() -> None:
    shown = frames(20)
    made = Filmed(shown, crf=20)
    parts = made.parts
    pictures = decoded(made.head, parts)
    assert len(pictures) == len(parts) == 19  # the last waits for the next, to know how long it lasts
    assert [part.time for part in parts] == pytest.approx([at / 25 for at in range(19)], abs=1e-4)
    assert [picture.time for picture in pictures] == pytest.approx([at / 25 for at in range(19)], abs=1e-4)
    for frame, picture in zip(shown, pictures, strict=False):
        error = pixels.to_rgb(frame.planes).astype(int) - picture.to_ndarray(format="rgb24")
        assert np.abs(error).mean() < 4


def test_the_muxer_keeps_no_index_of_what_it_wrote() -> None:
    """It would write one at the end, and hold more of it in memory with every picture until then."""
    made = Filmed(frames(20))
    assert made.trailer == b""
    assert len(decoded(made.head, [*made.parts, made.last])) == 20


def test_one_can_begin_at_every_key_and_only_there() -> None:
    shown = frames(12)
    made = Filmed(shown, (7,))
    parts = made.parts
    assert [at for at, part in enumerate(parts) if part.is_key] == [0, 7]
    assert len(decoded(made.head, parts[7:])) == 4


def test_the_codec_is_named_as_the_stream_has_it() -> None:
    made = Filmed(frames(2))
    assert made.codec.startswith("avc1.64")  # high profile: what every browser decodes
    with av.open(io.BytesIO(made.head)) as container:
        extradata = container.streams.video[0].codec_context.extradata
    assert made.codec == f"avc1.{extradata[1:4].hex()}"


def test_time_goes_on_when_the_source_jumps() -> None:
    shown = frames(6)
    for frame, pts in zip(shown, [900.0, 900.04, 900.08, 3.0, 3.04, 8000.0], strict=True):
        frame.pts = pts
    times = [part.time for part in Filmed(shown).parts]
    assert times == sorted(set(times))
    assert times[:3] == pytest.approx([0, 0.04, 0.08], abs=1e-4)
    assert times[-1] < 1


def test_wide_pictures_are_scaled_and_a_new_size_is_fitted() -> None:
    wide, small = frames(3, "640x360"), frames(3, "320x320")
    small = [replace(frame, pts=frame.pts + 0.12) for frame in small]
    small = [replace(frame, index=frame.index + 3) for frame in small]
    made = Filmed(wide + small, width=320)
    pictures = decoded(made.head, made.parts)
    assert {(picture.width, picture.height) for picture in pictures} == {(320, 180)}
    assert len(pictures) == 5

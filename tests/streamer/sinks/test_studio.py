"""Studio: who shares an encoder, what each of them gets, and that nobody who watches costs nothing."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from dataclasses import replace

import av
import pytest

from streamer.frame import Frame
from streamer.overlay import Canvas
from streamer.sinks.broadcast import Encoded, Settings
from streamer.sinks.hls import HlsSettings
from streamer.sinks.studio import WAITING, Share, Studio


def decoded(share: Share, parts: list[Encoded]) -> int:
    """Return how many pictures another decoder makes of these."""
    head = share.encoder.head
    stream = b"".join(head + part.data if part.is_key else part.data for part in parts)
    with av.open(io.BytesIO(stream), format="h264") as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.fixture
def shown(frames: Callable[..., list[Frame]]) -> list[Frame]:
    return frames([index / 30 for index in range(40)])


def test_sinks_in_threads_of_their_own_cost_one_encode_and_get_all_of_it(shown: list[Frame]) -> None:
    studio = Studio()
    settings = (Settings(), HlsSettings(segment=1.0), Settings())
    shares = [studio.share(one) for one in settings]
    got: list[list[Encoded]] = [share.write(shown[0]) for share in shares]

    def watch(at: int) -> None:
        for frame in shown[1:]:
            got[at] += shares[at].write(frame)

    threads = [threading.Thread(target=watch, args=(at,)) for at in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert studio.encoders == 1
    assert studio.encoded == len(shown)
    ticks = {part.tick for part in got[0]}
    for share, parts in zip(shares, got, strict=True):
        parts += share.write(shown[-1])
        assert parts[0].is_key
        assert [part.tick for part in parts] == sorted({part.tick for part in parts} & ticks)
        assert decoded(share, parts) == len(parts) >= len(shown) - 2


def test_a_sink_that_missed_frames_gets_the_pictures_of_all(shown: list[Frame]) -> None:
    studio = Studio()
    quick, slow = studio.share(Settings()), studio.share(Settings())
    got = slow.write(shown[0])
    for frame in shown:
        quick.write(frame)
    got += slow.write(shown[3])  # an old one: nothing is encoded, all is handed out
    assert studio.encoded == len(shown) == len(got)
    assert decoded(slow, got) == len(shown)


def test_who_comes_later_begins_with_a_whole_picture(shown: list[Frame]) -> None:
    studio = Studio()
    first, second = studio.share(Settings()), studio.share(Settings())
    for frame in shown[:10]:
        first.write(frame)
    assert second.write(shown[9]) == []
    first.write(shown[10])
    (part,) = second.write(shown[10])
    assert part.is_key
    assert decoded(second, [part]) == 1


def test_who_takes_nothing_for_long_begins_again_and_stays_bounded(
    frames: Callable[..., list[Frame]],
) -> None:
    studio = Studio()
    quick, slow = studio.share(Settings(gop=1000)), studio.share(Settings(gop=1000))
    shown = frames([index / 30 for index in range(WAITING + 20)])
    slow.write(shown[0])
    for frame in shown:
        quick.write(frame)
    got = slow.write(shown[-1])
    assert got[0].is_key
    assert len(got) < WAITING
    assert decoded(slow, got) == len(got)


def test_the_last_to_leave_ends_the_encoder(shown: list[Frame]) -> None:
    studio = Studio()
    one, other = studio.share(Settings()), studio.share(Settings(crf=30))
    one.write(shown[0])
    other.write(shown[0])
    assert studio.encoders == 2
    one.rest()
    other.rest()
    assert studio.encoders == 0
    assert one.write(shown[1])[0].is_key


def test_pictures_are_drawn_once_for_all_settings_and_sizes(shown: list[Frame]) -> None:
    drawn: list[int] = []

    def dot(canvas: Canvas, frame: Frame) -> None:
        drawn.append(frame.index)
        canvas.line((0, 0), (9, 9), (255, 0, 0), 2)

    studio = Studio(lambda: [dot])
    shares = [studio.share(Settings()), studio.share(Settings(crf=30)), studio.share(Settings(), width=80)]
    for frame in shown[:5]:
        for share in shares:
            share.write(frame)
    assert drawn == [0, 1, 2, 3, 4]
    assert shares[2].encoder.stream.codec_context.width == 80
    assert studio.draw(shown[4]).planes is not shown[4].planes


def test_a_stream_that_begins_anew_goes_on(shown: list[Frame]) -> None:
    share = Studio().share(Settings())
    for frame in shown:
        share.write(replace(frame, pts=frame.pts + 100))
    assert len(share.write(shown[0])) == 1

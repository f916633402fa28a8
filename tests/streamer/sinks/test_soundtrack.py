"""The sound of live outputs: what goes into a container beside which pictures, and when it is given up."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import pytest

from streamer.audio import AudioTrack
from streamer.frame import Frame
from streamer.sinks import sound as sounds
from streamer.sinks.broadcast import Encoded, Mux, Settings
from streamer.sinks.soundtrack import MOST_HELD, Soundtrack, Sync
from streamer.sinks.studio import Share, Studio
from tests.servers.sound import SECONDS, Track, encode, up_to

FPS = 25.0
NUT = ("nut", {"write_index": "0"})


@pytest.fixture
def pictures(frames: Callable[..., list[Frame]], tmp_path: Path) -> Callable[..., tuple[Track, list[Frame]]]:
    """Make pictures with their sound; captured as they are numbered."""

    def make(codec: str = "aac", *, count: int = round(SECONDS * FPS)) -> tuple[Track, list[Frame]]:
        sound, given = encode(tmp_path, codec), 0
        made = frames(index / FPS for index in range(count))
        for frame in made:
            frame.captured, frame.live = frame.pts, True
            frame.audio = up_to(sound, frame.pts, given)
            given += len(frame.audio)
        return sound, made

    return make


class Output:
    """A live output into memory."""

    def __init__(self, studio: Studio, track: AudioTrack | None, form: str = "mpegts") -> None:
        self.data = io.BytesIO()
        self.share: Share = studio.share(Settings(preset="ultrafast", gop=5))
        self.sound = Soundtrack("cam", track, form)
        self.mux: Mux | None = None

    def write(self, frame: Frame) -> None:
        self.sound.hear(frame)
        for part in self.sound.hold(self.share.write(frame)):
            self.mux = self.mux or Mux(self.data, NUT, self.share.encoder, in_band=True, sound=self.sound)
            self.mux.write(part)
        if self.mux is not None:
            self.mux.write_sound(frame)

    def read(self) -> dict[str, list[tuple[float, bytes]]]:
        """Return times and data of each kind of stream."""
        if self.mux is not None:
            self.mux.close()
        self.data.seek(0)
        found: dict[str, list[tuple[float, bytes]]] = {}
        with av.open(self.data, format="nut") as container:
            for packet in container.demux():
                if packet.size:
                    time = float(packet.pts * packet.time_base)
                    found.setdefault(packet.stream.type, []).append((time, bytes(packet)))
        return found


def test_sinks_that_share_an_encoder_each_get_all_the_sound_from_their_first_picture_on(
    pictures: Callable[..., tuple[Track, list[Frame]]],
) -> None:
    (track, packets), shown = pictures()
    studio = Studio()
    early, late = Output(studio, track), Output(studio, track)
    for frame in shown:
        early.write(frame)
        if frame.pts >= 1:
            late.write(frame)
    for output, earliest in ((early, 0.0), (late, 1.0)):
        found = output.read()
        begin = found["video"][0][0]
        assert earliest <= begin < earliest + 0.05
        kept = [packet for packet in packets if begin <= packet.pts * track.time_base <= shown[-1].pts]
        assert found["audio"] == [
            (pytest.approx(float(packet.pts * track.time_base), abs=1e-3), packet.data) for packet in kept
        ]


def test_sound_moves_with_the_pictures_also_for_a_sink_that_others_have_overtaken(
    pictures: Callable[..., tuple[Track, list[Frame]]],
) -> None:
    """The source's time falls back by 1.5 s; the slow sink brings three pictures from before that later."""
    (track, packets), shown = pictures()
    for frame in shown[40:]:
        frame.pts -= 1.5
        back = round(1.5 / track.time_base)
        frame.audio = tuple(replace(one, pts=one.pts - back, dts=one.dts - back) for one in frame.audio)
    studio = Studio()
    quick, slow = Output(studio, track), Output(studio, track)
    for at, frame in enumerate(shown):
        quick.write(frame)
        if at >= 3:
            slow.write(shown[at - 3])
    found = slow.read()["audio"]
    kept = [packet for packet in packets if 0 <= packet.pts * track.time_base <= 71 / FPS]
    assert [data for _, data in found] == [packet.data for packet in kept][-len(found) :]
    assert len(kept) - len(found) <= 8  # those before the sink's first picture
    for time, data in found:
        (packet,) = (packet for packet in kept if packet.data == data)
        assert time == pytest.approx(float(packet.pts * track.time_base), abs=0.05)


@pytest.mark.parametrize("from_on", [0.6, 2.0, 99.0])
def test_pictures_wait_a_second_at_most_for_the_first_sound(
    pictures: Callable[..., tuple[Track, list[Frame]]], from_on: float, caplog: pytest.LogCaptureFixture
) -> None:
    (track, _), shown = pictures()
    output = Output(Studio(), track)
    for frame in shown:
        frame.audio = frame.audio if frame.pts >= from_on else ()
        output.write(frame)
        if frame.pts > 1.1:
            assert output.mux is not None
    found = output.read()
    assert len(found["video"]) == len(shown)
    assert ("audio" in found) == (from_on < 1)
    assert caplog.text.count("cam: no aac sound in 1 s, left out") == (from_on > 1)


def test_a_container_that_begins_after_the_sound_has_ended_has_none(
    pictures: Callable[..., tuple[Track, list[Frame]]],
) -> None:
    (track, _), shown = pictures()
    output = Output(Studio(), track)
    for frame in shown[:10]:
        output.sound.hear(frame)  # nobody takes it yet
    for frame in shown[40:]:
        frame.audio = ()
        output.write(frame)
    found = output.read()
    assert (len(found["video"]), "audio" in found) == (len(shown) - 40, False)


def test_pictures_whose_time_hardly_moves_do_not_pile_up(caplog: pytest.LogCaptureFixture) -> None:
    soundtrack = Soundtrack("cam", AudioTrack("mp3", 48_000, "stereo", av.time_base), "flv")  # type: ignore
    parts = [Encoded(b"", True, tick, 1, 0.0) for tick in range(MOST_HELD)]
    assert [part for part in parts[:-1] if soundtrack.hold([part])] == []
    assert soundtrack.hold(parts[-1:]) == parts


@pytest.mark.parametrize(("codec", "form"), [("opus", "flv"), ("flac", "mpegts"), ("pcm_mulaw", "hls")])
def test_what_the_far_end_does_not_take_is_left_out_and_said_once(
    pictures: Callable[..., tuple[Track, list[Frame]]],
    codec: str,
    form: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (track, _), shown = pictures(codec, count=10)
    output = Output(Studio(), track, form)
    for frame in shown:
        output.write(frame)
    found = output.read()
    assert (len(found["video"]), "audio" in found) == (10, False)
    assert caplog.text.count(f"cam: {codec} sound does not fit {form}, left out") == 1


def test_a_container_that_cannot_be_begun_with_sound_is_begun_without(
    pictures: Callable[..., tuple[Track, list[Frame]]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (track, _), shown = pictures(count=10)
    monkeypatch.setitem(sounds.TAKEN, "flv", frozenset({"speex"}))
    output = Output(Studio(), replace(track, codec="speex"), "flv")  # which nothing describes
    for frame in shown:
        output.write(frame)
    found = output.read()
    assert (len(found["video"]), "audio" in found) == (10, False)
    assert caplog.text.count("cam: the sound cannot be written, left out from here") == 1


def test_a_source_without_sound_makes_nothing_wait(
    pictures: Callable[..., tuple[Track, list[Frame]]],
) -> None:
    _, shown = pictures(count=1)
    output = Output(Studio(), None)
    output.write(shown[0])
    found = output.read()
    assert (len(found["video"]), "audio" in found) == (1, False)


def test_the_shift_of_a_frame_is_the_one_when_it_was_captured() -> None:
    sync = Sync()
    for captured, shift in ((1.0, 0.0), (2.0, 0.0), (3.0, 7.0), (4.0, 7.0)):
        sync.follow(Encoded(b"", True, round(captured * 90_000), 1, captured, shift))
    frames = [Frame("cam", 0, 0.0, None, captured) for captured in (0.5, 2.9, 3.0, 9.0)]  # type: ignore
    assert [sync.shift(frame) for frame in frames] == [0.0, 0.0, 7.0, 7.0]
    assert sync.begin == 1.0

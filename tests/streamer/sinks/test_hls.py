"""HLS: what players make of the folder, while it grows and afterwards."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from engines.errors import InputError, WorkError
from streamer import planes as pixels
from streamer.frame import Frame
from streamer.sinks import Sink, check_sink
from tests.servers.camera import FPS, PICTURES
from tests.servers.clip import number_of
from tests.servers.sound import Track, encode, match, up_to


def _film(count: int, *, start: float = 0.0) -> list[Frame]:
    return [
        Frame("cam", index, start + index / FPS, PICTURES[index % len(PICTURES)]) for index in range(count)
    ]


def _numbers(playlist: Path) -> list[int]:
    with av.open(str(playlist)) as container:
        return [number_of(frame.to_ndarray(format="gray")) for frame in container.decode(video=0)]


def _lengths(playlist: Path) -> list[float]:
    return [
        float(line[8:].rstrip(","))
        for line in playlist.read_text().splitlines()
        if line.startswith("#EXTINF:")
    ]


def test_every_picture_is_in_the_playlist_and_segments_have_their_length(
    tmp_path: Path, write: Callable[..., None]
) -> None:
    path = tmp_path / "hls" / "live.m3u8"
    write(f"{path}?segment=1&keep=0", _film(100))
    assert _numbers(path) == list(range(100))
    assert _lengths(path) == pytest.approx([1, 1, 1, 1 / 3], abs=0.04)


def test_old_segments_go_and_the_folder_stays_bounded(tmp_path: Path, write: Callable[..., None]) -> None:
    path = tmp_path / "live.m3u8"
    write(f"{path}?segment=0.5&keep=3", _film(250))
    assert len(_lengths(path)) == 3
    assert len(list(tmp_path.glob("*.m4s"))) <= 5
    assert _numbers(path)[-1] == 249


def _told(playlist: Path, tag: str) -> list[str]:
    lines = playlist.read_text().splitlines()
    return [line.partition(":")[2] for line in lines if line.startswith(f"#EXT-X-{tag}")]


def test_a_run_follows_on_the_one_before_and_takes_its_segments_away(
    tmp_path: Path, write: Callable[..., None]
) -> None:
    path = tmp_path / "live.m3u8"
    write(f"{path}?segment=0.5&keep=2", _film(60))
    (tmp_path / "live-00004.m4s.tmp").write_bytes(b"of a run that was killed")
    (tmp_path / "live-99999.m4s").write_bytes(b"somebody's")
    write(f"{path}?segment=0.5&keep=2", _film(45))
    assert _told(path, "MEDIA-SEQUENCE") == ["5"]
    left = sorted(file.name for file in tmp_path.glob("*.m4s*"))
    assert left == ["live-00004.m4s", "live-00005.m4s", "live-00006.m4s", "live-99999.m4s"]
    assert _numbers(path) == list(range(15, 45))


def test_a_playlist_of_all_begins_anew_and_keeps_what_another_left(
    tmp_path: Path, write: Callable[..., None]
) -> None:
    path = tmp_path / "live.m3u8"
    write(f"{path}?segment=0.5&keep=0", _film(45))
    write(f"{path}?segment=0.5&keep=3", _film(15))
    assert _told(path, "MEDIA-SEQUENCE") == ["3"]
    assert _told(path, "DISCONTINUITY") == [""]
    assert len(list(tmp_path.glob("*.m4s"))) == 4
    write(f"{path}?segment=0.5&keep=0", _film(15))
    assert _told(path, "MEDIA-SEQUENCE") == ["0"]


@pytest.mark.parametrize(("segment", "told"), [(0.2, "1"), (0.5, "1"), (1, "1"), (2, "2")])
def test_players_are_never_told_to_ask_without_a_pause(
    segment: float, told: str, tmp_path: Path, write: Callable[..., None]
) -> None:
    path = tmp_path / "live.m3u8"
    write(f"{path}?segment={segment}", _film(round(FPS * segment * 2)))
    assert _told(path, "TARGETDURATION") == [told]


def test_it_plays_while_it_grows(tmp_path: Path, sink: Callable[..., Sink]) -> None:
    path = tmp_path / "live.m3u8"
    opened = sink(f"{path}?segment=0.5")
    for frame in _film(60):
        opened.write(frame)
    assert "#EXT-X-ENDLIST" not in path.read_text()
    listed = [line for line in path.read_text().splitlines() if line.endswith(".m4s")]
    assert len(listed) >= 2
    init = (tmp_path / "live-init.mp4").read_bytes()
    piece = tmp_path / "piece.mp4"
    piece.write_bytes(init + (tmp_path / listed[0]).read_bytes())
    assert _numbers(piece) == list(range(15))
    opened.close()
    assert "#EXT-X-ENDLIST" in path.read_text()


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="no ffprobe")
def test_ffprobe_finds_no_fault(tmp_path: Path, write: Callable[..., None]) -> None:
    path = tmp_path / "live.m3u8"
    write(f"{path}?segment=1&keep=0", _film(60))
    show = ["-show_entries", "stream=codec_name,width,height", "-of", "json"]
    run = subprocess.run(["ffprobe", "-v", "warning", *show, str(path)], capture_output=True, text=True)
    assert run.stderr == ""
    assert json.loads(run.stdout)["streams"] == [{"codec_name": "h264", "width": 320, "height": 180}]


def test_time_that_falls_back_or_starts_late_does_not_stop_it(
    tmp_path: Path, write: Callable[..., None]
) -> None:
    path = tmp_path / "live.m3u8"
    write(f"{path}?segment=1&keep=0", _film(45, start=5000) + _film(45))
    assert len(_numbers(path)) == 90


def _film_with(sound: Track, count: int, *, start: float = 0.0) -> list[Frame]:
    frames, given = _film(count), 0
    for frame in frames:
        frame.audio = up_to(sound, frame.pts, given)
        given += len(frame.audio)
        later = round(start / sound[0].time_base)
        frame.audio = tuple(replace(one, pts=one.pts + later, dts=one.dts + later) for one in frame.audio)
        frame.pts += start
    return frames


@pytest.mark.parametrize("codec", ["aac", "mp3", "ac3", "eac3", "flac", "opus"])
@pytest.mark.parametrize("start", [0.0, 5000.0])
def test_sound_is_in_the_segments_as_it_came_and_in_step_with_the_pictures(
    tmp_path: Path, write: Callable[..., None], codec: str, start: float
) -> None:
    sound, path = encode(tmp_path, codec), tmp_path / "live.m3u8"
    write(f"{path}?segment=0.5&keep=0", _film_with(sound, 60, start=start), audio=sound[0])
    with av.open(str(path)) as container:
        found = match(container, sound, FPS)
    first = next(at for at, one in enumerate(sound[1]) if one.pts >= 0)
    last = len(up_to(sound, 59 / FPS)) - 1
    assert (found.codec, found.pictures) == (codec, list(range(60)))
    assert found.packets == list(range(first, last + 1))
    assert found.skew == pytest.approx(0, abs=0.01)
    assert _lengths(path) == pytest.approx([0.5] * 4, abs=0.04)


def test_each_segment_plays_by_itself_with_its_sound(tmp_path: Path, write: Callable[..., None]) -> None:
    sound, path = encode(tmp_path, "aac"), tmp_path / "live.m3u8"
    write(f"{path}?segment=0.5&keep=0", _film_with(sound, 60), audio=sound[0])
    init = (tmp_path / "live-init.mp4").read_bytes()
    for number in range(4):
        piece = tmp_path / "piece.mp4"
        piece.write_bytes(init + (tmp_path / f"live-{number:05d}.m4s").read_bytes())
        with av.open(str(piece)) as container:
            found = match(container, sound, FPS)
        assert found.pictures == list(range(number * 15, number * 15 + 15))
        assert len(found.packets) == pytest.approx(0.5 * 48_000 / 1024, abs=2)
        assert found.skew == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("count", [5, 45])
def test_a_camera_whose_sound_does_not_come_is_in_the_playlist_without(
    tmp_path: Path, write: Callable[..., None], count: int
) -> None:
    path = tmp_path / "live.m3u8"
    write(f"{path}?segment=0.5&keep=0", _film(count), audio=encode(tmp_path, "aac")[0])
    assert _numbers(path) == list(range(count))
    with av.open(str(path)) as container:
        assert not container.streams.audio


def test_sound_that_ends_does_not_hold_the_pictures(tmp_path: Path, sink: Callable[..., Sink]) -> None:
    track, packets = encode(tmp_path, "aac")
    path = tmp_path / "live.m3u8"
    opened = sink(f"{path}?segment=0.5&keep=0", audio=track)
    for frame in _film_with((track, packets[:20]), 90):
        opened.write(frame)
    assert len(_lengths(path)) == 5
    opened.close()
    assert _numbers(path) == list(range(90))


def test_sound_that_browsers_do_not_play_is_left_out_and_said_once(
    tmp_path: Path, write: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    sound, path = encode(tmp_path, "pcm_mulaw"), tmp_path / "live.m3u8"
    write(f"{path}?keep=0", _film_with(sound, 20), audio=sound[0])
    assert _numbers(path) == list(range(20))
    assert caplog.text.count("live.m3u8?keep=0: pcm_mulaw sound does not fit hls, left out") == 1


def test_a_picture_of_another_size_is_fitted_into_the_first(
    tmp_path: Path, write: Callable[..., None]
) -> None:
    path = tmp_path / "live.m3u8"
    frames = _film(20)
    large = pixels.from_rgb(np.full((400, 400, 3), 90, np.uint8), subsampling=(2, 2), full_range=False)
    frames[10].planes = large
    write(f"{path}?keep=0", frames)
    with av.open(str(path)) as container:
        assert {(frame.width, frame.height) for frame in container.decode(video=0)} == {(320, 180)}


@contextmanager
def _full_disk() -> Iterator[None]:
    """Let no file grow beyond 50 bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def _write(sink: Sink, frames: list[Frame]) -> None:
    for frame in frames:
        sink.write(frame)


def test_a_full_disk_is_said_and_the_playlist_keeps_what_is_whole(
    tmp_path: Path, sink: Callable[..., Sink]
) -> None:
    path = tmp_path / "live.m3u8"
    opened = sink(f"{path}?segment=0.5&keep=0")
    for frame in _film(40):
        opened.write(frame)
    whole = _lengths(path)
    assert len(whole) == 2
    with _full_disk(), pytest.raises(WorkError, match=r"live\.m3u8.*cannot be written: File too large"):
        _write(opened, _film(80)[40:])
    opened.close()
    assert _lengths(path) == whole
    assert len(_numbers(path)) == 30
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("segment=0", ["segment", "0.2 to 60"]),
        ("keep=-1", ["keep", "0 to 100000"]),
        ("segments=2", ["segments", "did you mean 'segment'"]),
    ],
)
def test_a_wrong_url_is_refused_with_what_would_be_right(
    tmp_path: Path, query: str, words: list[str]
) -> None:
    with pytest.raises(InputError) as refused:
        check_sink(f"{tmp_path}/live.m3u8?{query}")
    assert [word for word in words if word not in str(refused.value)] == []

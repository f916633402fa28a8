"""Video sources: every picture that can be decoded, at its own time, upright, with its own sound."""

from __future__ import annotations

import gc
import shutil
import subprocess
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from engines.errors import InputError
from streamer import planes as pixels
from streamer.frame import Frame, Planes
from streamer.sources import open_source

from .conftest import Film, picture


def frames_of(path: Path | str) -> list[Frame]:
    source = open_source(str(path))
    try:
        return list(source)
    finally:
        source.close()


def rgb_of(frame: Frame) -> np.ndarray:
    return pixels.to_rgb(frame.planes).astype(int)


def test_frames_come_whole_in_order_and_named(film: Film):
    path = film("street.mp4")
    frames = frames_of(path)
    assert [frame.index for frame in frames] == list(range(10))
    assert {frame.stream for frame in frames} == {"street"}
    for number, frame in enumerate(frames):
        assert np.abs(rgb_of(frame) - picture(number)).mean() < 3


def test_what_is_known_on_opening_is_true(film: Film):
    source = open_source(str(film("a.mp4", sound=1.5)), name="gate")
    info = source.info
    source.close()
    assert (source.name, source.live) == ("gate", False)
    assert (info.size, info.fps, info.frames, info.codec, info.pixel_format) == (
        (96, 64),
        10,
        10,
        "h264",
        "yuv420p",
    )
    assert info.audio is not None
    assert (info.audio.codec, info.audio.rate, info.audio.layout) == ("aac", 48000, "mono")


def test_uneven_times_are_kept_and_durations_reach_to_the_next(film: Film):
    times = [0.0, 0.05, 0.25, 2.25, 2.3, 2.4, 4.0]
    frames = frames_of(film("vfr.mkv", [picture(n) for n in range(7)], times=times))
    assert [frame.pts for frame in frames] == pytest.approx(times, abs=1e-3)
    assert [frame.duration for frame in frames[:-1]] == pytest.approx(np.diff(times), abs=1e-3)
    assert frames[-1].duration > 0


@pytest.mark.parametrize("form", ["yuv420p", "yuv422p", "yuv444p"])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_display_matrix_is_applied(film: Film, degrees, mirrored, form):
    path = film("turned.mp4", [picture(1)], turn=(degrees, mirrored, False), form=form)
    (frame,) = frames_of(path)
    expected = np.rot90(picture(1), degrees // 90)
    expected = np.fliplr(expected) if mirrored else expected
    assert frame.size == expected.shape[1::-1]
    assert open_source(str(path)).info.size == frame.size
    assert np.abs(rgb_of(frame) - expected).mean() < 4


@pytest.mark.parametrize(
    ("aspect", "width"), [(Fraction(2), 192), (Fraction(1, 2), 48), (Fraction(4, 3), 128)]
)
def test_pixels_become_square_by_width(film: Film, aspect, width):
    (frame,) = frames_of(film("wide.mp4", [picture(1)], aspect=aspect))
    assert frame.size == (width, 64)
    assert np.abs(rgb_of(frame) - cv2.resize(picture(1), (width, 64))).mean() < 3


@pytest.mark.parametrize(
    ("form", "size", "subsampling"),
    [
        ("yuv420p10le", (96, 64), (2, 2)),
        ("yuv422p10le", (96, 64), (2, 1)),
        ("yuv444p", (97, 65), (1, 1)),
        ("yuv444p10le", (97, 65), (1, 1)),
    ],
)
def test_depth_and_chroma_of_every_kind_keep_their_colour(film: Film, form, size, subsampling):
    (frame,) = frames_of(film("a.mkv", [picture(2, size)], form=form))
    assert (frame.size, frame.planes.subsampling) == (size, subsampling)
    assert np.abs(rgb_of(frame) - picture(2, size)).mean() < 3


def test_grey_video_keeps_its_lightness(film: Film):
    (frame,) = frames_of(film("a.mkv", [picture(2)], codec="ffv1", form="gray"))
    assert np.abs(rgb_of(frame) - (picture(2) @ (0.299, 0.587, 0.114))[..., None]).max() <= 2


def test_rgb_video_keeps_its_colour(film: Film):
    (frame,) = frames_of(film("a.mkv", [picture(2)], codec="ffv1", form="bgr0"))
    assert np.abs(rgb_of(frame) - picture(2)).max() <= 2


def test_sound_rides_whole_on_the_pictures(film: Film):
    path = film("song.mp4", codec="mjpeg", form="yuvj420p", sound=2.0)  # the pictures end after one second
    with av.open(str(path)) as container:
        expected = [(bytes(packet), packet.pts) for packet in container.demux(audio=0) if packet.size]
    frames = frames_of(path)
    assert [(packet.data, packet.pts) for frame in frames for packet in frame.audio] == expected
    assert len(frames[-1].audio) > 40


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mkv", "pcm_s16le"), ("mkv", "libmp3lame"), ("webm", "libopus")]
)
def test_sound_of_every_codec_is_named_and_carried(film: Film, suffix: str, codec: str):
    video = ("vp8", "yuv420p") if suffix == "webm" else ("libx264", "yuv420p")
    path = film(f"a.{suffix}", codec=video[0], form=video[1], sound=1.0, sound_codec=codec)
    track = open_source(str(path)).info.audio
    assert track is not None
    assert track.codec == {"libmp3lame": "mp3", "libopus": "opus"}.get(codec, codec)
    assert any(frame.audio for frame in frames_of(path))


def test_sound_that_mp4_can_hold_goes_before_other_sound(film: Film, tmp_path: Path):
    path = tmp_path / "two.mkv"
    names = [film("a.mkv", sound=0.5, sound_codec="pcm_s16le"), film("b.mkv", sound=0.5)]
    with av.open(str(names[0])) as first, av.open(str(names[1])) as second, av.open(str(path), "w") as out:
        tracks = [*first.streams, second.streams.audio[0]]
        copies = {id(track): out.add_stream_from_template(track) for track in tracks}
        for container in (first, second):
            for packet in container.demux([track for track in tracks if track.container is container]):
                if packet.size:
                    packet.stream = copies[id(packet.stream)]
                    out.mux(packet)
    track = open_source(str(path)).info.audio
    assert track is not None
    assert (track.codec, track.others) == ("aac", 1)


def test_aac_of_a_broadcast_is_described_and_bare(film: Film):
    path = film("a.ts", sound=1.0)
    source = open_source(str(path))
    assert source.info.audio is not None
    assert source.info.audio.extradata == bytes([0x11, 0x88])  # AAC LC, 48 kHz, mono
    packets = [packet for frame in frames_of(path) for packet in frame.audio]
    assert len(packets) > 45
    assert not any(packet.data.startswith(b"\xff\xf1") for packet in packets)


def test_sound_that_changes_its_form_is_left_out_where_it_differs(
    film: Film, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    first, second = film("a.ts", sound=1.0), film("b.ts", sound=1.0)
    data = bytearray(second.read_bytes())
    at, heads = data.find(b"\xff\xf1\x4c"), 0
    while at >= 0:
        data[at + 2] = 0x50  # 44.1 kHz
        at, heads = data.find(b"\xff\xf1\x4c", at + 1), heads + 1
    assert heads > 40
    both = tmp_path / "both.ts"
    both.write_bytes(first.read_bytes() + data)
    whole = sum(len(frame.audio) for frame in frames_of(first))
    assert whole - 2 <= sum(len(frame.audio) for frame in frames_of(both)) <= whole
    assert caplog.text.count("changes its rate or channels") == 1


def broken_at(path: Path, target: Path, number: int) -> Path:
    """Copy a film with one packet's bytes replaced by noise."""
    with av.open(str(path)) as source, av.open(str(target), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for count, packet in enumerate(source.demux(video=0)):
            if packet.dts is None:
                continue
            if count == number:
                noise = av.Packet(b"\x00\x00\x00\x02\x01\xff" * 20)
                noise.pts, noise.dts, noise.time_base = packet.pts, packet.dts, packet.time_base
                packet = noise
            packet.stream = stream
            out.mux(packet)
    return target


def test_broken_packet_costs_its_own_picture_and_is_counted(tmp_path: Path, film: Film):
    path = broken_at(film("whole.mp4", codec="mjpeg", form="yuvj420p"), tmp_path / "broken.mp4", 4)
    source = open_source(str(path))
    frames = list(source)
    source.close()
    assert len(frames) == 9
    assert source.failures.total() == 1
    assert [round(frame.pts, 3) for frame in frames] == [0, 0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9]


def test_size_may_change_in_the_middle_and_time_goes_on(tmp_path: Path, film: Film):
    small = film("small.ts", [picture(n) for n in range(5)])
    large = film("large.ts", [picture(n, (160, 96)) for n in range(5)])
    both = tmp_path / "both.ts"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    frames = frames_of(both)
    assert [frame.size for frame in frames] == [(96, 64)] * 5 + [(160, 96)] * 5
    assert (np.diff([frame.pts for frame in frames]) > 0).all()


def test_cut_fragmented_film_plays_to_the_cut(tmp_path: Path, film: Film):
    path = film("a.mp4", options={"movflags": "frag_every_frame+empty_moov"})
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert 3 <= len(frames_of(cut)) < 10


def test_filter_graph_is_a_source():
    source = open_source("lavfi:testsrc2=size=64x48:rate=20:duration=0.5")
    frames = list(source)
    source.close()
    assert (len(frames), source.info.size, source.info.fps, source.live) == (10, (64, 48), 20, False)


def test_stop_ends_an_endless_source():
    source = open_source("lavfi:testsrc2=size=64x48:rate=20")
    taken = 0
    for taken, _ in enumerate(source, 1):
        if taken == 5:
            source.stop()
    source.close()
    assert 5 <= taken <= 7


def test_pictures_need_no_garbage_collector(film: Film):
    """One that waits for it keeps all of its decoder's memory, and the next round of a file takes more."""
    path = str(film())
    gc.collect()
    gc.disable()
    try:
        source = open_source(path)
        width, _ = source.info.size
        assert len(list(source)) == 10
        source.close()
        del source
        kept = [seen for seen in gc.get_objects() if type(seen) is av.VideoFrame and seen.width == width]
    finally:
        gc.enable()
    assert not kept


def test_close_in_the_middle_is_clean(film: Film):
    source = open_source(str(film()))
    next(iter(source))
    source.close()


READABLE = {
    "asl_walk.mkv": 89,
    "decord_corrupted.mp4": 49,
    "decord_rot0.mov": 3,
    "decord_rot180.mov": 3,
    "decord_rot270.mov": 3,
    "decord_rot90.mov": 3,
    "frigate_motion-2.mp4": 512,
    "mediamtx_offline_vp9.mp4": 30,
    "mmpose_demo.mp4": 5,
    "mmtracking_demo.mp4": 8,
    "one-by-one-person-detection.mp4": 1394,
    "openh264_BA_MW_D.264": 100,
    "openh264_BA_MW_D_P_LOST.264": 99,
    "torchcodec_av1.mkv": 125,
    "torchcodec_h264_10bits.mp4": 30,
    "torchcodec_h265.mp4": 10,
    "derived/h265.ts": 30,
    "derived/mjpeg.avi": 30,
    "derived/odd_size_321x181_yuv444.mp4": 20,
    "derived/street_fragmented.mp4": 5,
    "derived/vfr_0.05-2s.mp4": 60,
    "derived/vp8.webm": 40,
}
UNTAGGED_HD = {"decord_corrupted.mp4", "mediamtx_offline_vp9.mp4", "mmtracking_demo.mp4", "derived/h265.ts"}


def decoded_by_pyav(path: Path) -> list[float | None]:
    """Return the time of each picture that PyAV decodes, packet by packet."""
    times = []
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            try:
                times += [frame.time for frame in packet.decode()]
            except av.error.InvalidDataError:
                continue
    return times


@pytest.mark.parametrize("name", READABLE)
def test_real_files_give_all_their_pictures_at_their_times(data_dir: Path, name):
    path = data_dir / "video" / name
    times = decoded_by_pyav(path)
    frames = frames_of(path)
    assert len(frames) == len(times) == READABLE[name]
    if None in times:  # a bare H.264 stream has none: 25 pictures a second
        times = [number / 25 for number in range(len(times))]
    assert [frame.pts for frame in frames] == pytest.approx(times, abs=1e-3)


def test_every_real_file_is_in_a_table(data_dir: Path):
    folder = data_dir / "video"
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == set(READABLE) | {
        f"derived/{name}.mp4" for name in ("empty", "not_a_video", "truncated_tail")
    }


def test_damaged_file_counts_its_failure(data_dir: Path):
    source = open_source(str(data_dir / "video" / "decord_corrupted.mp4"))
    assert (len(list(source)), source.failures.total()) == (49, 1)
    source.close()


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="the independent conversion is the ffmpeg command's")
@pytest.mark.parametrize("name", READABLE)
def test_real_files_are_upright_and_right_in_colour(data_dir: Path, name):
    path = data_dir / "video" / name
    number = min(READABLE[name] // 5, 100)
    source = open_source(str(path))
    frame = next(islice(source, number, None))
    width, height = frame.size
    # swscale takes untagged video for BT.601 whatever its size
    matrix = ",scale=in_color_matrix=bt709" if name in UNTAGGED_HD else ""
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        str(path),
        "-vf",
        f"select=eq(n\\,{number}){matrix}",
        "-frames:v",
        "1",
    ]
    command += [
        "-sws_flags",
        "accurate_rnd+full_chroma_int+bilinear",
        "-pix_fmt",
        "rgb24",
        "-f",
        "rawvideo",
        "-",
    ]
    raw = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
    expected = np.frombuffer(raw, np.uint8).reshape(height, width, 3)
    even = evenly_coloured(frame.planes)
    assert even.mean() > 0.3
    difference = np.abs(rgb_of(frame) - expected)[even]
    source.close()
    assert difference.mean() < 0.8
    assert np.percentile(difference, 99.9) <= 3


def evenly_coloured(planes: Planes) -> np.ndarray:
    """Return (H, W) bool: where chroma is so even that it does not matter how it is interpolated."""
    even = np.ones(planes.y.shape, bool)
    for plane in (planes.u, planes.v):
        square = np.ones((5, 5), np.uint8)
        spread = cv2.dilate(plane, square) - cv2.erode(plane, square)
        even &= cv2.resize(spread, planes.size, interpolation=cv2.INTER_NEAREST) <= 2
    return even


@pytest.mark.parametrize(
    ("name", "words"),
    [("empty", "is empty"), ("not_a_video", "not a video"), ("truncated_tail", "damaged or cut short")],
)
def test_unreadable_real_files_are_refused_in_one_sentence(data_dir: Path, name, words):
    with pytest.raises(InputError, match=words) as caught:
        open_source(str(data_dir / "video" / "derived" / f"{name}.mp4"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("start", [100.0, 25_000.0])
def test_an_encoder_that_began_anew_is_not_taken_for_a_clock_that_ran_over(
    film: Film, tmp_path: Path, start: float
):
    late, early = film("a.ts", times=[start + number / 10 for number in range(10)]), film("b.ts")
    both = tmp_path / "both.ts"
    both.write_bytes(late.read_bytes() + early.read_bytes())
    times = [frame.pts for frame in frames_of(both)]
    assert len(times) == 20
    assert np.diff(times) == pytest.approx(0.1, abs=0.001)


def test_a_clock_that_runs_over_goes_on(film: Film):
    end = 2**33 / 90_000
    pictures = [picture(number) for number in range(30)]
    path = film("a.ts", pictures, times=[end - 1.5 + number / 10 for number in range(30)])
    times = [frame.pts for frame in frames_of(path)]
    assert len(times) == 30
    assert np.diff(times) == pytest.approx(0.1, abs=0.001)


def test_what_colours_mean_is_told(film: Film, tmp_path: Path):
    path = tmp_path / "hdr.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc = 9, 9, 16
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(0)).reformat(format="yuv420p")))
        container.mux(stream.encode())
    info = open_source(str(path)).info
    assert (info.primaries, info.transfer) == (9, 16)
    info = open_source(str(film("plain.mkv"))).info
    assert (info.primaries, info.transfer) == (2, 2)

"""Video files: the source's times and sound, whole whatever ends the run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import av
import numpy as np
import pytest

from engines.errors import InputError, WorkError
from streamer.frame import Frame
from streamer.sinks import Sink

SUFFIXES = [".mp4", ".mov", ".mkv"]
ROOT = Path(__file__).parents[3]

Write = Callable[..., None]
MakeFrames = Callable[..., list[Frame]]
TimesOf = Callable[[Path], list[float]]

STEADY = [index / 10 for index in range(30)]
TIMES = {
    "steady 10 fps": STEADY,
    "30000/1001 fps": [index * 1001 / 30000 for index in range(40)],
    "variable": np.cumsum([0.0, 0.033, 0.1, 0.004, 0.5, 2.0, 0.033, 0.021, 0.25] * 3).tolist(),
    "first pts 1.4": [1.4 + time for time in STEADY],
    "one frame": [0.0],
    "slow, 1 fps": [float(index) for index in range(6)],
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES.keys())
def test_every_pts_is_the_source_s(
    tmp_path: Path, frames: MakeFrames, write: Write, times_of: TimesOf, suffix: str, times: list[float]
) -> None:
    path = tmp_path / f"a{suffix}"
    write(path, frames(times), fps=0.0)
    assert times_of(path) == pytest.approx(times, abs=1e-3)


@pytest.mark.skipif(not shutil.which("ffprobe"), reason="no ffprobe")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_ffprobe_reads_the_same_times(tmp_path: Path, frames: MakeFrames, write: Write, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write(path, frames(TIMES["variable"]))
    entries = ["-show_entries", "frame=best_effort_timestamp_time", "-of", "json"]
    run = subprocess.run(["ffprobe", "-v", "error", *entries, path], capture_output=True, check=True)
    times = [float(frame["best_effort_timestamp_time"]) for frame in json.loads(run.stdout)["frames"]]
    assert times == pytest.approx(TIMES["variable"], abs=1e-3)
    assert run.stderr == b""


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        pytest.param([-0.5, -0.4, -0.3], [0.0, 0.1, 0.2], id="starts before zero"),
        pytest.param([95443.7, 95443.8], [0.0, 0.1], id="a broadcast's clock"),
        pytest.param([5.0, 5.1, 0.0, 0.1], [5.0, 5.1, 5.2, 5.3], id="falls back, as a looped source does"),
        pytest.param([0.0, 0.1, 0.1, 0.05, 0.2], [0.0, 0.1, 0.1, 0.1, 0.2], id="repeats and wavers"),
    ],
)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_times_that_a_file_cannot_hold_are_moved(
    tmp_path: Path,
    frames: MakeFrames,
    write: Write,
    times_of: TimesOf,
    suffix: str,
    times: list[float],
    expected: list[float],
) -> None:
    path = tmp_path / f"a{suffix}"
    write(path, frames(times))
    assert times_of(path) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_finished_file_is_regular_with_its_index_first(
    tmp_path: Path, frames: MakeFrames, write: Write, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    write(path, frames(STEADY))
    boxes = _boxes(path.read_bytes())
    assert boxes.index(b"moov") < boxes.index(b"mdat")
    assert b"moof" not in boxes
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nothing_is_on_disk_before_the_first_frame(
    tmp_path: Path, frames: MakeFrames, sink: Callable[..., Sink], suffix: str
) -> None:
    path = tmp_path / "new" / f"a{suffix}"
    unused = sink(path)
    unused.close()
    assert list(tmp_path.iterdir()) == []
    used = sink(path)
    used.write(frames([0.0])[0])
    assert path.exists()
    used.close()


def test_an_existing_file_is_replaced(
    tmp_path: Path, frames: MakeFrames, write: Write, times_of: TimesOf
) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"x" * 1_000_000)
    write(path, frames(STEADY))
    assert len(times_of(path)) == len(STEADY)
    assert path.stat().st_size < 1_000_000


KILLED = """
import sys
from streamer.frame import Frame, Planes
from streamer.sinks import open_sink
from streamer.sources import SourceInfo
from streamer.audio import AudioPacket, AudioTrack
from engines.spec import ModelSpec
from fractions import Fraction
import numpy as np

url, fps, sound = sys.argv[1], float(sys.argv[2]), sys.argv[3] == "sound"
track = AudioTrack("pcm_s16le", 8000, "mono", Fraction(1, 8000)) if sound else None
info = SourceInfo((160, 96), fps, audio=track)
sink = open_sink(url, info=info, spec=ModelSpec("toy", "detect", "detections", (), (320, 320)))
noise = np.random.default_rng(0).integers(60, 180, (64, 96, 160)).astype(np.uint8)
grey = np.full((48, 80), 128, np.uint8)
for index in range(100_000):
    pts = index / fps
    packets = ()
    if sound and pts < 3:  # the sound ends early, as it may in any file
        packets = (AudioPacket(b"\\0\\1" * 1000, index * 1000, index * 1000, 1000),)
    sink.write(Frame("cam", index, pts, Planes(noise[index % 64], grey, grey), audio=packets))
    print(pts, flush=True)
"""


@pytest.mark.parametrize(("fps", "sound"), [(5, "silent"), (10, "silent"), (30, "silent"), (10, "sound")])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_killed_file_plays_up_to_two_seconds_before_its_end(
    tmp_path: Path, times_of: TimesOf, suffix: str, fps: int, sound: str
) -> None:
    path = tmp_path / f"a{suffix}"
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, f"{path}?preset=veryfast", str(fps), sound],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    written = -1.0
    for line in child.stdout:
        written = float(line)
        if written >= 8:
            break
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    times = times_of(path)
    assert times[-1] >= written - 2
    assert times == pytest.approx([index / fps for index in range(len(times))], abs=1e-3)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("size", "subsampling", "shown"),
    [
        ((160, 96), (2, 2), (160, 96)),
        ((161, 97), (2, 2), (160, 96)),
        ((161, 97), (1, 1), (160, 96)),
        ((163, 96), (2, 1), (162, 96)),
        ((64, 64), (1, 1), (64, 64)),
        ((16, 9), (2, 2), (16, 8)),
    ],
)
def test_any_layout_becomes_even_420_with_its_colours(
    tmp_path: Path,
    frames: MakeFrames,
    write: Write,
    suffix: str,
    size: tuple[int, int],
    subsampling: tuple[int, int],
    shown: tuple[int, int],
) -> None:
    path = tmp_path / f"a{suffix}"
    sources = frames([0.0, 0.1], size=size, subsampling=subsampling)
    write(f"{path}?crf=1", sources)
    with av.open(str(path)) as container:
        picture = next(container.decode(video=0))
    assert (picture.width, picture.height, picture.format.name) == (*shown, "yuv420p")
    y, u, v = (_plane(plane) for plane in picture.planes)
    original = sources[0].planes
    np.testing.assert_allclose(y, original.y[: shown[1], : shown[0]], atol=12)
    assert np.abs(y - original.y[: shown[1], : shown[0]].astype(int)).mean() < 1.5
    np.testing.assert_allclose(u, 100, atol=6)
    np.testing.assert_allclose(v, 155, atol=6)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("full_range", [False, True])
def test_matrix_and_range_are_written(
    tmp_path: Path, frames: MakeFrames, write: Write, suffix: str, matrix: str, full_range: bool
) -> None:
    path = tmp_path / f"a{suffix}"
    write(path, frames([0.0, 0.1], matrix=matrix, full_range=full_range))
    with av.open(str(path)) as container:
        picture = next(container.decode(video=0))
    assert picture.colorspace == {"bt601": 6, "bt709": 1, "bt2020": 9}[matrix]
    assert picture.color_range == (2 if full_range else 1)


def test_a_change_of_size_is_scaled_to_the_first(
    tmp_path: Path, frames: MakeFrames, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.mp4"
    first = frames([0.0, 0.1])
    later = frames([0.2, 0.3, 0.4], size=(96, 96))
    write(f"{path}?crf=1", [*first, *later])
    with av.open(str(path)) as container:
        pictures = list(container.decode(video=0))
    assert {(picture.width, picture.height) for picture in pictures} == {(160, 96)}
    y = _plane(pictures[-1].planes[0])
    np.testing.assert_allclose(y[:, :28], 16, atol=6)  # letterboxed: 160 - 96 = 2 * 32
    np.testing.assert_allclose(y[:, 40:120], later[-1].planes.y[:, 8:88], atol=12)
    assert len([record for record in caplog.records if "first size" in record.message]) == 1


def test_a_decoded_frame_is_encoded_without_a_copy_and_its_type_is_not_kept(
    tmp_path: Path, frames: MakeFrames, write: Write, times_of: TimesOf
) -> None:
    from streamer.planes import from_video_frame, to_video_frame

    source = tmp_path / "source.mp4"
    write(source, frames(STEADY))
    with av.open(str(source)) as container:
        decoded = list(container.decode(video=0))
    for picture in decoded:
        picture.pict_type = av.video.frame.PictureType.B  # what x264 would take for an order
    copies = [Frame("cam", i, STEADY[i], from_video_frame(picture)) for i, picture in enumerate(decoded)]
    assert all(to_video_frame(frame.planes) is frame.planes.owner for frame in copies)
    write(tmp_path / "copy.mp4", copies)
    assert times_of(tmp_path / "copy.mp4") == pytest.approx(STEADY, abs=1e-3)


def test_writing_leaves_the_frame_as_it_was(tmp_path: Path, frames: MakeFrames, write: Write) -> None:
    sources = [*frames([0.0]), *frames([0.1], size=(80, 90)), *frames([0.2], subsampling=(1, 1))]
    before = [(frame.planes.y.copy(), frame.planes.u.copy()) for frame in sources]
    write(tmp_path / "a.mp4", sources)
    for frame, (y, u) in zip(sources, before, strict=True):
        np.testing.assert_array_equal(frame.planes.y, y)
        np.testing.assert_array_equal(frame.planes.u, u)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_a_failure_that_names_the_file(
    tmp_path: Path, frames: MakeFrames, sink: Callable[..., Sink]
) -> None:
    path = tmp_path / "a.mp4"
    path.symlink_to("/dev/full")
    opened = sink(path)
    with pytest.raises(WorkError, match=r"a\.mp4.*No space left"):
        _write_all(opened, frames(index / 10 for index in range(200)))
    opened.close()
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


def test_a_folder_that_cannot_be_made_is_said_with_the_first_frame(
    tmp_path: Path, frames: MakeFrames, sink: Callable[..., Sink]
) -> None:
    opened = sink(tmp_path / "new" / "a.mp4")
    (tmp_path / "new").touch()
    with pytest.raises(InputError, match=r"a\.mp4: cannot be opened"):
        opened.write(frames([0.0])[0])
    opened.close()


def test_a_file_that_cannot_be_finalised_stays_as_it_grew(
    tmp_path: Path, frames: MakeFrames, write: Write, times_of: TimesOf, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.mp4"
    (tmp_path / f".a.mp4.{os.getpid()}").mkdir()
    write(path, frames(STEADY))
    assert times_of(path) == pytest.approx(STEADY, abs=1e-3)
    assert b"moof" in _boxes(path.read_bytes())
    assert "stays fragmented" in caplog.text


def test_a_file_is_finalised_beside_any_other(tmp_path: Path, frames: MakeFrames, write: Write) -> None:
    path, other = tmp_path / "a.mp4", tmp_path / "a.mp4.tmp"
    other.write_bytes(b"somebody's")
    write(path, frames(STEADY))
    assert b"moof" not in _boxes(path.read_bytes())
    assert other.read_bytes() == b"somebody's"
    assert sorted(tmp_path.iterdir()) == [path, other]


def test_two_files_of_one_stream_agree(tmp_path: Path, frames: MakeFrames, sink: Callable[..., Sink]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from streamer.planes import copy

    shared = [Frame(frame.stream, frame.index, frame.pts, copy(frame.planes)) for frame in frames(STEADY * 4)]

    def fill(opened: Sink) -> None:
        _write_all(opened, shared)
        opened.close()

    paths = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(fill, [sink(f"{path}?preset=ultrafast&threads=1") for path in paths]))
    assert _packets(paths[0], "video") == _packets(paths[1], "video")


def _write_all(opened: Sink, frames: Iterable[Frame]) -> None:
    for frame in frames:
        opened.write(frame)


def _boxes(data: bytes) -> list[bytes]:
    """Name the boxes at the top of an MP4 file (ISO/IEC 14496-12)."""
    names, position = [], 0
    while position < len(data):
        size, name = struct.unpack(">I4s", data[position : position + 8])
        if size == 1:
            size = struct.unpack(">Q", data[position + 8 : position + 16])[0]
        names.append(name)
        position += size
    return names


def _plane(plane: av.video.plane.VideoPlane) -> np.ndarray:
    return (
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width].astype(int)
    )


def _packets(path: Path, kind: str) -> list[tuple[bytes, int | None]]:
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[0]
        return [(bytes(packet), packet.pts) for packet in container.demux(stream) if packet.size]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("given", "tagged"),
    [
        pytest.param({"primaries": 9, "transfer": 16}, (9, 16), id="PQ"),
        pytest.param({"primaries": 9, "transfer": 18}, (9, 18), id="HLG"),
        pytest.param({}, (9, 14), id="unspecified"),
        pytest.param({"primaries": 0, "transfer": 0}, (9, 14), id="reserved"),
    ],
)
def test_colours_are_tagged_as_the_source_s(
    tmp_path: Path,
    frames: MakeFrames,
    write: Write,
    suffix: str,
    given: dict[str, int],
    tagged: tuple[int, int],
) -> None:
    path = tmp_path / f"a{suffix}"
    write(path, frames([0.0, 0.1], matrix="bt2020"), **given)
    with av.open(str(path)) as container:
        picture = next(container.decode(video=0))
    assert (picture.colorspace, picture.color_primaries, picture.color_trc) == (9, *tagged)


def test_pictures_that_h264_cannot_hold_are_one_sentence(
    tmp_path: Path, frames: MakeFrames, sink: Callable[..., Sink]
) -> None:
    opened = sink(tmp_path / "a.mp4")
    with pytest.raises(InputError, match=r"a\.mp4: pictures of 16386x16, x264 takes sides up to 16384"):
        opened.write(frames([0.0], size=(16386, 16))[0])
    opened.close()
    assert not list(tmp_path.iterdir())

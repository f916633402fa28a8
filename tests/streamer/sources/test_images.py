"""Pictures as a source: natural order, native planes, upright, and a broken one costs only itself."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.errors import InputError
from streamer import planes as pixels
from streamer.frame import Frame
from streamer.sources import open_source

from .conftest import picture


def write(path: Path, rgb: np.ndarray, *flags: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), rgb[..., ::-1], flags)
    return path


def frames_of(url: Path | str) -> list[Frame]:
    source = open_source(str(url))
    frames = list(source)
    source.close()
    return frames


def rgb_of(frame: Frame) -> np.ndarray:
    return pixels.to_rgb(frame.planes).astype(int)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "tiff", "webp", "PNG"])
def test_lossless_kinds_keep_every_pixel(tmp_path: Path, suffix):
    (frame,) = frames_of(write(tmp_path / f"a.{suffix}", picture(0)))
    tolerance = 2 if suffix != "webp" else 8  # OpenCV writes WebP with loss
    assert np.abs(rgb_of(frame) - picture(0)).mean() <= tolerance


@pytest.mark.parametrize("sampling", ["411", "420", "422", "440", "444"])
def test_jpeg_planes_stay_as_decoded(tmp_path: Path, sampling):
    flag = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{sampling}")
    path = write(tmp_path / "a.jpg", picture(0), cv2.IMWRITE_JPEG_SAMPLING_FACTOR, flag)
    (frame,) = frames_of(path)
    kept = {"411": (2, 1), "420": (2, 2), "422": (2, 1), "440": (1, 1), "444": (1, 1)}
    assert frame.planes.subsampling == kept[sampling]
    assert (frame.planes.matrix, frame.planes.full_range) == ("bt601", True)
    assert np.abs(rgb_of(frame) - cv2.imread(str(path))[..., ::-1]).mean() < 2


@pytest.mark.parametrize("kind", ["grey", "alpha", "deep"])
def test_other_depths_and_channels_are_converted(tmp_path: Path, kind):
    expected = picture(0).astype(int)
    if kind == "grey":
        grey = cv2.cvtColor(picture(0), cv2.COLOR_RGB2GRAY)
        cv2.imwrite(str(tmp_path / "a.png"), grey)
        expected = grey[..., None].astype(int)
    elif kind == "alpha":
        cv2.imwrite(
            str(tmp_path / "a.png"), np.dstack([picture(0)[..., ::-1], np.full((64, 96), 255, np.uint8)])
        )
    else:
        cv2.imwrite(str(tmp_path / "a.png"), picture(0)[..., ::-1].astype(np.uint16) * 257)
    (frame,) = frames_of(tmp_path / "a.png")
    assert np.abs(rgb_of(frame) - expected).max() <= 3


@pytest.mark.parametrize("value", range(1, 9))
def test_exif_orientation_is_applied_as_opencv_does(tmp_path: Path, value):
    path = write(tmp_path / "a.jpg", picture(0))
    data = path.read_bytes()
    tags = b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, value, 0, 0)
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(tags) + 2) + tags + data[2:])
    (frame,) = frames_of(path)
    expected = cv2.imread(str(path))[..., ::-1].astype(int)
    assert frame.size == expected.shape[1::-1]
    assert np.abs(rgb_of(frame) - expected).mean() < 2


def test_folder_is_read_in_natural_order_and_only_its_pictures(tmp_path: Path):
    folder = tmp_path / "photos"
    names = ["a1.jpg", "a2.PNG", "a10.jpg", "b.bmp"]
    for number, name in enumerate(names):
        write(folder / name, np.full((16, 16, 3), number * 60, np.uint8))
    (folder / "notes.txt").write_text("text")
    (folder / "c.jpg").mkdir()
    frames = frames_of(folder)
    assert [round(frame.planes.y.mean() / 60) for frame in frames] == [0, 1, 2, 3]
    assert {frame.stream for frame in frames} == {"photos"}
    assert [frame.file for frame in frames] == [str(folder / name) for name in names]


def test_times_follow_from_the_rate(tmp_path: Path):
    for number in range(3):
        write(tmp_path / f"{number}.png", picture(number))
    assert [frame.pts for frame in frames_of(tmp_path)] == pytest.approx([0, 0.04, 0.08])
    source = open_source(f"{tmp_path}?fps=5")
    frames = list(source)
    assert (source.info.fps, source.info.frames, source.info.duration) == (5, 3, pytest.approx(0.6))
    assert [(frame.pts, frame.duration) for frame in frames] == [(0, 0.2), (0.2, 0.2), (0.4, 0.2)]
    assert not source.live


@pytest.mark.parametrize(("pattern", "count"), [("*.png", 2), ("?.png", 2), ("[0-1]*.*", 3), ("**/*.png", 3)])
def test_globs_match(tmp_path: Path, pattern, count):
    for name in ("0.png", "1.png", "1.jpg", "deep/2.png"):
        write(tmp_path / name, picture(0))
    assert len(frames_of(f"{tmp_path}/{pattern}")) == count
    assert len(frames_of(f"{tmp_path}/{pattern}?fps=3")) == count


def test_percent_in_a_name_is_no_pattern(tmp_path: Path):
    write(tmp_path / "100%d.png", picture(0))
    assert len(frames_of(tmp_path / "100%d.png")) == 1


@pytest.mark.parametrize("harm", ["cut", "empty", "text", "header"])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_broken_picture_is_counted_by_name_and_left_out(tmp_path: Path, suffix, harm):
    for number in range(3):
        write(tmp_path / f"{number}.{suffix}", picture(number))
    bad = tmp_path / f"1.{suffix}"
    data = bad.read_bytes()
    bad.write_bytes(
        {"cut": data[: len(data) // 2], "empty": b"", "text": b"text " * 99, "header": data[:20]}[harm]
    )
    source = open_source(str(tmp_path))
    frames = list(source)
    assert [round(frame.pts / 0.04) for frame in frames] == [0, 2]
    assert [frame.index for frame in frames] == [0, 1]
    assert source.failures.total() == 1
    assert next(iter(source.failures)).startswith(f"1.{suffix}: ")


def test_sizes_may_differ(tmp_path: Path):
    write(tmp_path / "0.png", picture(0))
    write(tmp_path / "1.png", picture(1, (33, 21)))
    assert [frame.size for frame in frames_of(tmp_path)] == [(96, 64), (33, 21)]


def test_nothing_readable_is_refused_with_the_reason(tmp_path: Path):
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"no picture in it can be read: a\.jpg: "):
        open_source(str(tmp_path / "a.jpg"))


def test_missing_picture_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"gone\.jpg: no such file"):
        open_source(str(tmp_path / "gone.jpg"))


def test_stop_ends_after_the_picture_at_hand(tmp_path: Path):
    for number in range(5):
        write(tmp_path / f"{number}.png", picture(number))
    source = open_source(str(tmp_path))
    taken = []
    for frame in source:
        taken.append(frame.index)
        source.stop()
    assert taken == [0]


def test_real_photographs_equal_opencvs(data_dir: Path):
    folder = data_dir / "gt" / "coco8-pose" / "images" / "val"
    frames = frames_of(folder)
    files = sorted(folder.glob("*.jpg"))
    assert len(frames) == len(files)
    for frame, file in zip(frames, files, strict=True):
        difference = np.abs(rgb_of(frame) - cv2.imread(str(file))[..., ::-1])
        assert difference.mean() < 1.5


def test_an_animated_webp_is_called_what_it_is(tmp_path: Path):
    path = tmp_path / "dance.webp"
    path.write_bytes(b"RIFF\x2a\0\0\0WEBPVP8X\x0a\0\0\0\x12" + bytes(40))
    with pytest.raises(InputError, match=r"dance\.webp: an animated WebP"):
        open_source(str(path))

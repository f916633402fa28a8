"""Still pictures: which file, which pixels."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from engines.errors import InputError, WorkError
from streamer.frame import Frame
from streamer.planes import from_rgb
from streamer.sinks import Sink


def test_a_pattern_is_filled_with_the_frame_s_index(
    tmp_path: Path, frames: Callable[..., list[Frame]], write: Callable[..., None]
) -> None:
    write(tmp_path / "new" / "%04d.jpg", frames([0.0, 0.1, 0.2])[1:])
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["0001.jpg", "0002.jpg"]


@pytest.mark.parametrize(("suffix", "tolerance"), [(".png", 0), (".jpg", 12), (".jpeg", 12), (".PNG", 0)])
def test_a_file_shows_the_frame_in_its_colours(
    tmp_path: Path, write: Callable[..., None], suffix: str, tolerance: int
) -> None:
    rgb = np.zeros((48, 64, 3), np.uint8)
    rgb[:, :32], rgb[:, 32:] = (200, 60, 20), (10, 90, 220)
    planes = from_rgb(rgb, full_range=True)
    path = tmp_path / f"one{suffix}"
    write(path, [Frame("cam", 5, 0.0, planes)])
    with av.open(str(path)) as container:
        shown = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    for column, colour in ((8, (200, 60, 20)), (56, (10, 90, 220))):
        assert np.abs(shown[24, column] - colour).max() <= max(tolerance, 2)


def test_quality_is_the_user_s(
    tmp_path: Path, frames: Callable[..., list[Frame]], write: Callable[..., None]
) -> None:
    for quality in (10, 95):
        write(f"{tmp_path}/{quality}.jpg?quality={quality}", frames([0.0]))
    assert (tmp_path / "10.jpg").stat().st_size < (tmp_path / "95.jpg").stat().st_size


def test_one_name_for_many_frames_is_refused_with_the_right_one(
    tmp_path: Path, frames: Callable[..., list[Frame]], sink: Callable[..., Sink]
) -> None:
    opened = sink(tmp_path / "a.jpg")
    first, second = frames([0.0, 0.1])
    opened.write(first)
    with pytest.raises(InputError, match=r"a\.jpg: one file for many frames, did you mean .*a/%06d\.jpg"):
        opened.write(second)
    opened.close()
    assert not list(tmp_path.iterdir())


def test_a_picture_that_was_not_written_whole_is_removed(
    tmp_path: Path, frames: Callable[..., list[Frame]], sink: Callable[..., Sink]
) -> None:
    opened = sink(tmp_path / "%d.png")
    first, second = frames([0.0, 0.1])
    opened.write(first)
    size = (tmp_path / "0.png").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, before[1]))
    try:
        with pytest.raises(WorkError, match=r"1\.png: cannot be written"):
            opened.write(second)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert [path.name for path in tmp_path.iterdir()] == ["0.png"]


def test_a_number_longer_than_a_name_is_refused(tmp_path: Path, sink: Callable[..., Sink]) -> None:
    with pytest.raises(InputError, match="must have 100 digits at most"):
        sink(tmp_path / "%999999999999d.jpg")


def test_nothing_is_on_disk_before_the_first_frame(tmp_path: Path, sink: Callable[..., Sink]) -> None:
    sink(tmp_path / "new" / "%d.png").close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said_with_the_file(
    tmp_path: Path, frames: Callable[..., list[Frame]], sink: Callable[..., Sink]
) -> None:
    opened = sink(tmp_path / "new" / "%d.png")
    (tmp_path / "new").touch()
    with pytest.raises(InputError, match=r"new/0\.png: cannot be written"):
        opened.write(frames([0.0])[0])


def test_a_percent_sign_is_written_twice(
    tmp_path: Path, frames: Callable[..., list[Frame]], write: Callable[..., None]
) -> None:
    write(tmp_path / "50%%.png", frames([0.0]))
    write(tmp_path / "50%%-%d.png", frames([0.0]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["50%-0.png", "50%.png"]

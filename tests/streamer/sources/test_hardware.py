"""Decoding on a GPU, played without one: what FFmpeg is asked for, what is said where it cannot be."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.codec.hwaccel import HWAccel

from benchmarks import decoding
from engines.errors import InputError
from streamer import doctor
from streamer.frame import Frame
from streamer.sources import Unavailable, hardware, is_local, is_video, local_files, open_source, stream_name
from streamer.sources.opening import opener_of
from streamer.sources.video import Video


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "yard.mp4"
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(5):
            picture = av.VideoFrame.from_ndarray(np.full((72, 64), 40 * number, np.uint8), "yuv420p")
            picture.pts, picture.time_base = number, Fraction(1, 10)
            film.mux(stream.encode(picture))
        film.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("prefix", "asked"),
    [("gpu:", ""), ("gpu+cuda:", "cuda"), ("GPU+CUDA.1:", "CUDA.1"), ("record:gpu+cuda:", "cuda")],
)
def test_the_named_device_is_asked_for_and_the_processor_steps_in_with_a_line(
    clip: Path,
    tmp_path: Path,
    prefix: str,
    asked: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    wanted: list[str] = []

    def find(device: str) -> HWAccel:
        wanted.append(device)
        return HWAccel("drm", allow_software_fallback=True)  # known to FFmpeg, and no decoder of H.264

    monkeypatch.setattr(hardware, "find_decoder", find)
    query = f"?to={tmp_path / 'tape'}" if prefix.startswith("record") else ""
    source = opener_of(f"{prefix}{clip}{query}", "yard")[0]()
    try:
        frames = list(source)
    finally:
        source.close()
    assert wanted == [asked]
    assert [round(frame.pts, 3) for frame in frames] == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert source.info.pixel_format == "yuv420p"
    assert f"{clip}: the GPU does not decode this h264, the processor does" in caplog.messages


def test_planes_of_a_gpu_are_those_of_the_processor(
    clip: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = read(str(clip))
    decoded = Video._pictures
    monkeypatch.setattr(hardware, "find_decoder", lambda device: None)
    monkeypatch.setattr(
        Video,
        "_pictures",
        lambda video, packet: [one.reformat(format="nv12") for one in decoded(video, packet)],
    )
    for ours, theirs in zip(read(f"gpu:{clip}"), expected, strict=True):
        assert (ours.index, ours.pts, ours.planes.matrix) == (theirs.index, theirs.pts, theirs.planes.matrix)
        for plane in "yuv":
            assert np.array_equal(getattr(ours.planes, plane), getattr(theirs.planes, plane))
    assert not caplog.messages


def read(url: str) -> list[Frame]:
    source = open_source(url)
    try:
        return list(source)
    finally:
        source.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("gpu+cude:a.mp4", "gpu+cude: this FFmpeg decodes on no 'cude', did you mean 'cuda'?"),
        (
            "gpu+cuda:synthetic:",
            "gpu+cuda:synthetic:: a GPU decodes video files and streams of the network only",
        ),
        ("gpu:0", "gpu:0: a GPU decodes video files and streams of the network only"),
        ("gpu:", "gpu:: a GPU decodes video files and streams of the network only"),
    ],
)
def test_what_cannot_be_is_said(url: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        open_source(url)
    assert str(refused.value) == said


@pytest.mark.parametrize(
    ("there", "status", "said"),
    [({"cuda"}, "ok", "gpu:URL, by cuda"), (set(), "missing", "no device of cuda, vaapi")],
)
def test_doctor_names_what_decodes(
    there: set[str], status: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "kinds", lambda: ["cuda", "vaapi"])
    monkeypatch.setattr(hardware, "works", lambda kind: kind in there)
    found = doctor.gpu_decoding()
    assert (found.status, found.detail) == (status, said)


@pytest.mark.parametrize("device", ["", "cuda", "cuda.7", "cuda.first"])
def test_a_device_that_is_not_there_is_an_error(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(accel: HWAccel, codec: av.Codec) -> None:
        raise av.error.PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(hardware, "HWAccel", lambda *told, **how: type("Absent", (), {"create": refuse})())
    with pytest.raises(Unavailable, match="decodes here, the URL without that prefix would be right"):
        hardware.find_decoder(device)


def test_a_prefix_changes_neither_name_nor_kind(clip: Path) -> None:
    assert stream_name(f"gpu+cuda.1:{clip}") == stream_name(f"record:gpu:{clip}") == "yard"
    assert stream_name("gpu:rtsp://me:secret@gate.local/live") == "live"
    assert is_local(f"gpu:{clip}")
    assert is_video(f"record:gpu+cuda:{clip}")
    assert not is_local("gpu:rtsp://gpu:8554/live")
    assert stream_name(f"GPU:{clip}") == "yard"
    assert local_files(f"gpu:{clip}") == local_files(f"record:chaos:gpu:{clip}") == [clip]


def test_the_benchmark_compares_both_sides(
    clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(decoding, "ROUNDS", 1)
    monkeypatch.setattr(hardware, "find_decoder", lambda device: None)
    assert decoding.main([str(clip), "--on", "gpu+cuda"]) == 0
    assert [line.split()[1:3] for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["processor", "5"],
        ["gpu+cuda", "5"],
    ]
    monkeypatch.setattr(decoding, "largest", lambda one, two: 3)
    assert decoding.main([str(clip), "--on", "gpu"]) == 1
    monkeypatch.undo()
    assert decoding.main([str(clip), "--on", "gpu+cude"]) == 2

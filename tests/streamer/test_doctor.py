"""The doctor: it always answers, and what it finds wrong comes with a remedy."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import cv2
import pytest

from streamer import doctor
from streamer.doctor import Finding, examine, print_findings


def test_every_subject_has_one_finding_and_every_fault_a_remedy() -> None:
    found = examine()
    assert [finding.subject for finding in found] == list(doctor.CHECKS)
    assert all(finding.detail for finding in found)
    assert all(finding.remedy for finding in found if finding.status != "ok")


def test_what_the_tests_run_on_is_found() -> None:
    status = {finding.subject: finding.status for finding in examine()}
    for subject in (
        "python",
        "machine",
        "packages",
        "opencv",
        "ffmpeg",
        "backend openvino",
        "backend onnxruntime",
    ):
        assert status[subject] == "ok", subject


@pytest.mark.parametrize(
    ("error", "status", "remedy"),
    [
        (ModuleNotFoundError("No module named 'av'", name="av"), "missing", "pip install av"),
        (ImportError("libfoo.so: cannot open"), "warn", "reinstall"),
        (RuntimeError("the driver is odd"), "warn", "reinstall"),
        (OSError(5, "input/output error"), "warn", "reinstall"),
    ],
    ids=["absent", "unloadable", "failing", "unreadable"],
)
def test_a_check_that_fails_becomes_a_finding(
    monkeypatch: pytest.MonkeyPatch, error: Exception, status: str, remedy: str
) -> None:
    def broken() -> Finding:
        raise error

    monkeypatch.setattr(doctor, "CHECKS", {"gadget": broken, "python": doctor.python})
    gadget, python = examine()
    assert (gadget.subject, gadget.status) == ("gadget", status)
    assert remedy in gadget.remedy
    assert str(error) in gadget.detail
    assert python.status == "ok"


def with_versions(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str]) -> None:
    """Let only these distributions be installed."""

    def version(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(metadata, "version", version)


def without_module(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(name: str) -> None:
        raise error

    monkeypatch.setattr(importlib, "import_module", refuse)


def test_two_opencv_packages_are_told_apart_from_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with_versions(monkeypatch, {"opencv-python": "5.0", "opencv-python-headless": "5.0"})
    found = doctor.opencv()
    assert found.status == "warn"
    assert "opencv-python and opencv-python-headless" in found.detail
    assert "pip uninstall -y opencv-python opencv-python-headless" in found.remedy


def test_no_opencv_at_all_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with_versions(monkeypatch, {})
    assert doctor.opencv() == Finding("opencv", "missing", "not installed", "pip install opencv-python")


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (ImportError("libGL.so.1: cannot open shared object file"), "apt-get install libgl1"),
        (ImportError("cannot import name 'gapi'"), "pip install --force-reinstall"),
    ],
    ids=["system library absent", "folder damaged"],
)
def test_opencv_that_does_not_import_gets_its_own_remedy(
    monkeypatch: pytest.MonkeyPatch, error: Exception, remedy: str
) -> None:
    with_versions(monkeypatch, {"opencv-python": "5.0"})
    without_module(monkeypatch, error)
    found = doctor.opencv()
    assert found.status == "missing"
    assert remedy in found.remedy


def test_absent_packages_are_named_in_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    with_versions(monkeypatch, {name: "1" for name in doctor.PACKAGES if name not in ("av", "onnx")})
    found = doctor.packages()
    assert (found.status, found.remedy) == ("missing", "pip install av onnx")


@pytest.mark.parametrize(
    ("installed", "gpus", "status", "word"),
    [
        ({}, "", "missing", "not installed"),
        ({}, "H200, 595.1", "missing", "though there is H200"),
        ({"tensorrt": "11.0"}, "", "missing", "no NVIDIA GPU"),
    ],
    ids=["neither", "gpu without package", "package without gpu"],
)
def test_tensorrt_needs_a_package_and_a_gpu(
    monkeypatch: pytest.MonkeyPatch, installed: dict[str, str], gpus: str, status: str, word: str
) -> None:
    with_versions(monkeypatch, installed)
    monkeypatch.setattr(doctor, "_gpus", lambda: gpus)
    found = doctor.tensorrt()
    assert found.status == status
    assert word in found.detail


def test_tensorrt_is_usable_where_both_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    from engines.backends import cuda
    from tests.engines.backends.fake_cuda import FakeCuda
    from tests.engines.backends.fake_tensorrt import fake_tensorrt

    driver = FakeCuda("Fake H200")
    with_versions(monkeypatch, {"tensorrt": "11.4.0"})
    monkeypatch.setattr(cuda, "find_driver", lambda: driver)
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt("11.4.0", driver))
    assert doctor.tensorrt() == Finding("backend tensorrt", "ok", "11.4.0: Fake H200, CUDA 13.1")


def test_cameras_are_listed_with_their_names(tmp_path: Path) -> None:
    (tmp_path / "video0").touch()
    (tmp_path / "video2").touch()
    (tmp_path / "names" / "video0").mkdir(parents=True)
    (tmp_path / "names" / "video0" / "name").write_text("HD Webcam\n")
    found = doctor.cameras(tmp_path, tmp_path / "names")
    assert found.status == "ok"
    assert found.detail == f"{tmp_path}/video0 HD Webcam, {tmp_path}/video2"


def test_a_camera_without_permission_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "video0").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    found = doctor.cameras(tmp_path, tmp_path)
    assert found.status == "warn"
    assert "usermod -aG video" in found.remedy


@pytest.mark.parametrize(
    ("system", "able", "status", "word"),
    [
        ("darwin", [cv2.CAP_AVFOUNDATION], "ok", "by number, 0 is the first"),
        ("win32", [cv2.CAP_MSMF, cv2.CAP_DSHOW], "ok", "by number, 0 is the first"),
        ("win32", [cv2.CAP_MSMF], "missing", "built without"),
        ("freebsd14", [cv2.CAP_V4L2], "ok", "OpenCV's V4L2"),
        ("freebsd14", [], "missing", "built without"),
    ],
)
def test_elsewhere_cameras_go_by_number_and_none_is_switched_on(
    monkeypatch: pytest.MonkeyPatch, system: str, able: list[int], status: str, word: str
) -> None:
    monkeypatch.setattr(doctor.platform, "system", lambda: "Other")
    monkeypatch.setattr(doctor.sys, "platform", system)
    monkeypatch.setattr(cv2.videoio_registry, "getCameraBackends", lambda: able)
    monkeypatch.setattr(cv2, "VideoCapture", None)
    found = doctor.cameras()
    assert (found.status, word in found.detail, bool(found.remedy)) == (status, True, status != "ok")


def test_no_camera_is_missing(tmp_path: Path) -> None:
    assert doctor.cameras(tmp_path, tmp_path).status == "missing"


@pytest.mark.parametrize("name", ["", ":987654"], ids=["unset", "dead"])
def test_a_display_that_cannot_be_used_is_not_ok(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(doctor.sys, "platform", "linux")
    monkeypatch.setenv("DISPLAY", name)
    assert doctor.display().status != "ok"


def test_the_processor_is_named_even_where_the_system_does_not_tell(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Example 9000 : fast\n")
    assert doctor.processor(cpuinfo) == "Example 9000 : fast"
    assert doctor.processor(tmp_path / "absent")


def test_the_cache_is_measured_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "streamer" / "engines").mkdir(parents=True)
    (tmp_path / "streamer" / "engines" / "blob").write_bytes(bytes(3 << 20))
    assert doctor.cache() == Finding("cache", "ok", f"{tmp_path}/streamer/engines, 3.0 MiB")


def test_a_nearly_full_disk_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LEAST_DISK", 1 << 62)
    assert doctor.disk().status == "warn"


def test_remedies_are_printed_below_what_they_cure(capsys: pytest.CaptureFixture[str]) -> None:
    print_findings([Finding("disk", "warn", "1 [GiB] free", "free some space")])
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert first.split() == ["warn", "disk", "1", "[GiB]", "free"]
    assert second.strip() == "free some space"


def test_a_fresh_interpreter_finds_the_same() -> None:
    """Nothing that another test has imported already helps the doctor."""
    code = (
        "from streamer.doctor import examine\n"
        "for finding in examine(): print(finding.subject, finding.status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{finding.subject} {finding.status}" for finding in examine()]
    assert done.stderr == ""

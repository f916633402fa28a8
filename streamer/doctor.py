"""What this machine offers and what it lacks: one finding per subject, each with its remedy."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from engines.machine import cores, memory, quota

__all__ = ["Finding", "examine", "print_findings"]

Status = Literal["ok", "warn", "missing"]

PACKAGES = (
    "numpy",
    "opencv-python",
    "av",
    "onnx",
    "openvino",
    "onnxruntime",
    "pydantic",
    "PyYAML",
    "typer",
    "rich",
)
OPENCV = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
LEAST_DISK = 2 << 30  # bytes: what an hour of 1080p at 4 Mb/s needs


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing examined; ok needs no remedy, "missing" may be something that is never wanted here."""

    subject: str
    status: Status
    detail: str
    remedy: str = ""  # what to do, "" = nothing


def examine() -> list[Finding]:
    """Examine the machine; never raises, and takes a second or two."""
    # One after the other: libraries that import numpy in several threads at once can find half of it.
    return [_safely(subject, check) for subject, check in CHECKS.items()]


def print_findings(findings: Iterable[Finding]) -> None:
    """Print findings to stdout as a table, remedies below what they cure."""
    from rich.table import Table
    from rich.text import Text

    from engines.console import plain

    colours = {"ok": "green", "warn": "yellow", "missing": "red"}
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for finding in findings:
        detail = Text(finding.detail)
        if finding.remedy:
            detail.append(f"\n{finding.remedy}", style="italic")
        table.add_row(Text(finding.status, style=colours[finding.status]), Text(finding.subject), detail)
    plain().print(table)


def python() -> Finding:
    """The interpreter."""
    detail = f"{platform.python_implementation()} {platform.python_version()} at {sys.executable}"
    return Finding("python", "ok", detail)


def machine() -> Finding:
    """Processor, cores that this process may use, memory."""
    usable = min(cores(), quota() or cores())
    system = f"{platform.system()} {platform.release()}"
    return Finding("machine", "ok", f"{processor()}, {usable:g} cores, {memory() / 2**30:.1f} GiB, {system}")


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's model name, or its architecture where the system does not tell."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def packages() -> Finding:
    """Versions of the packages that the base installation brings."""
    versions = {name: _version(name) for name in PACKAGES}
    absent = [name for name, version in versions.items() if not version]
    detail = ", ".join(f"{name} {version or 'absent'}" for name, version in versions.items())
    if absent:
        return Finding("packages", "missing", detail, f"pip install {' '.join(absent)}")
    return Finding("packages", "ok", detail)


def opencv() -> Finding:
    """OpenCV imports, is there once, and can open windows.

    Several of its packages in one environment share one folder: the one installed last wins, and removing
    any of them breaks the rest; pip does not notice.
    """
    installed = [name for name in OPENCV if _version(name)]
    if not installed:
        return Finding("opencv", "missing", "not installed", "pip install opencv-python")
    repair = f"pip uninstall -y {' '.join(installed)}; pip install --force-reinstall --no-deps opencv-python"
    if len(installed) > 1:
        return Finding("opencv", "warn", f"{' and '.join(installed)} overwrite each other", repair)
    try:
        cv2 = importlib.import_module("cv2")
        gui = next((line for line in cv2.getBuildInformation().splitlines() if "GUI:" in line), "")
    except ImportError as error:
        system = "as root: apt-get install libgl1 libglib2.0-0 libxcb1"
        return Finding("opencv", "missing", str(error), system if ".so" in str(error) else repair)
    except AttributeError:
        return Finding("opencv", "warn", "its folder is damaged, parts are missing", repair)
    detail = f"{cv2.__version__}, windows by {gui.partition(':')[2].strip() or 'Qt'}"
    if "NONE" in gui:
        return Finding("opencv", "warn", f"{cv2.__version__} cannot open windows", repair)
    return Finding("opencv", "ok", detail)


def openvino() -> Finding:
    """OpenVINO's devices, and whether its bf16 is native here."""
    core = importlib.import_module("engines.backends.openvino_core").openvino_core()
    devices = [f"{name} ({core.get_property(name, 'FULL_DEVICE_NAME')})" for name in core.available_devices]
    able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") if "CPU" in core.available_devices else []
    bf16 = "bf16 native" if "BF16" in able else "bf16 not native"
    detail = f"{_version('openvino')}: {', '.join(devices) or 'no device'}, {bf16}"
    return Finding("backend openvino", "ok" if devices else "warn", detail)


def onnxruntime() -> Finding:
    """ONNX Runtime's execution providers."""
    providers = importlib.import_module("onnxruntime").get_available_providers()
    names = ", ".join(name.removesuffix("ExecutionProvider") for name in providers)
    return Finding("backend onnxruntime", "ok", f"{_version('onnxruntime')}: {names}")


def tensorrt() -> Finding:
    """TensorRT and an NVIDIA GPU to run it on."""
    return _nvidia("tensorrt", "tensorrt", "pip install tensorrt")


def tensorrt_rtx() -> Finding:
    """TensorRT for RTX and an NVIDIA GPU to run it on; its plans can be built without one."""
    return _nvidia("tensorrt_rtx", "tensorrt-rtx", "pip install tensorrt-rtx")


def ffmpeg() -> Finding:
    """The FFmpeg libraries inside PyAV, and the encoder that recordings need."""
    av = importlib.import_module("av")
    detail = f"PyAV {av.__version__} with FFmpeg {av.ffmpeg_version_info}"
    if "libx264" not in av.codecs_available:
        return Finding(
            "ffmpeg", "warn", f"{detail}, without libx264", "pip install --force-reinstall --no-deps av"
        )
    return Finding("ffmpeg", "ok", f"{detail}, libx264 (its licence is the GPL)")


def gpu_decoding() -> Finding:
    """What decodes the sources that `gpu:` asks for."""
    hardware = importlib.import_module("streamer.sources.hardware")
    known = hardware.kinds()
    if found := [kind for kind in known if hardware.works(kind)]:
        return Finding("gpu decoding", "ok", f"gpu:URL, by {', '.join(found)}")
    tried = f"no device of {', '.join(known)}" if known else "PyAV was built without it"
    return Finding("gpu decoding", "missing", tried, "the processor decodes; with a GPU it has less to do")


def display() -> Finding:
    """A display that `window:` can draw on."""
    from engines.errors import InputError
    from streamer.sinks import check_sink

    try:
        check_sink("window:")
    except InputError as error:
        reason = str(error).removeprefix("window:: ")
        return Finding("display", "missing", reason, "to see window: without a desktop, run under xvfb-run")
    return Finding("display", "ok", f"window: opens on {os.environ.get('DISPLAY') or 'the desktop'}")


def cameras(devices: Path = Path("/dev"), names: Path = Path("/sys/class/video4linux")) -> Finding:
    """Video devices, and whether this user may read them; elsewhere than on Linux, what opens cameras."""
    if platform.system() != "Linux":
        return _numbered_cameras()
    found = sorted(devices.glob("video*"))
    closed = [path for path in found if not os.access(path, os.R_OK | os.W_OK)]
    if not found:
        return Finding("cameras", "missing", f"no {devices}/video*", "for a webcam, plug one in")
    detail = ", ".join(f"{path} {_camera_name(names / path.name / 'name')}".strip() for path in found)
    if closed:
        refused = ", ".join(str(path) for path in closed)
        return Finding(
            "cameras",
            "warn",
            f"{detail}; no permission for {refused}",
            "usermod -aG video $USER, log in again",
        )
    return Finding("cameras", "ok", detail)


def cache() -> Finding:
    """The folder of compiled engines: its place, its size, and whether it can be written."""
    from engines.cache import folder as cache_folder

    folder = cache_folder()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK):
        return Finding(
            "cache", "warn", f"{folder} cannot be written", "set XDG_CACHE_HOME to a folder that can"
        )
    return Finding("cache", "ok", f"{folder}, {size / 2**20:.1f} MiB")


def disk() -> Finding:
    """Free space where recordings go by default."""
    free = shutil.disk_usage(Path.cwd()).free
    detail = f"{free / 2**30:.1f} GiB free in {Path.cwd()}"
    if free < LEAST_DISK:
        return Finding("disk", "warn", detail, "free some space, or give sinks a path on another disk")
    return Finding("disk", "ok", detail)


def torch() -> Finding:
    """torch and an NVIDIA GPU: what is taken where TensorRT is missing."""
    return _nvidia("torch", "torch", "pip install torch")


CHECKS: dict[str, Callable[[], Finding]] = {
    "python": python,
    "machine": machine,
    "packages": packages,
    "opencv": opencv,
    "ffmpeg": ffmpeg,
    "backend openvino": openvino,
    "backend onnxruntime": onnxruntime,
    "backend tensorrt": tensorrt,
    "backend tensorrt_rtx": tensorrt_rtx,
    "backend torch": torch,
    "gpu decoding": gpu_decoding,
    "display": display,
    "cameras": cameras,
    "cache": cache,
    "disk": disk,
}


def _safely(subject: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except ModuleNotFoundError as error:
        return Finding(subject, "missing", str(error), f"pip install {error.name or subject}")
    except Exception as error:  # whatever is broken is what we are here to report
        return Finding(
            subject, "warn", f"could not be examined: {type(error).__name__}: {error}", "reinstall it"
        )


def _version(name: str) -> str:
    """Return the installed version of a distribution, "" when absent."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _nvidia(module: str, distribution: str, install: str) -> Finding:
    subject = f"backend {module}"
    version, gpus = _version(distribution), _gpus()
    if not version:
        return Finding(
            subject, "missing", "not installed" + (f", though there is {gpus}" if gpus else ""), install
        )
    if not gpus:
        return Finding(
            subject, "missing", f"{version}, no NVIDIA GPU", "it runs on machines with an NVIDIA GPU"
        )
    if module == "torch":  # too long to import for a look
        return Finding(subject, "ok", f"{version}: {gpus}")
    from engines.backends.tensorrt.binding import load_binding

    return Finding(subject, "ok", f"{load_binding(module).version}: {gpus}")


def _gpus() -> str:
    """Return the names of the NVIDIA GPUs that CUDA reaches and its version, "" when there is none."""
    from engines.backends.cuda import devices, find_driver

    found = devices(find_driver())
    names = ", ".join(gpu.name for gpu in found)
    return f"{names}, CUDA {found[0].driver // 1000}.{found[0].driver % 1000 // 10}" if found else ""


def _numbered_cameras() -> Finding:
    """Whether OpenCV can open cameras here; none is tried, for that switches it on."""
    registry = importlib.import_module("cv2").videoio_registry
    backend = importlib.import_module("streamer.sources.capture").BACKENDS.get(sys.platform)
    able = [registry.getBackendName(each) for each in registry.getCameraBackends() if backend in (None, each)]
    if not able:
        remedy = "pip install --force-reinstall --no-deps opencv-python"
        return Finding("cameras", "missing", "OpenCV was built without what opens them here", remedy)
    return Finding("cameras", "ok", f"by number, 0 is the first, through OpenCV's {able[0]}; none was tried")


def _camera_name(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""

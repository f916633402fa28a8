"""This project beside others, on one clip with one model: fps, CPU per frame, memory and time to start.

    python -m benchmarks rivals
    python -m benchmarks rivals --ultralytics /opt/ultralytics/bin/yolo

Every contender is a command, run in turns with the others. What the whole clip takes less what its beginning
takes is what frames cost without the start; the quickest of three turns counts. ``yolo`` is Ultralytics'
command in an environment of its own that has openvino and onnxruntime; without it the others are compared.
OpenVINO as it comes computes in bf16 where the processor does, the rest in fp32. "by hand" is the loop that
people write themselves: OpenCV reads, resizes and suppresses, ONNX Runtime infers, in one thread.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pipeline import CLIP, MODEL

BEGINNING = 200  # frames
TURNS = 3
SIDE = 320  # pixels of the model's square input
CONF, IOU = 0.25, 0.45


@dataclass(frozen=True, slots=True)
class Contender:
    """A command; CLIP and FOLDER in it stand for what it reads and where it may write."""

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run of a command took."""

    wall: float  # seconds
    cpu: float  # seconds, of all cores
    memory: float  # MB, at most


def main() -> int:
    """Print a table for each case."""
    parser = argparse.ArgumentParser(prog="benchmarks rivals")
    parser.add_argument("--ultralytics", metavar="YOLO", help="its command `yolo`")
    parser.add_argument(
        "--by-hand", nargs="*", metavar="PATH", help="run the loop alone: clip [video to write]"
    )
    told = parser.parse_args()
    if told.by_hand:
        return by_hand(*told.by_hand)
    print(f"# {platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        beginning = Path(folder) / "beginning.mp4"
        saved = cut(beginning)
        for case, contenders in cases(told.ultralytics, Path(folder)).items():
            print(f"\n{case:34} {'fps':>7} {'CPU ms':>7} {'MB':>6} {'start s':>8}", flush=True)
            for contender, (short, long) in in_turns(contenders, beginning, Path(folder)).items():
                each = (long.wall - short.wall) / saved
                cpu = (long.cpu - short.cpu) / saved * 1e3
                began = short.wall - BEGINNING * each
                print(
                    f"{contender:34} {1 / each:7.1f} {cpu:7.1f} {long.memory:6.0f} {began:8.1f}", flush=True
                )
    return 0


def cases(yolo: str | None, folder: Path) -> dict[str, list[Contender]]:
    """The contenders, with nothing written and with an annotated video."""
    streamer = (sys.executable, "-m", "streamer", "run", "CLIP", "--model", str(MODEL), "--quiet")
    fp32, runtime = ("--precision", "fp32"), ("--backend", "onnxruntime")
    loop = (sys.executable, "-m", "benchmarks.rivals", "--by-hand", "CLIP")
    found: dict[str, list[Contender]] = {}
    for case, sink, written in (
        ("nothing written", "null:", ()),
        ("annotated video written", "FOLDER/ours.mp4", ("FOLDER/hand.mp4",)),
    ):
        ours = (*streamer, "--conf", str(CONF), "--iou", str(IOU), "--sink", sink)
        found[case] = [
            Contender("streamer, OpenVINO as it comes", ours),
            Contender("streamer, OpenVINO fp32", (*ours, *fp32)),
            Contender("streamer, ONNX Runtime", (*ours, *fp32, *runtime)),
            Contender("by hand, ONNX Runtime", (*loop, *written)),
        ]
        if yolo:
            how = (f"imgsz={SIDE}", f"conf={CONF}", f"iou={IOU}", "device=cpu", "verbose=False")
            how = (*how, f"save={bool(written)}", "project=FOLDER", "source=CLIP")
            model = folder / "yolov8n.onnx"
            shutil.copyfile(MODEL, model)
            found[case] += [
                Contender(
                    "Ultralytics, OpenVINO as it comes",
                    (yolo, "predict", f"model={as_openvino(folder)}", *how),
                ),
                Contender("Ultralytics, ONNX Runtime", (yolo, "predict", f"model={model}", *how)),
            ]
    return found


def in_turns(contenders: list[Contender], beginning: Path, folder: Path) -> dict[str, tuple[Cost, Cost]]:
    """For each, the quickest run over the beginning and over the whole clip."""
    best: dict[tuple[str, Path], Cost] = {}
    for _ in range(TURNS):
        for contender in contenders:
            for clip in (beginning, CLIP):
                with tempfile.TemporaryDirectory(dir=folder) as own:
                    cost = run(
                        [word.replace("CLIP", str(clip)).replace("FOLDER", own) for word in contender.command]
                    )
                key = contender.name, clip
                best[key] = min(cost, best.get(key, cost), key=lambda one: one.wall)
    return {one.name: (best[one.name, beginning], best[one.name, CLIP]) for one in contenders}


def run(command: list[str]) -> Cost:
    """Run a command to its end; CalledProcessError with what it said where it fails."""
    with tempfile.TemporaryFile("w+") as said:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        if process.returncode:
            print(said.read(), file=sys.stderr)
            raise subprocess.CalledProcessError(process.returncode, command)
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def cut(path: Path) -> int:
    """Write the clip's beginning, as it is; return how many frames the rest has."""
    import av

    with av.open(str(CLIP)) as source, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        count = 0
        for packet in source.demux(video=0):
            count += packet.dts is not None
            if packet.dts is not None and count <= BEGINNING:
                packet.stream = stream
                output.mux(packet)
    return count - BEGINNING


def as_openvino(folder: Path) -> Path:
    """Lay the model out as Ultralytics' own export to OpenVINO does: IR and its metadata as YAML."""
    import ast

    import onnx
    import openvino
    import yaml

    made = folder / "yolov8n_openvino_model"
    made.mkdir(exist_ok=True)
    openvino.save_model(openvino.convert_model(str(MODEL)), str(made / "yolov8n.xml"), compress_to_fp16=False)
    told: dict[str, Any] = {entry.key: entry.value for entry in onnx.load(str(MODEL)).metadata_props}
    for key in ("stride", "batch", "imgsz", "names", "args"):
        if key in told:
            told[key] = ast.literal_eval(told[key])
    (made / "metadata.yaml").write_text(yaml.safe_dump(told))
    return made


def by_hand(clip: str, video: str = "") -> int:
    """Read, letterbox, infer, decode, suppress, and with a path draw and write: one after the other."""
    import cv2
    import onnxruntime

    session = onnxruntime.InferenceSession(str(MODEL), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    capture, writer = cv2.VideoCapture(clip), None
    while True:
        read, picture = capture.read()
        if not read:
            break
        height, width = picture.shape[:2]
        gain = min(SIDE / width, SIDE / height)
        small = cv2.resize(picture, (round(width * gain), round(height * gain)))
        left, top = (SIDE - small.shape[1]) // 2, (SIDE - small.shape[0]) // 2
        square = np.full((SIDE, SIDE, 3), 114, np.uint8)
        square[top : top + small.shape[0], left : left + small.shape[1]] = small
        blob = cv2.dnn.blobFromImage(square, 1 / 255, swapRB=True)
        rows = session.run(None, {name: blob})[0][0].T
        classes = rows[:, 4:].argmax(1)
        scores = rows[np.arange(len(rows)), 4 + classes]
        kept = scores > CONF
        boxes, scores, classes = rows[kept, :4], scores[kept], classes[kept]
        boxes[:, :2] = (boxes[:, :2] - boxes[:, 2:] / 2 - (left, top)) / gain
        boxes[:, 2:] /= gain
        chosen = cv2.dnn.NMSBoxesBatched(boxes.tolist(), scores.tolist(), classes.tolist(), CONF, IOU)
        if video:
            writer = writer or cv2.VideoWriter(
                video, cv2.VideoWriter.fourcc(*"mp4v"), capture.get(cv2.CAP_PROP_FPS), (width, height)
            )
            for index in np.ravel(chosen).astype(int):
                x, y, w, h = boxes[index].astype(int).tolist()
                cv2.rectangle(picture, (x, y), (x + w, y + h), (0, 200, 0), 2)
                label = f"{classes[index]} {scores[index]:.2f}"
                cv2.putText(picture, label, (x, y - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 200, 0), 1)
            writer.write(picture)
    if writer is not None:
        writer.release()
    return 0


if __name__ == "__main__":
    sys.exit(main())

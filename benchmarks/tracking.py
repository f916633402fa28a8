"""Trackers: what an update costs on one core, and how well they track, beside other public trackers.

    python -m benchmarks tracking                          ours alone
    OTHERS=/tmp/others/bin/python python -m benchmarks tracking
    TRUTH=.../mot15 DETECTIONS=.../TUD-Campus/det.txt      and their accuracy there, with [evaluate]

OTHERS is the Python of an environment of its own, made by: pip install trackers norfair numpy
The others run in a process of their own, on the same boxes: people who walk straight on, and jitter.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Boxes = list[NDArray[np.float64]]  # for each frame (N,5): xyxy, score
Update = Callable[[NDArray[np.float64], float], list[tuple[int, list[float]]]]  # -> ids and their boxes

COUNTS = (50, 300)
FRAMES, WARM = 150, 10
HALF = np.array([20.0, 45.0])  # of a person's width and height
FPS = 30.0
MOT_FPS = 25.0


def crowd(count: int) -> Boxes:
    """Return boxes of people who walk on at up to two of their widths a second."""
    random = np.random.default_rng(count)
    place, pace = random.uniform(0, 1920, (count, 2)), random.uniform(-60, 60, (count, 2))
    frames = []
    for index in range(FRAMES):
        centre = place + pace * index / FPS + random.normal(0, 2, (count, 2))
        boxes = np.concatenate([centre - HALF, centre + HALF], axis=1)
        frames.append(np.concatenate([boxes, random.uniform(0.3, 0.95, (count, 1))], axis=1))
    return frames


def detections(path: Path) -> Boxes:
    """Read MOTChallenge detections."""
    table = np.loadtxt(path, delimiter=",")
    rows = [table[table[:, 0] == frame] for frame in range(1, int(table[:, 0].max()) + 1)]
    return [np.concatenate([r[:, 2:4], r[:, 2:4] + r[:, 4:6], r[:, 6:7]], axis=1) for r in rows]


def ours(name: str) -> Update:
    """Return one of our trackers as a function."""
    from engines.detections import Detections
    from streamer.trackers import open_tracker

    tracker = open_tracker(name)

    def update(rows: NDArray[np.float64], pts: float) -> list[tuple[int, list[float]]]:
        found = tracker.update(Detections.of(rows[:, :4], rows[:, 4], np.zeros(len(rows))), pts)
        kept = found.ids >= 0
        return list(zip(found.ids[kept].tolist(), found.boxes[kept].tolist(), strict=True))

    return update


def roboflow(name: str, fps: float) -> Update:
    """Return a tracker of roboflow/trackers as a function."""
    import supervision as sv
    import trackers

    tracker = getattr(trackers, name)(frame_rate=fps)

    def update(rows: NDArray[np.float64], pts: float) -> list[tuple[int, list[float]]]:
        given = sv.Detections(rows[:, :4].astype(np.float32), None, rows[:, 4], np.zeros(len(rows), int))
        found = tracker.update(given)
        kept = found.tracker_id >= 0
        return list(zip(found.tracker_id[kept].tolist(), found.xyxy[kept].tolist(), strict=True))

    return update


def norfair(fps: float) -> Update:
    """Return Norfair's tracker, by the IoU of boxes, as a function."""
    import norfair

    tracker = norfair.Tracker("iou", 0.7, hit_counter_max=round(fps), initialization_delay=2)

    def update(rows: NDArray[np.float64], pts: float) -> list[tuple[int, list[float]]]:
        given = [norfair.Detection(row[:4].reshape(2, 2), np.repeat(row[4], 2)) for row in rows]
        now = {id(detection) for detection in given}
        seen = [track for track in tracker.update(given) if id(track.last_detection) in now]
        return [(track.id, track.last_detection.points.ravel().tolist()) for track in seen]

    return update


def tracker_of(name: str, fps: float) -> Update:
    """Return the tracker of this name, ours or another's."""
    if name.startswith("roboflow "):
        return roboflow(name.removeprefix("roboflow "), fps)
    return norfair(fps) if name == "norfair iou" else ours(name)


def cost(name: str, frames: Boxes) -> float:
    """Return the median milliseconds of an update."""
    update, times = tracker_of(name, FPS), []
    for index, rows in enumerate(frames):
        began = time.perf_counter()
        update(rows, index / FPS)
        times.append(time.perf_counter() - began)
    return float(np.median(times[WARM:])) * 1e3


def measure(names: list[str], det: str) -> dict[str, dict[str, object]]:
    """Return, for each tracker, its milliseconds by count and the MOTChallenge text of its tracks."""
    figures: dict[str, dict[str, object]] = {}
    for name in names:
        lines: list[str] = []
        if det:
            update = tracker_of(name, MOT_FPS)
            for index, rows in enumerate(detections(Path(det))):
                for number, (x1, y1, x2, y2) in update(rows, index / MOT_FPS):
                    lines.append(
                        f"{index + 1},{number},{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f},1,-1,-1,-1"
                    )
        figures[name] = {str(count): cost(name, crowd(count)) for count in COUNTS} | {"tracks": lines}
    return figures


def main() -> None:
    """Print a line for each tracker."""
    det, truth = os.environ.get("DETECTIONS", ""), os.environ.get("TRUTH", "")
    alone = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    jobs = [(sys.executable, ["sort", "bytetrack", "ocsort", "botsort"])]
    if os.environ.get("OTHERS"):
        others = ["roboflow SORTTracker", "roboflow ByteTrackTracker", "norfair iou"]
        jobs.append((os.environ["OTHERS"], others))
    figures: dict[str, dict[str, object]] = {}
    for python, names in jobs:
        command = [python, __file__, json.dumps([names, det])]
        done = subprocess.run(
            command, env={**os.environ, **alone}, capture_output=True, text=True, check=True
        )
        figures |= json.loads(done.stdout.splitlines()[-1])
    print(f"Python {platform.python_version()}, numpy {np.__version__}, {platform.processor()}, one core")
    print(
        f"{'tracker':26}"
        + "".join(f"{count:>4} x {count:<4} ms" for count in COUNTS)
        + "   MOTA   IDF1  switches"
    )
    for name, told in figures.items():
        times = "".join(f"{told[str(count)]:>14.3f}" for count in COUNTS)
        print(f"{name:26}{times}{accuracy(name, told['tracks'], truth)}")


def accuracy(name: str, lines: object, truth: str) -> str:
    """Return how the tracks score, as part of a line."""
    if not truth or not isinstance(lines, list):
        return ""
    from streamer.evaluate import evaluate

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "TUD-Campus.txt"
        path.write_text("\n".join(lines))
        [score] = evaluate(Path(truth), [path])
    return f"   {score.mota * 100:5.1f}  {score.idf1 * 100:5.1f}  {score.switches}"


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1].startswith("[["):
        sys.path.insert(0, str(Path(__file__).parents[1]))
        print(json.dumps(measure(*json.loads(sys.argv[1]))))
    else:
        main()

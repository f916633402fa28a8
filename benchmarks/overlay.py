"""What drawing costs: `python benchmarks/overlay.py` prints µs per frame for each overlay at three sizes.

CPU time of one thread, 4:2:0, made-up detections, the median of many runs. Sprites and glyphs are cached, as
they are in a stream after its first frames; the figures in the HUD change with every frame.
"""

from __future__ import annotations

import platform
import subprocess
import time
from collections.abc import Callable
from itertools import count
from statistics import median

import av
import cv2
import numpy as np

from engines.detections import Detections, Masks
from engines.spec import ModelSpec
from streamer import planes as native
from streamer.frame import Frame, Planes
from streamer.overlay import Canvas, Overlay, draw, overlays
from streamer.overlay.boxes import boxes
from streamer.overlay.hud import Hud
from streamer.overlay.keypoints import Keypoints
from streamer.overlay.labels import Labels
from streamer.overlay.masks import masks

SIZES = [(768, 432), (1920, 1080), (3840, 2160)]
PERSON = np.random.default_rng(1).random((17, 2))
LIMBS = (*((a, a + 1) for a in range(16)), (0, 5), (0, 6), (5, 11))
SPEC = ModelSpec(
    "bench",
    "pose",
    "bench",
    ("person", "car", "ball"),
    (640, 640),
    keypoints=tuple(f"{side}_{i}" for i in range(9) for side in ("left", "right"))[:17],
    skeleton=LIMBS,
)


def objects(size: tuple[int, int], n: int, share: float) -> Detections:
    """Return n detections, each ``share`` of the picture's height tall and half as wide."""
    random = np.random.default_rng(0)
    tall = share * size[1]
    corner = random.random((n, 2)) * (size[0] - tall / 2, size[1] - tall)
    span = np.array([tall / 2, tall])
    found = np.concatenate([corner, corner + span], axis=1).astype(np.float32)
    keypoints = np.ones((n, 17, 3), np.float32)
    keypoints[..., :2] = corner[:, None] + PERSON * span
    y, x = np.mgrid[-1:1:40j, -1:1:24j]
    grid = (1 - x**2 - y**2 + 0.2 * np.sin(8 * x)).astype(np.float32)
    return Detections.of(
        found,
        random.random(n),
        random.integers(0, 3, n),
        ids=np.arange(n),
        keypoints=keypoints,
        masks=Masks((grid,) * n, found),
    )


def picture(size: tuple[int, int]) -> Planes:
    """Return 4:2:0 planes of noise."""
    frame = av.VideoFrame.from_ndarray(
        np.random.default_rng(0).integers(0, 256, (size[1] * 3 // 2, size[0]), np.uint8), format="yuv420p"
    )
    return native.from_video_frame(frame)


def cost(work: Callable[[], object], *, seconds: float = 0.4) -> float:
    """Return the median µs of ``work`` after three runs to warm up."""
    for _ in range(3):
        work()
    times: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return 1e6 * median(times)


def on_canvas(planes: Planes, found: Detections, overlay: Overlay) -> float:
    """Return the µs of one overlay on planes that are writable already."""
    frame, writable = Frame("bench", 0, 0.0, planes, detections=found), native.copy(planes)
    return cost(lambda: overlay(Canvas(writable), frame))


def rows(size: tuple[int, int]) -> dict[str, float]:
    """Return what each line of the table costs at one size."""
    planes, ticks = picture(size), count()
    five, fifty = objects(size, 5, 0.4), objects(size, 50, 0.2)
    labels, keypoints = Labels(SPEC), Keypoints(SPEC)
    frame = Frame("bench", 0, 0.0, planes, detections=five)
    everything = overlays(SPEC, hud=lambda frame: "bench  25 fps  9 ms")
    return {
        "copy of the planes": cost(lambda: native.copy(planes)),
        "boxes, 5": on_canvas(planes, five, boxes),
        "labels, 5": on_canvas(planes, five, labels),
        "copy + boxes + labels, 5": cost(lambda: draw(frame, [boxes, labels])),
        "keypoints, 5 people": on_canvas(planes, five, keypoints),
        "masks, 5 of 0.4 height": on_canvas(planes, five, masks),
        "masks, 50 of 0.2 height": on_canvas(planes, fifty, masks),
        "labels, 50": on_canvas(planes, fifty, labels),
        "hud": on_canvas(planes, five, Hud(lambda frame: f"bench  #{next(ticks)}  25 fps  9 ms")),
        "everything, 5": cost(lambda: draw(frame, everything)),
    }


def main() -> None:
    """Print the table."""
    cv2.setNumThreads(1)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    machine = platform.processor() or platform.machine()
    print(f"{machine}, Python {platform.python_version()}, CPU time of one thread")
    print(f"OpenCV {cv2.__version__}, NumPy {np.__version__}, commit {commit.stdout.strip() or 'unknown'}")
    columns = [rows(size) for size in SIZES]
    print(f"{'µs per frame':26}" + "".join(f"{w}x{h}".rjust(12) for w, h in SIZES))
    for name in columns[0]:
        print(f"{name:26}" + "".join(f"{column[name]:12.0f}" for column in columns))


if __name__ == "__main__":
    main()

"""Decoding on a GPU beside decoding on the processor: the same pictures, and what each costs.

    python -m benchmarks decoding                     # the clips of STREAMER_TEST_DATA, on the first GPU
    python -m benchmarks decoding a.mp4 --on gpu+cuda.1

Both sides decode the whole file in turns, by themselves. The exit code is 1 where a sample differs by more
than two of 255 or a picture is missing, 2 where no GPU decodes here.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np

from engines.errors import InputError
from streamer.frame import Frame
from streamer.sources import open_source

DATA = Path(os.environ.get("STREAMER_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
ROUNDS = 3
MOST = 2  # of 255, by which a sample may differ


def main(words: list[str] | None = None) -> int:
    """Compare and time every file."""
    parser = argparse.ArgumentParser("python -m benchmarks decoding")
    parser.add_argument("files", nargs="*")
    parser.add_argument("--on", default="gpu", help="gpu, gpu+cuda, gpu+cuda.1 ...")
    told = parser.parse_args(words)
    files = told.files or [str(path) for path in sorted((DATA / "video").glob("*.mp4"))]
    print(f"{'file':40} {'':9} pictures     fps  CPU ms  largest difference")
    wrong = 0
    for file in files:
        try:
            wrong += not compare(file, f"{told.on}:{file}")
        except InputError as error:
            print(error, file=sys.stderr)
            return 2
    return 1 if wrong else 0


def compare(file: str, other: str) -> bool:
    """Print both sides of one file; False where their pictures are not the same."""
    apart, same = differences(file, other)
    sides = {"processor": file, other.partition(":")[0]: other}
    for side, (pictures, fps, cpu_ms) in {side: fastest(url) for side, url in sides.items()}.items():
        found = f"{apart:6d}" if side != "processor" else ""
        print(f"{Path(file).name:40.40} {side:9} {pictures:8d} {fps:7.1f} {cpu_ms:7.2f}  {found}", flush=True)
    return same and apart <= MOST


def differences(file: str, other: str) -> tuple[int, bool]:
    """Return by how much a sample differs at most, and whether all pictures are there, at the same times."""
    ours, theirs = open_source(file), open_source(other)
    try:
        apart, same = 0, True
        left, right = iter(ours), iter(theirs)
        for one, two in zip(left, right, strict=False):
            same = same and one.pts == two.pts and one.size == two.size
            apart = max(apart, largest(one, two)) if one.size == two.size else 255
        return apart, same and next(left, None) is None and next(right, None) is None
    finally:
        ours.close()
        theirs.close()


def largest(one: Frame, two: Frame) -> int:
    """Return the largest difference of any sample of two pictures."""
    pairs = [(getattr(one.planes, plane), getattr(two.planes, plane)) for plane in "yuv"]
    return max(int(np.abs(a.astype(np.int16) - b).max()) if a.shape == b.shape else 255 for a, b in pairs)


def fastest(url: str) -> tuple[int, float, float]:
    """Return how many pictures there are, and the best rounds' frames per second and CPU ms per frame."""
    rounds = [once(url) for _ in range(ROUNDS)]
    return rounds[0][0], max(fps for _, fps, _ in rounds), min(cpu for _, _, cpu in rounds)


def once(url: str) -> tuple[int, float, float]:
    """Decode all of it."""
    began, cpu = time.perf_counter(), time.process_time()
    source = open_source(url)
    try:
        pictures = sum(1 for _ in source)
    finally:
        source.close()
    spent = time.process_time() - cpu
    return pictures, pictures / (time.perf_counter() - began), spent / max(pictures, 1) * 1e3


if __name__ == "__main__":
    sys.exit(main())

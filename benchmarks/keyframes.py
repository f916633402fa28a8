"""What frames between key frames are worth: `python -m benchmarks.keyframes` on rendered video.

Held-out scenes, one stream each. First by age: the video is run as often as there are frames in an interval,
the key frames one frame later each time, so that every frame is seen at every age; beside it, what was found
in the key frame shown unmoved. Then by policy: fixed intervals and the adaptive one, with the share of frames
that were key frames and what a frame costs the engine alone. Results reach the adaptive policy at once here;
in a stream they come a few frames later.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

import engines
from engines.bench import measure as measure_engine
from engines.detections import Detections
from engines.scenes import Scene
from engines.video import Video
from streamer.frame import Frame
from streamer.keys import Keys, key_policy
from streamer.planes import from_rgb
from trainers.data.batch import Sample
from trainers.data.scenes import CLASSES, SEEDS, scene_sample
from trainers.evaluate import measure

MODEL = "tiny-yolactedge"
SIZE = (640, 360)
RATES = (30.0, 10.0)  # frames per second
POLICIES = ("1", "2", "5", "10", "auto", "auto,flow=0.012")
Clip = list[Sample]


def main() -> None:
    """Print both tables for each rate."""
    parser = argparse.ArgumentParser("python -m benchmarks.keyframes", description=__doc__)
    parser.add_argument("model", nargs="?", default=MODEL, help="a model for video of rendered scenes")
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--frames", type=int, default=24, help="of each clip")
    parser.add_argument("--interval", type=int, default=5, help="of the first table")
    told = parser.parse_args()
    options = engines.Options(conf=0.001, iou=0.6, max_det=100, labels="all")
    with engines.load(told.model, options) as model, engines.load(told.model) as plain:
        if model.video is None or plain.video is None:
            raise engines.InputError(f"{told.model}: it is no model for video")
        costs = tuple(
            measure_engine(graph, 2.0, requests=1).median_ms for graph in (plain, plain.video.between)
        )
        print(
            f"{model.spec.name}, {model.engine.backend} {model.engine.precision}, {told.clips} clips of "
            f"{told.frames} frames; alone a key frame takes {costs[0]:.2f} ms, one between {costs[1]:.2f} ms"
        )
        for fps in RATES:
            clips = [list(_clip(number, told.frames, fps)) for number in range(told.clips)]
            print(
                f"\n{fps:g} frames per second\n| age | mask AP | AP50 | copied: mask AP | AP50 |\n"
                + "| --- " * 5
                + "|"
            )
            for line in _by_age(model.video, clips, told.interval):
                print(line, flush=True)
            print("\n| key frames | share | ms per frame | box AP | mask AP | AP50 |\n" + "| --- " * 6 + "|")
            for policy in POLICIES:
                print(_by_policy(policy, model.video, plain, clips, costs), flush=True)


def _clip(number: int, frames: int, fps: float) -> Iterator[Sample]:
    scene = Scene(SIZE, fps, SEEDS["held_out"] + number, True)
    first = 37 * number
    return (scene_sample(scene, index, max(SIZE), "segment") for index in range(first, first + frames))


def _by_age(video: Video, clips: Sequence[Clip], interval: int) -> Iterator[str]:
    """A row for each age, over the same frames."""
    moved: dict[int, list[Detections]] = {age: [] for age in range(interval)}
    copied: dict[int, list[Detections]] = {age: [] for age in range(interval)}
    truth: dict[int, list[Sample]] = {age: [] for age in range(interval)}
    for phase in range(interval):
        for clip in clips:
            kept = Detections()
            for number, sample in enumerate(clip[phase:]):
                age = number % interval
                found = video.predict(sample.image, "clip", key=age == 0)
                kept = found if age == 0 else kept
                if number + phase >= interval - 1:  # those that every pass sees
                    moved[age].append(found)
                    copied[age].append(kept)
                    truth[age].append(sample)
    for age in range(interval):
        (ap, ap50), (still, still50) = (_masks(kind[age], truth[age]) for kind in (moved, copied))
        yield f"| {age} | {ap:.3f} | {ap50:.3f} | {still:.3f} | {still50:.3f} |"


def _by_policy(
    told: str, video: Video, plain: engines.Model, clips: Sequence[Clip], costs: tuple[float, ...]
) -> str:
    found, keys = [], Keys(key_policy(told))
    assert plain.video is not None
    for number, clip in enumerate(clips):
        for index, sample in enumerate(clip):
            frame = Frame(str(number), index, index / 30, from_rgb(sample.image))
            is_key = keys.is_key(frame, known=index > 0)
            found.append(video.predict(sample.image, "clip", key=is_key))
            keys.note(frame, *_seen(plain.video, sample, is_key))
    samples = [sample for clip in clips for sample in clip]
    counts = {
        kind: sum(n for (_, name), n in keys.frames.items() if name == kind) for kind in ("key", "between")
    }
    share = counts["key"] / len(samples)
    cost = share * costs[0] + (1 - share) * costs[1]
    report = measure(_answers(found), samples, CLASSES)
    ap, ap50 = report.parts["masks"]
    return f"| {told} | {share:.2f} | {cost:.2f} | {report.ap:.3f} | {ap:.3f} | {ap50:.3f} |"


def _seen(video: Video, sample: Sample, is_key: bool) -> tuple[Detections, float]:
    """What a stream with the model's own threshold sees, and its motion."""
    import cv2

    shots = video.acquire(key=is_key)
    assert shots is not None
    view = shots.add((sample.image.shape[1], sample.image.shape[0]), "seen")
    cv2.resize(sample.image, (view.shape[1], view.shape[0]), dst=view)
    shots.submit()
    (found,) = shots.collect()
    return found, shots.motion[0] if shots.motion else 0.0


def _masks(found: list[Detections], truth: list[Sample]) -> tuple[float, float]:
    return measure(_answers(found), truth, CLASSES).parts["masks"]


def _answers(found: list[Detections]):  # type: ignore[no-untyped-def]
    left = iter(found)
    return lambda images: [next(left) for _ in images]


if __name__ == "__main__":
    try:
        main()
    except engines.InputError as error:
        sys.exit(f"error: {error}")

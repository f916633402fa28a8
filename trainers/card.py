"""The card of a trained model: what it is, how it was made, what it was measured at."""

from __future__ import annotations

import contextlib
import csv
import math
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from engines import shipped
from engines.errors import InputError
from engines.spec import Resize
from trainers import checkpoints
from trainers.checkpoints import Checkpoint
from trainers.config import Config
from trainers.data.scenes import SEEDS
from trainers.evaluate import Report
from trainers.exam import examine

if TYPE_CHECKING:
    from engines.video import Video

__all__ = ["check_rendered", "write_card"]

_RESIZED: dict[Resize, str] = {
    "letterbox": "letterboxed", "letterbox-topleft": "letterboxed at the top left", "stretch": "stretched",
}  # fmt: skip
_CLIPS, _RATES = 60, (30.0, 10.0)
_SPLITS = (("held-out", "held_out", True), ("as trained", "val", False))  # title, seeds, appearance


def write_card(checkpoint: str | Path, model: str | Path, pictures: int = 400) -> Path:
    """Measure an exported file through `engines.load` and write ``<model>.md`` beside it; return its path.

    ``pictures`` are rendered for each of two measurements: the appearance that training never shows, and the
    usual one from other seeds. Raises InputError as `check_rendered` does.
    """
    check_rendered(checkpoint)
    saved = checkpoints.load(checkpoint)
    config = Config.model_validate(saved.config)
    reports = []
    for title, split, held_out in _SPLITS:
        reports.append((title, SEEDS[split], examine(model, pictures, split, held_out=held_out)))
    model = Path(model)
    path = model.with_name(model.name.removesuffix(".onnx").removesuffix(".key") + ".md")
    made = _made(saved, config, _minutes(Path(checkpoint)))
    path.write_text(_text(config, made, model, reports) + _video(model), encoding="utf-8")
    return path


def check_rendered(checkpoint: str | Path) -> None:
    """Raise InputError for a checkpoint that learnt from other than scenes: a card tells of those."""
    kind = Config.model_validate(checkpoints.load(checkpoint).config).data.kind
    if kind != "scenes":
        raise InputError(
            f"card: {checkpoint}: data.kind: {kind}, scenes is right: a card tells how good a model is on "
            "rendered scenes; `trainers evaluate MODEL --data CONFIG` tells it of your own pictures"
        )


class _Made(NamedTuple):
    """What a run took and made."""

    steps: int
    minutes: int  # 0: not known
    weights: int  # parameters
    resize: str  # how pictures are laid into the input


def _made(saved: Checkpoint, config: Config, minutes: int) -> _Made:
    net = checkpoints.build(config, len(saved.classes))
    weights = sum(parameter.numel() for parameter in net.parameters())
    return _Made(saved.step, minutes, weights, _RESIZED[net.input.resize])


def _minutes(checkpoint: Path) -> int:
    """Return how long the run took, from the results.csv beside its checkpoint; a resumed one counts anew."""
    results = checkpoint.with_name("results.csv")
    if not results.is_file():
        return 0
    with results.open(newline="") as file:
        seconds = [float(row["seconds"]) for row in csv.DictReader(file)]
    ends = [now for now, then in pairwise([*seconds, 0.0]) if then <= now]
    return round(sum(ends) / 60)


def _video(model: Path) -> str:
    """Return a table of the frames between key frames; nothing for a model of pictures."""
    import engines
    from engines.options import Options
    from trainers.data.clips import INTERVAL, render_clips
    from trainers.evaluate_video import WAYS, measure_clips

    if not model.name.endswith(".key.onnx"):
        return ""
    lines = [
        "",
        f"Of every {INTERVAL} frames one is a key frame. Mask AP and AP50 of the other {INTERVAL - 1}, in "
        f"held-out scenes, {_CLIPS} clips, through `engines.load`: were they key frames too (key), by flow "
        "from the key frame (between, what the model does), and if they showed the key frame's masks (copy):",
        "",
        "| frames per second | frames as | mask AP | mask AP50 |",
        "| --- | --- | --- | --- |",
    ]
    options = Options(conf=0.001, iou=0.6, max_det=100, labels="all")
    with contextlib.closing(engines.load(model, options)) as loaded:
        video = cast("Video", loaded.video)
        for fps in _RATES:
            clips = render_clips(_CLIPS, SEEDS["held_out"], held_out=True, fps=fps)
            for way in WAYS:
                report = measure_clips(lambda image, key: video.predict(image, "clip", key=key), clips, way)
                ap, ap50 = report.parts["masks"]
                lines.append(f"| {fps:g} | {way} | {ap:.3f} | {ap50:.3f} |")
    return "\n".join([*lines, ""])


def _others(config: Config) -> str:
    """Say what of anyone else went into a model of rendered scenes."""
    given = [
        f"{words} {source}"
        for words, source in (
            ("it began from the weights of", config.start.weights),
            ("it learnt from the answers of", config.teacher.checkpoint),
        )
        if source and source not in shipped.names()
    ]
    if not given:
        return "no picture or weight of anyone else went into it."
    return f"no picture of anyone else went into it here, but {' and '.join(given)}."


def _text(config: Config, made: _Made, model: Path, reports: list[tuple[str, int, Report]]) -> str:
    width, height = config.size
    began = f" from the weights of {config.start.weights}" if config.start.weights else ""
    took = f", {made.minutes} minutes on a shared machine of two cores" if made.minutes else ""
    files = [model, model.with_name(model.name.replace(".key.", ".between."))]
    size = sum(file.stat().st_size for file in set(files))
    lines = [
        f"# {config.name}",
        "",
        config.description,
        "",
        f"- Input {width}x{height}, {made.resize}; {made.weights / 1e6:.2f} M parameters, "
        f"{size / 1e6:.2f} MB (weights stored as FP16, computed as FP32).",
        f"- Licence: {config.licence}. The data is rendered by `engines.scenes`; {_others(config)}",
        f"- Made by `trainers train configs/train/{config.name}.yaml`{began}, seed {config.seed}, "
        f"{made.steps} steps of {config.optim.batch} pictures{took}, then "
        f"`trainers export runs/{config.name}/last.pt {config.name}.onnx --card`.",
        f"- {datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, torch {version('torch')}, "
        f"OpenVINO {version('openvino')}.",
        "",
        "COCO's box AP (mean over IoU .50 to .95) and AP50, of masks and keypoints too where the model gives "
        "them (pck: the share of joints found within a tenth of the person's longer side), measured on the "
        "exported file through `engines.load` by pycocotools:",
        "",
        "| appearance | pictures | seeds from | class | AP | AP50 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for title, seed, report in reports:
        for name, pair in report.figures().items():
            ap, ap50 = ("-" if math.isnan(figure) else f"{figure:.3f}" for figure in pair)
            lines.append(f"| {title} | {report.pictures} | {seed} | {name} | {ap} | {ap50} |")
    lines += [
        "",
        "Held-out scenes have limb widths, colours, car bodies and a background that training never shows.",
        "The model knows rendered shapes only; for real footage bring a model trained on photographs.",
        "",
    ]
    return "\n".join(lines)

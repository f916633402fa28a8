"""The card of a trained model: what it is, how it was made, what it was measured at."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from trainers import checkpoints
from trainers.config import Config
from trainers.data.scenes import SEEDS, render_scenes
from trainers.evaluate import Report, evaluate, task_of

__all__ = ["write_card"]

_SPLITS = (("held-out", "held_out", True), ("as trained", "val", False))  # title, seeds, appearance


def write_card(checkpoint: str | Path, model: str | Path, pictures: int = 400) -> Path:
    """Measure an exported file through `engines.load` and write ``<model>.md`` beside it; return its path.

    ``pictures`` are rendered for each of two measurements: the appearance that training never shows, and the
    usual one from other seeds.
    """
    saved = checkpoints.load(checkpoint)
    config = Config.model_validate(saved.config)
    reports = []
    for title, split, held_out in _SPLITS:
        samples = render_scenes(
            pictures, SEEDS[split], 640, held_out=held_out, fixed=(640, 360), task=task_of(checkpoint)
        )
        reports.append((title, SEEDS[split], evaluate(model, samples)))
    path = Path(model).with_suffix(".md")
    path.write_text(_text(config, saved.step, Path(model), reports), encoding="utf-8")
    return path


def _text(config: Config, step: int, model: Path, reports: list[tuple[str, int, Report]]) -> str:
    width, height = config.size
    weights = sum(parameter.numel() for parameter in checkpoints.build(config, 3).parameters())
    lines = [
        f"# {config.name}",
        "",
        config.description,
        "",
        f"- Input {width}x{height}, letterboxed; {weights / 1e6:.2f} M parameters, "
        f"{model.stat().st_size / 1e6:.2f} MB (weights stored as FP16, computed as FP32).",
        f"- Licence: {config.licence}. The data is rendered by `engines.scenes`; no picture or weight of "
        "anyone else went into it.",
        f"- Made by `trainers train configs/train/{config.name}.yaml`, seed {config.seed}, {step} steps of "
        f"{config.optim.batch} pictures, then `trainers export runs/{config.name}/last.pt "
        f"{config.name}.onnx --card`.",
        f"- {datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, torch {version('torch')}, "
        f"OpenVINO {version('openvino')}.",
        "",
        "COCO's box AP (mean over IoU .50 to .95) and AP50, measured on the exported file through "
        "`engines.load` by pycocotools:",
        "",
        "| appearance | pictures | seeds from | class | AP | AP50 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for title, seed, report in reports:
        figures = {"all": (report.ap, report.ap50), **report.classes, **report.parts}
        for name, (ap, ap50) in figures.items():
            lines.append(f"| {title} | {report.pictures} | {seed} | {name} | {ap:.3f} | {ap50:.3f} |")
    lines += [
        "",
        "Held-out scenes have limb widths, colours, car bodies and a background that training never shows.",
        "The model knows rendered shapes only; for real footage bring a model trained on photographs.",
        "",
    ]
    return "\n".join(lines)
